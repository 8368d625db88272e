"""Operations that torch has no forward derivative of: their backward ones are differentiated, or they are refused."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from analysis import decompose
from analysis.jacobians.derivatives import NoDerivative, along_itself, load_forward_derivatives
from priors import InputError

SIZES = torch.randn(2, 5, 5, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.fixture(scope="module", autouse=True)
def forward_derivatives():
    """Loaded, which makes torch warn of its own function."""
    load_forward_derivatives()


def points(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LACKING = {
    "grid_sample of an image": lambda z: functional.grid_sample(
        z, (SIZES / 2).tanh(), align_corners=False, padding_mode="border"
    ),
    "grid_sample at places": lambda z: functional.grid_sample(
        points(2, 3, 4, 4, seed=5), z[:, :2].permute(0, 2, 3, 1).tanh(), align_corners=False
    ),
    "cdist": lambda z: torch.cdist(z.flatten(2), z.flatten(2).flip(1) + 1),
    "pdist": lambda z: functional.pdist(z.flatten(1)),
}


@pytest.mark.parametrize("name", LACKING)
def test_the_derivative_is_that_of_finite_differences(name):
    """Of torch's own operations, none of which has a forward derivative."""
    operation, z, step = LACKING[name], points(2, 3, 4, 4), 1e-6
    with pytest.raises(NotImplementedError, match="forward AD"):
        torch.func.jvp(operation, (z,), (z,))
    for in_place in (False, True):
        ((value, along),) = along_itself(operation, ((z,), {}), lambda one: one is z, in_place)
        assert torch.equal(value, operation(z)) and not along.requires_grad
        difference = (operation(z + step * z) - operation(z - step * z)) / (2 * step)
        torch.testing.assert_close(along, difference, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "operation", [torch.tanh, torch.logcumsumexp, torch.linalg.svd, torch.sort], ids=lambda one: one.__name__
)
def test_both_ways_agree_where_there_are_two(operation, monkeypatch):
    """Also of an operation with several results, and with whole numbers among them."""
    z = points(3, 4)
    given = ((z, 1), {}) if operation is torch.logcumsumexp else ((z,), {})
    expected = along_itself(operation, given, lambda one: one is z, False)

    def lacking(*_):
        raise NotImplementedError("it has none")

    monkeypatch.setattr("analysis.jacobians.derivatives._forward", lacking)
    for one, other in zip(along_itself(operation, given, lambda one: one is z, False), expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one[1], other[1])


def test_a_derivative_of_zero_is_one():
    """Of steps, and of what does not depend on what it is given."""
    z = points(3, 4)
    for operation in (torch.floor, torch.sign, torch.ones_like):
        ((_, along),) = along_itself(operation, ((z,), {}), lambda one: one is z, False)
        assert along.abs().max() == 0


def test_what_has_neither_is_refused():
    z = points(4, 3)
    with pytest.raises(NoDerivative, match="_embedding_bag.*nor can its backward one be differentiated"):
        along_itself(functional.embedding_bag, ((torch.tensor([[0, 1]]), z), {}), lambda one: one is z, False)


class SpatialTransformer(nn.Module):
    """Jaderberg et al. 2015: looks at images through a grid that it makes of them."""

    def __init__(self):
        super().__init__()
        self.where, self.what = nn.Linear(3 * 8 * 8, 6), nn.Conv2d(3, 4, 3)

    def forward(self, x):
        grid = functional.affine_grid(self.where(x.flatten(1)).view(-1, 2, 3), x.shape, align_corners=False)
        return self.what(functional.grid_sample(x, grid, align_corners=False)).relu().mean((2, 3))


def test_a_spatial_transformer_is_decomposed():
    torch.manual_seed(0)
    x = torch.rand(3, 3, 8, 8, dtype=torch.float64)
    found = decompose(SpatialTransformer().double(), x, 2)
    assert found.residual.max() < 1e-13
    term = next(term for term in found.terms if term.operation == "grid_sample")
    assert term.source == "activation" and term.total.abs().min() > 0


class Regions(nn.Module):
    def forward(self, x):
        boxes = [torch.tensor([[0.0, 0.0, 4.0, 4.0]], dtype=x.dtype)] * len(x)
        return torchvision.ops.roi_align(x, boxes, 2).sum((2, 3))


def test_operations_of_other_libraries_are_named_where_torch_does_not_know_their_derivatives():
    with pytest.raises(InputError, match="roi_align"):
        decompose(Regions(), torch.rand(1, 3, 8, 8), 0)
