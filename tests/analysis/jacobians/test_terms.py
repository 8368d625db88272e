"""Terms of a decomposition added up by layer: the panels of figure 1, whose sums are the output."""

import torch
import torchvision
from torch import nn

from analysis import decompose
from priors import zoo


def images(count=3, side=32):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Twice(nn.Module):
    """One convolution at two sizes, and twice at one of them."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 2)

    def forward(self, x):
        x = self.layer(self.layer(x).relu())
        return self.last(self.layer(nn.functional.avg_pool2d(x, 2)).sigmoid().mean((2, 3)))


def test_the_sums_of_panels_are_the_output():
    torch.manual_seed(0)
    networks = (
        Twice(),
        zoo.build("vgg-8", classes=4, image_shape=(3, 32, 32), mean=0.4, std=0.2),
        torchvision.models.VisionTransformer(32, 8, 2, 4, 16, 32, num_classes=7),
    )
    nn.init.normal_(networks[2].heads[0].weight)  # torchvision's starts at zero
    for network, count in zip(networks, (3, 10, 2), strict=True):
        found = decompose(network.double().eval(), images(), 1)
        panels = [found.input_map, *(term.map for term in found.per_layer() if term.map is not None)]
        assert len(panels) >= count and panels[0].abs().max() > 0
        whole = sum(panel.flatten(1).sum(1) for panel in panels) + found.unmapped
        torch.testing.assert_close(whole, found.output, rtol=1e-9, atol=1e-12)


def test_terms_of_a_layer_are_added_where_their_maps_have_one_size():
    torch.manual_seed(0)
    found = decompose(Twice().double(), images(), 1)
    single = {(term.layer, term.operation, term.execution): term for term in found.terms}
    first, second, third = (single["layer", "conv2d", n] for n in range(3))
    assert [(term.layer, term.source, term.map is None) for term in found.per_layer()] == [
        ("layer", "bias", False),
        ("layer", "bias", False),
        ("", "activation", False),
        ("last", "bias", True),
    ]
    large, small, *_ = found.per_layer()
    assert large.map.shape == (3, 32, 32) and small.map.shape == (3, 16, 16)
    torch.testing.assert_close(large.map, first.map + second.map)
    torch.testing.assert_close(large.total, first.total + second.total)
    torch.testing.assert_close(small.total, third.total)
    torch.testing.assert_close(found.unmapped, single["last", "linear", 0].total)


def test_without_pixels_or_maps_there_are_totals():
    network = nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 2)).double()
    found = decompose(network, torch.rand(3, 4, dtype=torch.float64), 0)
    assert found.input_map is None and [term.layer for term in found.per_layer()] == ["0", "1", "2"]
    torch.testing.assert_close(found.unmapped, found.output - found.input_term)
    convolutional = Twice().double()
    totals = decompose(convolutional, images(), 0, keep="totals")
    torch.testing.assert_close(totals.unmapped + totals.input_map.sum((1, 2)), totals.output)


def test_the_slope_times_the_image_by_pixel():
    found = decompose(Twice().double(), images(2), 1)
    by_hand = sum(found.jacobian[:, channel] * found.images[:, channel] for channel in range(3))
    torch.testing.assert_close(found.input_map, by_hand)
    torch.testing.assert_close(found.input_map.sum((1, 2)), found.input_term)
