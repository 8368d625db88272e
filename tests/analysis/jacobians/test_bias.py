"""Bias-Jacobians of named layers are the terms of the decomposition, and a loss of them has the right slopes."""

import copy

import pytest
import torch
from torch import nn

from analysis.jacobians.bias import bias_jacobians, effective_bias, preceding_layers
from analysis.jacobians.decomposition import decompose
from priors import InputError, tap


class Residual(nn.Module):
    """Convolutions with and without biases, a norm behind a sum, and one that runs twice."""

    def __init__(self, channels: int = 3):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv3, self.norm3 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.hidden, self.norm4 = nn.Linear(4, 6), nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.norm1(self.conv1(x)).relu()
        x = self.norm2(x + self.conv2(x)).relu()
        x = self.norm3(self.conv3(self.norm3(x).relu())).relu_()
        return self.head(self.norm4(self.hidden(x.mean((2, 3)))).relu())


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    made = Residual().double()
    for one in made.parameters():
        one.data *= 2
    for _ in range(3):  # statistics that are no zeros and ones
        made(1 + torch.randn(16, 3, 6, 5, dtype=torch.float64))
    for one in made.parameters():
        if one.ndim == 1:
            one.data += 0.3 * torch.randn_like(one)
    return made.eval()


def images(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


TARGET = torch.tensor([0, 2, 1, 0])
NAMES = ("conv1", "norm1", "norm2", "hidden", "norm4")


def of(network: nn.Module, names=NAMES, graph: bool = True, folded: bool = False) -> dict[str, torch.Tensor]:
    before = preceding_layers(network, names, (3, 6, 5)) if folded else {}
    with tap(network, names) as taps:
        outputs = network(images()).gather(1, TARGET[:, None]).squeeze(1)
        layers = {name: taps[name] for name in names}
    biases = {name: effective_bias(network.get_submodule(name), before.get(name)) for name in names}
    return bias_jacobians(outputs, layers, biases, graph=graph)


def terms(network: nn.Module) -> dict[str, torch.Tensor]:
    found = decompose(network, images(), TARGET).terms
    return {term.layer: term.total if term.map is None else term.map for term in found if term.layer != "norm3"}


def test_they_are_the_terms_of_the_decomposition(network):
    found, expected = of(network), terms(network)
    assert found["norm1"].shape == (4, 6, 5) and found["norm4"].shape == (4,)
    for name in NAMES:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12)
        assert found[name].requires_grad
    assert not any(one.requires_grad for one in of(network, graph=False).values())


def test_with_the_layer_before_it_a_norm_counts_both(network):
    found, expected = of(network, ("norm1", "norm2", "norm4"), folded=True), terms(network)
    torch.testing.assert_close(found["norm1"], expected["norm1"] + expected["conv1"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found["norm2"], expected["norm2"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found["norm4"], expected["norm4"] + expected["hidden"], rtol=1e-9, atol=1e-12)


def test_a_bias_that_the_norm_takes_off_again_changes_nothing_then(network):
    before = of(network, ("norm1",), folded=True)["norm1"]
    with torch.no_grad():
        network.conv1.bias += 5
        network.norm1.running_mean += 5
    torch.testing.assert_close(of(network, ("norm1",), folded=True)["norm1"], before)


def test_which_layer_is_before_a_norm(network):
    found = preceding_layers(network, ("norm1", "norm2", "norm3", "norm4", "conv1"), (3, 6, 5))
    assert found == {
        "norm1": network.conv1,
        "norm2": None,
        "norm3": None,
        "norm4": network.hidden,
        "conv1": None,
    }
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    with pytest.raises(InputError, match="norm9.*norm"):
        preceding_layers(network, ("norm9",), (3, 6, 5))


def test_the_statistics_are_the_running_ones_in_every_mode(network):
    norm = network.norm1
    expected = norm(torch.zeros(1, 4, 1, 1, dtype=torch.float64)).flatten()
    norm.train()
    torch.testing.assert_close(effective_bias(norm), expected)
    plain = nn.BatchNorm2d(3, affine=False).eval()
    plain.running_mean.add_(2)
    torch.testing.assert_close(effective_bias(plain), plain(torch.zeros(1, 3, 1, 1)).flatten())


@pytest.mark.parametrize(
    "name", ["conv1.weight", "conv2.weight", "norm1.weight", "norm1.bias", "conv1.bias", "head.weight"]
)
def test_slopes_of_a_loss_are_those_of_differences(network, name):
    def loss(network):
        return sum(one.square().sum() for one in of(network, folded=True).values())

    parameter = network.get_parameter(name)
    (slope,) = torch.autograd.grad(loss(network), parameter)
    direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    values = []
    for step in (1e-5, -1e-5):
        moved = copy.deepcopy(network)
        moved.get_parameter(name).data += step * direction
        values.append(loss(moved).item())
    assert (slope * direction).sum().item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_autocast_leaves_them_in_float32(network):
    network = network.float()
    z = torch.randn(2, 4, 3, 3, requires_grad=True)
    bias = effective_bias(network.norm1)
    plain = bias_jacobians(z.square().flatten(1).sum(1), {"z": z}, {"z": bias})["z"]
    with torch.autocast("cpu", torch.bfloat16):
        cast = bias_jacobians(z.square().flatten(1).sum(1), {"z": z}, {"z": bias})["z"]
    assert cast.dtype == torch.float32
    torch.testing.assert_close(cast, plain)
    half = z.bfloat16()
    assert bias_jacobians(half.float().square().sum((1, 2, 3)), {"z": half}, {"z": bias})["z"].dtype == torch.float32


def test_what_is_refused():
    z, other = torch.randn(2, 4, 3, 3, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    outputs, bias = z.square().flatten(1).sum(1), torch.ones(4)
    with pytest.raises(InputError, match="ReLU has no effective bias"):
        effective_bias(nn.ReLU())
    with pytest.raises(InputError, match="layer 'here', a BatchNorm2d, keeps no running statistics"):
        effective_bias(nn.BatchNorm2d(3, track_running_stats=False), name="here")
    assert effective_bias(nn.Conv2d(3, 3, 1, bias=False)) is None
    for given, said in (
        ((outputs[:, None], {"z": z}, {"z": bias}), r"outputs have shape \(2, 1\)"),
        ((outputs, {"z": z}, {}), "layer 'z' has no bias"),
        ((outputs, {"z": z}, {"z": torch.ones(3)}), r"layer 'z' gives \(2, 4, 3, 3\) and has a bias of \(3,\)"),
        ((outputs, {"z": z.flatten(2)}, {"z": bias}), r"layer 'z' gives \(2, 4, 9\)"),
        ((outputs, {"z": z.detach()}, {"z": bias}), "layer 'z' is on no graph"),
        ((outputs.detach(), {"z": z}, {"z": bias}), "outputs are on no graph"),
        ((outputs, {"other": other}, {"other": bias}), "layer 'other': the outputs do not hang on it"),
    ):
        with pytest.raises(InputError, match=said):
            bias_jacobians(*given)
    assert bias_jacobians(outputs, {}, {}) == {}
