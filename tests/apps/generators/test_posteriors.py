"""Posteriors of an encoder's output, against torch's own derivatives."""

import pytest
import torch
import torch.nn.functional as F

from apps.generators.posteriors import POSTERIORS

KINDS = pytest.mark.parametrize("kind", POSTERIORS.values(), ids=POSTERIORS)


def parameters_of(dtype):
    """With directions of length 1, 1e-6, 1e6 and 0."""
    numbers = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=dtype)
    numbers[:, :5] = F.normalize(numbers[:, :5], dim=-1) * torch.tensor([1.0, 1e-6, 1e6, 0.0], dtype=dtype)[:, None]
    return numbers.requires_grad_()


def parts_of(kind):
    def parts(parameters):
        posterior = kind.of(parameters)
        return posterior.loc, posterior.concentration

    return parts


@KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_directions_are_normalised_and_gradients_are_those_of_the_formulas(kind, dtype):
    parameters = parameters_of(dtype)
    found = parts_of(kind)(parameters)
    direction, scale = parameters.split((5, 1), -1)
    plain = F.normalize(direction, dim=-1), kind.concentration(5, scale.squeeze(-1))
    weights = [torch.randn(part.shape, generator=torch.Generator().manual_seed(1), dtype=dtype) for part in plain]
    gradients = [torch.autograd.grad(parts, parameters, weights)[0] for parts in (found, plain)]
    for ours, theirs in zip((*found, gradients[0]), (*plain, gradients[1]), strict=True):
        torch.testing.assert_close(ours, theirs)


@KINDS
def test_derivatives_are_those_of_finite_differences(kind):
    parameters = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(parts_of(kind), parameters)
    assert torch.autograd.gradgradcheck(parts_of(kind), parameters)


@KINDS
def test_slopes_where_numbers_are_large(kind):
    scale = torch.tensor([-80.0, -5.0, 0.0, 5.0, 29.0, 31.0, 80.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(kind.concentration(5, scale).sum(), scale)
    torch.testing.assert_close(kind.slope(5, scale), slope)
