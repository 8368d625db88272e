"""Weights of spectral norm 1, all at once and one by one, are those of torch's own `spectral_norm`."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from apps.generators import sngan, spectral_norms
from apps.generators.sngan_presets import architecture
from apps.generators.spectral_norms import at_once, by_shape


def layers(normalise) -> nn.ModuleList:
    """Several of a shape and some of another, the same whatever normalises them."""
    torch.manual_seed(0)
    made = [*(nn.Conv2d(4, 6, 3) for _ in range(3)), nn.Conv2d(4, 6, 1), nn.Linear(6, 1), nn.Embedding(5, 6)]
    for layer in made:
        normalise(layer)
    return nn.ModuleList(made)


def backpropagated(network: nn.ModuleList) -> None:
    """Gradients of a number that hangs on each entry of each weight, each read once."""
    network.zero_grad()
    sum((weight * torch.linspace(-1, 1, weight.numel()).view_as(weight)).sum() for weight in read(network)).backward()


def read(network: nn.ModuleList) -> list:
    return [layer.weight for layer in network]


def test_they_are_those_of_torch():
    theirs, apart, together = (
        layers(normalise)
        for normalise in (parametrizations.spectral_norm, spectral_norms.spectral_norm, spectral_norms.spectral_norm)
    )
    groups = by_shape(together)
    assert [len(group) for group in groups] == [3, 1, 1, 1]
    for _ in range(4):
        backpropagated(theirs)
        backpropagated(apart)
        with at_once(groups):
            backpropagated(together)
        for name, expected in theirs.state_dict().items():
            assert torch.equal(apart.state_dict()[name], expected)
            torch.testing.assert_close(together.state_dict()[name], expected, rtol=1e-5, atol=1e-6)
        for (name, one), own, other in zip(
            theirs.named_parameters(), apart.parameters(), together.parameters(), strict=True
        ):
            assert one.grad is None or torch.equal(own.grad, one.grad)
            assert one.grad is None or torch.allclose(other.grad, one.grad, rtol=1e-4, atol=1e-5), name
    before = copy.deepcopy(together.eval().state_dict())
    for own, expected in zip(read(together), read(theirs.eval()), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(tensor, before[name]) for name, tensor in together.state_dict().items())


def test_a_copy_has_its_own_and_an_error_leaves_none_behind():
    original = sngan.Discriminator(architecture("mimicry", (1, 8, 8), 4, 2), 3)
    other = copy.deepcopy(original)
    groups = other._normalised
    before = copy.deepcopy(original.state_dict())
    with pytest.raises(ZeroDivisionError), at_once(groups):
        assert groups[0][0][0].ready is not None and original._normalised[0][0][0].ready is None
        raise ZeroDivisionError
    assert all(norm[0].ready is None for group in groups for norm in group)
    assert all(torch.equal(tensor, before[name]) for name, tensor in original.state_dict().items())
    assert sngan.Discriminator(architecture("mimicry", (1, 8, 8), 4, 2), 3, format=1)._normalised == []
