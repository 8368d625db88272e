"""What Srinivas and Fleuret (2019) say of functions of disjoint parts (example 2) and of dropout (equation 3).

Propositions 1 to 3, example 1 and the invariance of section 5 are tested beside the decomposition itself.
"""

import pytest
import torch
from torch import nn

from analysis import decompose

DRAWS = 20_000


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(inputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 5), nn.ReLU(), nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 2))


class Disjoint(nn.Module):
    """f(x) = f_1(x_1) + f_2(x_2)."""

    def __init__(self):
        super().__init__()
        self.first, self.second = small(3), small(4)

    def forward(self, x):
        return self.first(x[:, :3]) + self.second(x[:, 3:])


def test_example_2():
    """The sum is that of both functions: the slope is theirs side by side, the terms are theirs one after the other."""
    torch.manual_seed(0)
    network, x = Disjoint().double(), normal(6, 7)
    whole = decompose(network, x, 1, keep="values")
    parts = {
        "first": decompose(network.first, x[:, :3], 1, keep="values"),
        "second": decompose(network.second, x[:, 3:], 1, keep="values"),
    }
    torch.testing.assert_close(whole.jacobian, torch.cat([part.jacobian for part in parts.values()], 1))
    torch.testing.assert_close(whole.output, sum(part.output for part in parts.values()))
    theirs = [(name, term) for name, part in parts.items() for term in part.terms]
    assert len(theirs) == len(whole.terms) == 8
    for own, (name, term) in zip(whole.terms, theirs, strict=True):
        assert own.layer == f"{name}.{term.layer}"
        torch.testing.assert_close(own.value, term.value)
    # What the one part is changes nothing of what the other gives.
    other = decompose(network, torch.cat([x[:, :3], normal(6, 4, seed=1)], 1), 1, keep="values")
    assert torch.equal(other.jacobian[:, :3], whole.jacobian[:, :3])
    for own, term in zip(other.terms[:4], whole.terms[:4], strict=True):
        assert torch.equal(own.value, term.value)


def test_example_2_of_a_convolution_whose_steps_are_as_wide_as_its_kernels():
    """There f_1 = f_2 = ...: each place of a map is the term of its own patch."""
    torch.manual_seed(0)
    head = nn.Linear(4, 1).double()
    patchwise = nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.ReLU(), nn.Conv2d(5, 4, 1), nn.GELU()).double()

    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.patchwise, self.head = patchwise, head

        def forward(self, x):
            return self.head(self.patchwise(x).sum((2, 3)))

    x = normal(1, 3, 8, 12)
    whole = decompose(Summed(), x)
    for row in range(2):
        for column in range(3):
            place = (..., slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
            alone = decompose(Summed(), x[place])
            torch.testing.assert_close(whole.jacobian[place], alone.jacobian)
            for own, term in zip(whole.terms[:-1], alone.terms[:-1], strict=True):
                torch.testing.assert_close(own.map[:, row, column], term.map[:, 0, 0])


def body_and_tail() -> tuple[nn.Module, nn.Module]:
    """A ReLU network in two, the first part ending in pre-activations z."""
    torch.manual_seed(0)
    body = nn.Linear(6, 8)
    return body.double(), nn.Sequential(nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3)).double()


def error_under_dropout(tail: nn.Module, z: torch.Tensor, label: torch.Tensor | float, sigma: float) -> torch.Tensor:
    """E (y - f(z * xi))^2 - (y - f(z))^2 with xi ~ N(1, sigma^2), of output 1; xi and 2 - xi are drawn in pairs."""
    noise = sigma * normal(DRAWS, z.shape[1], seed=1)
    with torch.no_grad():
        plain = (label - tail(z)[:, 1]).square()
        pairs = [(label - tail(z * (1 + sign * noise))[:, 1]).square().mean() for sign in (1, -1)]
    return sum(pairs) / 2 - plain


@pytest.mark.parametrize("away", [0.0, 0.3])
def test_equation_3_against_dropout(away):
    """Gaussian dropout of little noise adds sigma^2 |z * df/dz|^2 to the squared error, whatever the label.

    Relative to that, the mean over 20,000 draws of the square of a normal variable, of which the other half of each
    pair has the same, has a standard error of sqrt(2 / 20,000) = .01: five of them are exceeded by chance in fewer than
    one of a million seeds. The network is linear within the noise, so that nothing else is added.
    """
    body, tail = body_and_tail()
    z, sigma = body(normal(1, 6, seed=3)).detach(), 1e-3
    slope = decompose(tail, z, 1).jacobian
    leaf = z.clone().requires_grad_()
    torch.testing.assert_close(slope, torch.autograd.grad(tail(leaf)[0, 1], leaf)[0])
    found = error_under_dropout(tail, z, tail(z)[0, 1].detach() + away, sigma)
    assert float(found / (sigma**2 * (z * slope).square().sum())) == pytest.approx(1, abs=0.05)


def test_dropout_is_the_bias_term_where_activations_are_biases():
    """Where the layer before gives zeros, z = b, and z * df/dz is the layer's bias-Jacobian; elsewhere it is not."""
    body, tail = body_and_tail()
    network = nn.Sequential(body, tail)
    at_zero, elsewhere = torch.zeros(1, 6, dtype=torch.float64), normal(1, 6, seed=3)
    for x, same in ((at_zero, True), (elsewhere, False)):
        z = body(x).detach()
        first, *_ = decompose(network, x, 1, keep="values").terms
        assert first.layer == "0" and first.source == "bias"
        dropout = decompose(tail, z, 1).jacobian * z
        assert torch.allclose(first.value, dropout, rtol=1e-10, atol=1e-14) == same
        sigma = 1e-3
        ratio = float(
            error_under_dropout(tail, z, tail(z)[0, 1].detach(), sigma) / (sigma**2 * first.value.square().sum())
        )
        assert (abs(ratio - 1) < 0.05) == same  # by chance, as above
