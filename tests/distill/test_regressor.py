"""Regressions between shapes, against SciPy's convolutions and torch's own way to start them."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d, correlate2d
from torch import nn

from distill.regressor import convolution, regressor
from priors.errors import InputError


def image(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def slow(layer, x, transposed, stride, padding):
    """One convolution of one image, channel by channel."""
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    rows = []
    for o in range(len(bias)):
        total = 0.0
        for i, channel in enumerate(x):
            if transposed:
                spread = np.zeros([(size - 1) * stride + 1 for size in channel.shape])
                spread[::stride, ::stride] = channel
                total = total + convolve2d(spread, weight[i, o])[padding:-padding, padding:-padding]
            else:
                total = total + correlate2d(np.pad(channel, padding), weight[o, i], mode="valid")[::stride, ::stride]
        rows.append(total + bias[o])
    return np.stack(rows)


@pytest.mark.parametrize(
    ("student", "teacher", "kind", "way", "kernel"),
    [
        ((3, 8, 8), (5, 4, 4), "strided", (False, 2, 1), (3, 3)),
        ((3, 4, 4), (5, 8, 8), "strided", (True, 2, 1), (4, 4)),
        ((3, 7, 6), (5, 4, 5), "strided", (False, 1, 0), (4, 2)),
        ((3, 4, 4), (5, 4, 4), "strided", (False, 1, 0), (1, 1)),
        ((3, 8, 8), (5, 4, 4), "valid", (False, 1, 0), (5, 5)),
        ((3, 4, 6), (5, 4, 4), "valid", (False, 1, 0), (1, 3)),
    ],
)
def test_shapes_are_joined_as_said(student, teacher, kind, way, kernel):
    found = regressor(student, teacher, torch.Generator().manual_seed(1), kind)
    x = image(1, *student)
    assert found[0].kernel_size == kernel and len(found) == (2 if kind == "strided" else 1)
    assert found(x).shape[1:] == teacher
    expected = slow(found[0], x[0].double().numpy(), *way)
    assert found[0](x)[0].detach().numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("student", "teacher", "kind"),
    [
        ((3, 4, 4), (5, 7, 7), "strided"),
        ((3, 4, 4), (5, 8, 4), "strided"),
        ((3, 4, 4), (5, 16, 16), "strided"),
        ((3, 4, 4), (5, 8, 8), "valid"),
    ],
)
def test_shapes_that_cannot_be_joined_are_both_named(student, teacher, kind):
    with pytest.raises(InputError) as refused:
        regressor(student, teacher, kind=kind)
    for shape in (student, teacher):
        assert " x ".join(map(str, shape)) in str(refused.value)
    assert ("half as large" in str(refused.value)) == (kind == "strided")


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_it_starts_as_torch_s_own_layers_do(kind):
    torch.manual_seed(3)
    theirs = kind(6, 4, 3)
    state = torch.get_rng_state()
    ours = convolution(kind, 6, 4, 3, torch.Generator().manual_seed(3))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.allclose(ours.weight, theirs.weight) and torch.allclose(ours.bias, theirs.bias)
