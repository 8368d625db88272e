"""Which layers have maps, in which order, and how deep they lie."""

import pytest
import torch
from torch import nn

from apps.models.layers import layer_site
from apps.spectra.sites import map_sites
from priors import zoo
from priors.errors import InputError


class Odd(nn.Module):
    """Two ways of different length, a convolution that runs twice, and maps with their channels last."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Conv2d(3, 4, 1)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.short = nn.Conv2d(4, 6, 1)
        self.long = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3, padding=1))
        self.last = nn.Identity()
        self.small = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Linear(6, 5)

    def forward(self, images):
        x = self.twice(self.twice(self.stem(images)))
        x = self.short(x) + self.long(x)
        x = self.last(x.movedim(1, -1)).movedim(-1, 1)
        return self.head(self.small(x).mean((2, 3)))


def odd():
    torch.manual_seed(0)
    return zoo.wrap(Odd(), head="head", taps=["stem", "small", "long"])


def test_layers_come_in_the_order_of_the_pass_with_their_depth():
    sites, without = map_sites(odd(), ["long.0", "last", "stem", "short"], (3, 8, 8))
    assert [(site.name, site.depth, site.channels, site.shape, site.last) for site in sites] == [
        ("stem", 1, 4, (8, 8), False),
        ("short", 4, 6, (8, 8), False),
        ("long.0", 4, 4, (8, 8), False),
        ("last", 5, 6, (8, 8), True),  # by the longer of two ways; its channels are the last axis
    ]
    assert without == []


def test_each_call_of_a_layer_is_one():
    assert [(site.name, site.tap, site.depth) for site in map_sites(odd(), ["twice"], (3, 8, 8))[0]] == [
        ("twice#1", "network.twice#1", 2),
        ("twice#2", "network.twice#2", 3),
    ]
    (second,), _ = map_sites(odd(), ["twice#2"], (3, 8, 8))
    assert (second.name, second.depth) == ("twice#2", 3)


def test_groups_of_layers_leave_out_what_has_no_spectrum():
    sites, without = map_sites(odd(), ["convolutions"], (3, 8, 8))
    assert [site.name for site in sites] == ["stem", "twice#1", "twice#2", "short", "long.0", "long.2"]
    assert without == ["unused: it takes no part in the network's pass"]
    sites, without = map_sites(odd(), ["stages"], (3, 8, 8))
    assert [site.name for site in sites] == ["stem", "long"]
    assert without == ["small: its maps of 6x4x4 are too small: 5x5 pixels or more were expected"]


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("head", "--taps head: its output is a vector of 5 an image"),
        ("penultimate", "--taps penultimate: its output is a vector of 6"),
        ("small", "--taps small: its maps of 6x4x4 are too small"),
        ("unused", "--taps unused: it takes no part"),
        ("shrot", "did you mean 'short'"),
        ("twice#3", "called 2 times"),
    ],
)
def test_a_layer_without_maps_is_refused_by_name(layer, said):
    with pytest.raises(InputError, match=said):
        map_sites(odd(), [layer], (3, 8, 8))


def test_nothing_of_a_network_without_maps():
    with pytest.raises(InputError, match="does not say what its stages are"):
        map_sites(zoo.wrap(Odd(), head="head"), ["stages"], (3, 8, 8))
    with pytest.raises(InputError, match="no layer of --taps stages has a spectrum: small"):
        map_sites(zoo.wrap(Odd(), head="head", taps=["small"]), ["stages"], (3, 8, 8))


def test_the_pass_leaves_the_network_and_random_numbers_as_they_were():
    network = odd().train()
    before = torch.random.get_rng_state()
    map_sites(network, ["convolutions"], (3, 8, 8))
    assert torch.equal(before, torch.random.get_rng_state()) and network.training
    assert all(weight.grad is None for weight in network.parameters())


def test_depths_of_the_zoo():
    # A WRN-16 has 1 + 3 * 4 convolutions on its longest way, a ResNet-20 1 + 3 * 6.
    for name, depths in (("wrn-16-1", [5, 9, 13]), ("resnet-20", [7, 13, 19])):
        network = zoo.build(name, classes=10, image_shape=(3, 32, 32)).eval()
        assert [site.depth for site in map_sites(network, ["stages"], (3, 32, 32))[0]] == depths
        assert layer_site(network, network.stages[0].removeprefix("body.")) == network.stages[0]
