"""Users' own autograd functions are operations like any other, if they say what their forward derivative is."""

import pytest
import torch
from torch import nn

from analysis import decompose
from analysis.jacobians.derivatives import load_forward_derivatives
from priors import InputError


class Cube(torch.autograd.Function):
    """z^3, with a forward derivative."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        ctx.save_for_forward(z)
        return z**3

    @staticmethod
    def backward(ctx, slope):
        (z,) = ctx.saved_tensors
        return 3 * z**2 * slope

    @staticmethod
    def jvp(ctx, tangent):
        (z,) = ctx.saved_tensors
        return 3 * z**2 * tangent


class Scaled(torch.autograd.Function):
    """A product of two, in the newer style, under the name of a function of torch that adds nothing."""

    @staticmethod
    def forward(z, factor, power):
        return z * factor**power

    @staticmethod
    def setup_context(ctx, inputs, output):
        z, factor, power = inputs
        ctx.power = power
        ctx.save_for_backward(z, factor)
        ctx.save_for_forward(z, factor)

    @staticmethod
    def backward(ctx, slope):
        z, factor = ctx.saved_tensors
        return slope * factor**ctx.power, slope * z * ctx.power * factor ** (ctx.power - 1), None

    @staticmethod
    def jvp(ctx, tangent, own, _):
        z, factor = ctx.saved_tensors
        along = 0 if tangent is None else tangent * factor**ctx.power
        return along + (0 if own is None else own * z * ctx.power * factor ** (ctx.power - 1))


Scaled.__name__ = "relu"


class Clamped(torch.autograd.Function):
    """Without one."""

    @staticmethod
    def forward(ctx, z):
        return z.clamp(-1, 1)

    @staticmethod
    def backward(ctx, slope):
        return slope


class Network(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.one, self.two, self.function = nn.Linear(4, 5), nn.Linear(5, 3), function

    def forward(self, x):
        return self.two(self.function(self.one(x)))


FUNCTIONS = {
    "cube": (lambda z: Cube.apply(z), lambda z: z**3),
    "twice": (lambda z: Cube.apply(Cube.apply(z)), lambda z: z**9),
    "a product": (lambda z: Scaled.apply(z, z.abs() + 1, 2), lambda z: z * (z.abs() + 1) ** 2),
    "a product with a constant": (lambda z: Scaled.apply(z, torch.full_like(z, 3.0), 2), lambda z: z * 9),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_is_what_the_same_is_by_functions_of_torch(name):
    load_forward_derivatives()
    own, plain = FUNCTIONS[name]
    torch.manual_seed(0)
    network, x = Network(own).double(), torch.randn(3, 4, dtype=torch.float64)
    found = decompose(network, x, 1)
    network.function = plain
    expected = decompose(network, x, 1)
    assert found.residual.max() < 1e-14
    torch.testing.assert_close(found.output, expected.output)
    torch.testing.assert_close(found.jacobian, expected.jacobian)
    for source, total in expected.by_source().items():
        if name != "a product" or source in ("bias", "batch norm"):
            torch.testing.assert_close(found.by_source()[source], total, rtol=1e-9, atol=1e-12)
    assert any(term.operation.startswith("autograd function") for term in found.terms)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda z: Clamped.apply(z), "autograd function Clamped cannot be decomposed: its class defines no jvp"),
        (Cube.apply, "linear of layer 'two' cannot .*what Cube made.*: call it as Cube.apply$"),
    ],
)
def test_others_are_refused_by_name_and_all_is_as_it_was(function, said):
    before = torch.autograd.Function.__dict__["apply"]
    with pytest.raises(InputError, match=said):
        decompose(Network(function), torch.randn(3, 4), 1)
    assert torch.autograd.Function.__dict__["apply"] is before and Clamped.apply(torch.tensor(3.0)) == 1


def test_one_of_constants_needs_none():
    network = Network(lambda z: z * Clamped.apply(torch.full((5,), 3.0)))
    assert decompose(network, torch.randn(3, 4), 1).residual.max() < 1e-6
