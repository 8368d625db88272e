"""A pass whose outputs are derived gives what an ordinary one does, and what is zero is not worked out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from distill.derived_pass import DerivedPass


class Network(nn.Module):
    """ReLUs and max poolings in the ways in which networks call them, and batch norms by running statistics."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 6, 1)
        self.relu, self.in_place = nn.ReLU(), nn.ReLU(inplace=True)
        self.pools = nn.ModuleList([nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d((1, 2))])
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(5, affine=False), nn.BatchNorm2d(6, eps=0.1)])
        for norm in self.norms:
            norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2), norm.eval()
        nn.init.normal_(self.norms[0].weight), nn.init.normal_(self.norms[2].bias)
        self.averages = nn.ModuleList([nn.AvgPool2d((1, 2), 1, divisor_override=3)])
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.pools[0](self.relu(self.norms[0](self.one(x))))
        x = torch.relu(self.pools[1](F.relu(self.norms[1](self.two(x)))) - 0.05)
        x = self.in_place(self.norms[2](self.three(x)))
        x = F.relu6(F.leaky_relu(x + 0.1, negative_slope=0.2) * 3) + F.hardtanh(x, -0.2, max_val=0.3)
        x = self.averages[0](nn.LeakyReLU(0.1, inplace=True)(nn.ReLU6(inplace=True)(x - 0.01) - 0.02))
        x = F.adaptive_avg_pool2d(F.avg_pool2d(x, 2, stride=1, padding=1, count_include_pad=False), (4, None))
        x = F.max_pool2d(F.relu(input=x), 2, stride=1, padding=1, dilation=1)
        x = F.max_pool2d(x, (2, 1), return_indices=True)[0]
        return self.head(self.pools[2](F.relu_(x + 0.01)).relu().mean((2, 3)))


def losses(pass_through) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    network = Network().double()
    for one in network.parameters():
        one.data *= 2
    x = torch.randn(3, 2, 20, 20, dtype=torch.float64, requires_grad=True)
    with pass_through:
        logits = network(x)
    (slope,) = torch.autograd.grad(logits[:, 1].sum(), x, create_graph=True)
    total = logits.square().sum() + slope.square().sum()
    total.backward()
    return total.detach(), {name: one.grad for name, one in network.named_parameters()} | {"x": x.grad}


def test_it_gives_what_an_ordinary_pass_gives():
    (plain, slopes), (total, found) = losses(torch.enable_grad()), losses(DerivedPass())
    torch.testing.assert_close(total, plain, rtol=1e-12, atol=0)
    for name, slope in slopes.items():
        torch.testing.assert_close(found[name], slope, rtol=1e-10, atol=1e-13, msg=name)
        assert slope.any()


def test_zeros_do_not_go_down_through_the_network():
    steady = nn.Sequential(nn.LeakyReLU(), nn.AvgPool2d(2, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(2), nn.Hardtanh())
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 1), steady, nn.Flatten())
    x, seen = torch.randn(2, 1, 8, 8, requires_grad=True), []
    network[0].register_forward_hook(
        lambda module, args, out: out.register_hook(lambda slope: seen.append(slope is not None)) and None
    )
    for given in (DerivedPass(), torch.enable_grad()):
        with given:
            out = network(x)
        (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        seen.clear()
        slope.square().sum().backward()
        assert any(seen) == (not isinstance(given, DerivedPass))


@pytest.mark.parametrize("within", [False, True])
def test_autocast_is_off_for_each_function_and_back_on_after(within):
    layer = nn.Linear(3, 3)
    with torch.autocast("cpu", torch.bfloat16), DerivedPass():
        if within:
            with torch.autocast("cpu", torch.bfloat16):
                found = layer(torch.ones(2, 3))
        else:
            found = layer(torch.ones(2, 3))
        assert torch.is_autocast_enabled("cpu")
    assert found.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
