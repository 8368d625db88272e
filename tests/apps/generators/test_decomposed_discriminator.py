"""Where a picture looks real: an SNGAN's discriminator as a sum of its slope and of what its layers add."""

import pytest
import torch
from torch import nn

from analysis import decompose
from apps.generators.sngan import Discriminator
from apps.generators.sngan_presets import architecture
from priors import InputError


def discriminator(preset: str, side: int = 16) -> Discriminator:
    """With biases, and after a few updates of its spectral norms."""
    torch.manual_seed(0)
    network = Discriminator(architecture(preset, (3, side, side), 4, 6), 3, biases="uniform").double()
    for _ in range(3):
        network(torch.rand(2, 3, side, side, dtype=torch.float64), torch.tensor([0, 1]))
    return network.eval()


def pictures(count=4, side=16):
    return 2 * torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 1


@pytest.mark.parametrize("preset", ["gan-evaluation", "sngan-projection", "mimicry"])
def test_the_sum_is_the_score_of_each_picture_as_one_of_its_class(preset):
    network, x, labels = discriminator(preset), pictures(), torch.tensor([2, 0, 1, 1])
    norms = {name: value.clone() for name, value in network.named_buffers()}
    found = decompose(network, x, arguments=(labels,))
    torch.testing.assert_close(found.output, network(x, labels).detach())
    assert found.residual.max() < 1e-13 and found.target.tolist() == [0] * 4
    panels = [found.input_map, *(term.map for term in found.per_layer() if term.map is not None)]
    whole = sum(panel.sum((1, 2)) for panel in panels) + found.unmapped
    torch.testing.assert_close(whole, found.output)
    # All that is not linear are ReLUs: what is added are biases, of convolutions and, by most presets, of the end.
    assert {term.source for term in found.terms} == {"bias"}
    bias = network.linear.bias
    expected = torch.zeros(4).double() if bias is None else bias.detach().expand(4)
    torch.testing.assert_close(found.unmapped, expected)
    assert all(torch.equal(value, norms[name]) for name, value in network.named_buffers())


def test_pictures_keep_their_labels_when_they_are_worked_on_in_turn():
    network, x, labels = discriminator("gan-evaluation"), pictures(5), torch.tensor([2, 0, 1, 1, 0])
    whole, split = (decompose(network, x, arguments=(labels,), memory=memory) for memory in (2**30, 1))
    torch.testing.assert_close(split.output, whole.output)
    torch.testing.assert_close(split.jacobian, whole.jacobian)


class OfPixels(nn.Module):
    """Of pictures in [0, 1], all as one class's."""

    def __init__(self, network: Discriminator, label: int):
        super().__init__()
        self.network, self.label = network, label

    def forward(self, images):
        return self.network(2 * images - 1, torch.full((len(images),), self.label))


def test_a_module_around_it_may_bring_pictures_to_its_range():
    network, x = discriminator("gan-evaluation"), pictures()
    found = decompose(OfPixels(network, 2), (x + 1) / 2)
    plain = decompose(network, x, arguments=(torch.full((4,), 2),))
    torch.testing.assert_close(found.output, plain.output)
    torch.testing.assert_close(found.jacobian, 2 * plain.jacobian)
    first, *rest = found.per_layer()
    assert (first.layer, first.source) == ("", "constant")
    torch.testing.assert_close(first.total, -plain.jacobian.sum((1, 2, 3)))
    assert [f"network.{term.layer}".rstrip(".") for term in plain.per_layer()] == [term.layer for term in rest]


@pytest.mark.usefixtures("as_a_user")
def test_what_is_missing_is_said():
    network, x = discriminator("gan-evaluation"), pictures()
    for arguments, said in (
        ((), "missing a required argument: 'labels'.*arguments=, one row an image"),
        ((torch.tensor([0, 1]),), r"arguments\[0\] is of shape \(2,\): a tensor of 4 rows"),
        (([0, 1, 0, 1],), r"arguments\[0\] is a list: a tensor of 4 rows"),
        ((torch.tensor([0, 1, 2, 3]),), "embedding of layer 'embedding' fails .*: index out of range"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            decompose(network, x, arguments=arguments)
        assert "\n" not in str(caught.value)
