"""Saliency maps are equation 4, written out by hand for small networks."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from analysis.jacobians.decomposition import decompose
from analysis.jacobians.derivatives import load_forward_derivatives
from analysis.jacobians.saliency import full_jacobian_saliency, resized
from priors import InputError


@pytest.fixture(scope="module", autouse=True)
def forward_derivatives():
    """Loaded, which makes torch warn of its own function."""
    load_forward_derivatives()


def images(count=3, side=16):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Small(nn.Module):
    """Two convolutions, the second of half the pixels, and a head; its mean is taken off images first."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 4, 3, stride=2)
        self.head = nn.Linear(4, 6)
        self.register_buffer("mean", torch.tensor([0.2, 0.5, 0.6]).view(3, 1, 1))

    def forward(self, x):
        x = (x - self.mean) / 0.3
        return self.head(functional.relu(self.second(functional.relu(self.first(x)))).mean((2, 3)))


@pytest.fixture(scope="module")
def network():
    return Small().double().eval()


def by_hand(network, x, target):
    """Gradients times biases, from autograd on the pre-activations: what the decomposition must be made of."""
    leaf = ((x - network.mean) / 0.3).requires_grad_()
    one = network.first(leaf)
    two = network.second(one.relu())
    f = network.head(two.relu().mean((2, 3)))[:, target]
    slopes = torch.autograd.grad(f.sum(), [leaf, one, two])
    given = slopes[0] * leaf
    return given, [
        slope * bias.view(-1, 1, 1)
        for slope, bias in zip(slopes[1:], [network.first.bias, network.second.bias], strict=True)
    ]


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_equation_4(network, resize):
    x = images()
    given, biases = by_hand(network, x, 2)
    expected = given.abs().sum(1)
    for one in biases:
        own = one.sum(1).abs()[:, None]
        expected = expected + functional.interpolate(own, (16, 16), mode=resize).clamp_min(0)[:, 0]
    found = decompose(network, x, 2, keep="maps")
    torch.testing.assert_close(full_jacobian_saliency(found, resize=resize), expected.detach())
    bias = full_jacobian_saliency(found, variant="bias", resize=resize)
    torch.testing.assert_close(bias, (expected - given.abs().sum(1)).detach())
    assert bias.min() >= 0 and bias.max() > 0


def test_the_authors_way(network):
    """Written as published: each step over all units, and channels last of all."""
    x = images()
    given, biases = by_hand(network, x, 2)

    def processed(values):
        values = values.detach().abs()
        least, most = values.amin((1, 2, 3), keepdim=True), values.amax((1, 2, 3), keepdim=True)
        return (values - least) / (most - least + 1e-6)

    expected = processed(given).sum(1)
    for one in biases:
        own = functional.interpolate(processed(one), (16, 16), mode="bilinear", align_corners=True)
        expected = expected + own.sum(1)
    found = full_jacobian_saliency(decompose(network, x, 2, keep="values"), variant="authors")
    torch.testing.assert_close(found, expected)


def test_every_layer_counts_alike_in_the_authors_way(network):
    """Twice a layer's bias is twice its map by equation 4, and the same map by theirs."""
    x = images()
    found = decompose(network, x, 2, keep="values")
    place = next(number for number, term in enumerate(found.terms) if term.layer == "second")
    term = found.terms[place]
    doubled = replace(term, total=2 * term.total, map=2 * term.map, value=2 * term.value)
    other = replace(found, terms=(*found.terms[:place], doubled, *found.terms[place + 1 :]))
    first, second = (full_jacobian_saliency(one, variant="authors") for one in (found, other))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)
    first, second = (full_jacobian_saliency(one) for one in (found, other))
    torch.testing.assert_close(second - first, resized(term.map.abs(), (16, 16)))


def test_channels_that_stand_last_are_found():
    """A linear layer of pixels, whose channels come last, gives what a convolution of one pixel gives."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 16, 1).double()
    linear = nn.Linear(3, 16).double()
    linear.weight.data, linear.bias.data = convolution.weight.data[:, :, 0, 0], convolution.bias.data

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = linear

        def forward(self, x):
            return self.linear(x.permute(0, 2, 3, 1)).square().mean((1, 2))

    first = nn.Sequential(convolution)
    x = images(2)
    by_linear = decompose(Last(), x, 5, keep="values")

    class Same(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = convolution

        def forward(self, x):
            return first(x).square().mean((2, 3))

    by_convolution = decompose(Same(), x, 5, keep="values")
    for variant in ("paper", "authors", "bias"):
        one, other = (full_jacobian_saliency(found, variant=variant) for found in (by_linear, by_convolution))
        torch.testing.assert_close(one, other)


def test_what_cannot_be_is_said(network):
    found = decompose(network, images(1), 0, keep="maps")
    with pytest.raises(InputError, match="did you mean 'paper'"):
        full_jacobian_saliency(found, variant="papre")
    with pytest.raises(InputError, match="did you mean 'bicubic'"):
        full_jacobian_saliency(found, resize="cubic")
    with pytest.raises(InputError, match="keep='values'"):
        full_jacobian_saliency(found, variant="authors")
    with pytest.raises(InputError, match="keep='maps'"):
        full_jacobian_saliency(decompose(network, images(1), 0, keep="totals"), variant="bias")
    flat = decompose(nn.Linear(8, 2).double(), torch.rand(1, 8, dtype=torch.float64), 0)
    with pytest.raises(InputError, match=r"shape \(1, 8\)"):
        full_jacobian_saliency(flat)
