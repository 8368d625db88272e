"""Convolutions with normalised weights: what torch's own parametrisation gives, and what a batch of data sets."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from analysis.densities.weight_norm import WeightNormConv, down_shift, right_shift

WINDOWS = {"down": (2, 3), "down-right": (2, 2), "above": (1, 3), "left": (2, 1), "pixel": (1, 1)}


def filled(*arguments, **options) -> WeightNormConv:
    torch.manual_seed(0)
    layer = WeightNormConv(*arguments, **options).double()
    for parameter in (layer.length, layer.bias):
        nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("window", WINDOWS)
def test_it_is_torchs_convolution_of_what_is_padded(window, stride):
    layer, x = filled(3, 5, window, stride=stride), torch.randn(2, 3, 8, 6, dtype=torch.float64)
    height, width = WINDOWS[window]
    own = weight_norm(nn.Conv2d(3, 5, (height, width), stride, dtype=torch.float64))
    own.parametrizations.weight.original0.data = layer.length.data.view(5, 1, 1, 1)
    own.parametrizations.weight.original1.data = layer.direction.data
    own.bias.data = layer.bias.data
    left, right = (1, 1) if width == 3 else (width - 1, 0)
    assert torch.allclose(layer(x), own(F.pad(x, (left, right, height - 1, 0))), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("window", WINDOWS)
def test_in_training_a_fused_weight_and_its_gradients_are_the_same(window, layout):
    layer = filled(3, 5, window).to(memory_format=layout)
    parameters, found = (layer.direction, layer.length), []
    factors = torch.randn(layer.direction.shape, dtype=torch.float64)
    for layer.fused in (False, True):
        weight = layer.weight
        found.append((weight, *torch.autograd.grad((weight * factors).sum(), parameters)))
    assert all(weight.is_contiguous(memory_format=layout) for weight, *_ in found)
    for own, fused in zip(*found, strict=True):
        assert torch.allclose(own, fused, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("window", ["down", "down-right"])
def test_its_transpose_is_torchs_with_a_length_an_output(window):
    layer, x = filled(3, 5, window, stride=-2), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    own = weight_norm(nn.ConvTranspose2d(3, 5, WINDOWS[window], 2, dtype=torch.float64), dim=1)
    own.parametrizations.weight.original0.data = layer.length.data.view(1, 5, 1, 1)
    own.parametrizations.weight.original1.data = layer.direction.data
    own.bias.data = layer.bias.data
    expected = own(x)[:, :, :, 1:] if window == "down" else own(x)
    found = layer(x)
    assert found.shape == (2, 5, 8, 10) and torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2, -2])
def test_a_batch_comes_out_with_mean_0_and_its_deviation(stride):
    layer, x = filled(3, 5, "down", stride=stride, scale=0.1), 7 + 3 * torch.randn(4, 3, 8, 6, dtype=torch.float64)
    layer.initialising = True
    first = layer(x)
    layer.initialising = False
    assert torch.equal(layer(x), first)
    variance, mean = torch.var_mean(first.detach(), (0, 2, 3), correction=0)
    assert torch.allclose(mean, torch.zeros(5, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(variance.sqrt(), torch.full((5,), 0.1, dtype=torch.float64), rtol=1e-6)


def test_shifts_put_zeros_where_nothing_comes_from():
    x = torch.arange(1.0, 7).view(1, 1, 2, 3)
    assert down_shift(x).tolist() == [[[[0, 0, 0], [1, 2, 3]]]]
    assert right_shift(x).tolist() == [[[[0, 1, 2], [0, 4, 5]]]]
