"""What stretches of a network add, against slopes at the layers that cut it."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from analysis import decompose, stretches
from priors import tap, zoo
from priors.errors import InputError


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def random_statistics(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.bias)
    return network.double().eval()


@pytest.mark.parametrize("name", ["resnet-20", "wrn-16-1", "vgg-4"])
def test_up_to_a_layer_that_cuts_the_network_they_are_its_slope_times_its_values(name):
    """f = <df/dz, z> + what comes after z, wherever all ways from the image to the output lead through z."""
    network = random_statistics(zoo.build(name, classes=5, image_shape=(3, 32, 32)))
    images, layers = torch.rand(3, 3, 32, 32, dtype=torch.float64), [*network.stages, network.penultimate_tap]
    found = stretches(network, images, layers, 2)
    with tap(network, layers) as taps:
        output = network(images)[:, 2]
    values = [taps[layer] for layer in layers]
    slopes = torch.autograd.grad(output.sum(), values)
    reached = [(slope * one).flatten(1).sum(1) for slope, one in zip(slopes, values, strict=True)]
    torch.testing.assert_close(found.input[:, None] + found.added.cumsum(1), torch.stack(reached, 1))
    torch.testing.assert_close(found.after, output - reached[-1])
    assert float(found.residual.max()) < 1e-12 and found.layers == tuple(layers)
    whole = decompose(network, images, 2)
    torch.testing.assert_close(found.input, whole.input_term)
    sizes = torch.cat([found.input[:, None], found.added, found.after[:, None]], 1).abs()
    torch.testing.assert_close(found.shares, sizes[:, 1:-1] / sizes.sum(1, keepdim=True))
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())


class Branched(nn.Module):
    """Functions beside modules, one layer on a branch, one that runs twice."""

    def __init__(self):
        super().__init__()
        self.first, self.beside, self.twice, self.last = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x):
        z = functional.gelu(self.first(x))
        beside = self.beside(x)
        z = self.twice(self.twice(z).relu_() + 1)
        return self.last(input=z + beside.relu())


def test_stretches_go_by_the_order_of_the_pass():
    network, x = Branched().double(), torch.rand(5, 4, dtype=torch.float64)
    layers = ["beside", "twice#1", "twice#2", "last:input"]
    found, whole = stretches(network, x, layers, [0, 1, 2, 3, 0]), decompose(network, x, [0, 1, 2, 3, 0])
    ends = {"first": 0, "": 0, "beside": 0}  # the GELU ran before `beside`; "" is also the + 1 between both calls
    expected = torch.zeros(5, 4, dtype=torch.float64)
    twice = 0
    for term in whole.terms:
        if term.layer == "twice":
            twice += 1
            expected[:, twice] += term.total
        elif term.layer in ends:
            expected[:, 2 if term.operation in ("add", "__add__") else 0] += term.total
    torch.testing.assert_close(found.added, expected)
    torch.testing.assert_close(found.after, [t.total for t in whole.terms if t.layer == "last"][0])
    # A layer is put where it ran, wherever it was named.
    assert stretches(network, x, layers[::-1], 0).layers == tuple(layers)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (["twice"], "twice runs 2 times"),
        (["first", "first"], "given twice"),
        (["frist"], "did you mean 'first'"),
        (["unused"], "unused is not run"),
        (["twice#x"], "did you mean 'twice'"),
        (["last:inputs"], "'last:inputs' names no activation"),
    ],
)
def test_layers_that_end_no_stretch_are_refused(layers, said):
    network = Branched()
    network.unused = nn.Identity()
    with pytest.raises(InputError, match=said):
        stretches(network, torch.rand(2, 4), layers, 0)
    assert not network.first._forward_hooks
