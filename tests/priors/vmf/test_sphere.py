"""Great circles, against SciPy, the closed form in high precision, and what defines them."""

import math

import mpmath
import numpy as np
import pytest
import scipy.spatial
import torch

from priors.errors import InputError
from priors.vmf.sphere import slerp


def unit(*shape: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    drawn = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=-1).to(dtype)


@pytest.mark.parametrize("m", [2, 3, 11, 128])
def test_it_is_scipys(m):
    start, end, fractions = unit(5, m), unit(5, m, seed=1), torch.linspace(0, 1, 7, dtype=torch.float64)
    found = slerp(start, end, fractions)
    assert found.shape == (5, 7, m)
    for row in range(5):
        expected = scipy.spatial.geometric_slerp(start[row].numpy(), end[row].numpy(), fractions.numpy())
        np.testing.assert_allclose(found[row].numpy(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("angle", ["1e-9", "1e-4", "1", "3", "3.14159"])
def test_the_closed_form_in_fifty_digits(angle):
    """sin((1 - f) omega) / sin(omega) start + sin(f omega) / sin(omega) end, of the very ends in double precision."""
    start = unit(1, 4)[0]
    across = unit(1, 4, seed=1)[0]
    across = torch.nn.functional.normalize(across - (across @ start) * start, dim=0)
    end = torch.nn.functional.normalize(math.cos(float(angle)) * start + math.sin(float(angle)) * across, dim=0)
    fractions = torch.linspace(0, 1, 9, dtype=torch.float64)
    found = slerp(start, end, fractions)
    with mpmath.workdps(50):
        a, b = (mpmath.matrix([mpmath.mpf(x) for x in v.tolist()]) for v in (start, end))
        a, b = a / mpmath.norm(a), b / mpmath.norm(b)
        omega = 2 * mpmath.atan2(mpmath.norm(a - b), mpmath.norm(a + b))
        for f, point in zip(fractions.tolist(), found, strict=True):
            closed = (mpmath.sin((1 - f) * omega) * a + mpmath.sin(f * omega) * b) / mpmath.sin(omega)
            # Between ends almost opposite, their rounding turns the great circle itself, by as much as omega says.
            tolerance = 1e-15 / math.sin(float(angle)) if float(angle) > 2 else 1e-15
            assert max(abs(x - y) for x, y in zip(point.tolist(), closed, strict=True)) < max(4 * tolerance, 1e-15)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_points_are_of_norm_one_evenly_spaced_and_end_as_given(dtype, tolerance):
    start, end = unit(200, 11, dtype=dtype), unit(200, 11, seed=1, dtype=dtype)
    end[:50] = torch.nn.functional.normalize(start[:50] + 1e-3 * end[:50], dim=-1)  # close together
    end[50:100] = torch.nn.functional.normalize(-start[50:100] + 1e-3 * end[50:100], dim=-1)  # almost opposite
    points = slerp(start, end, torch.linspace(0, 1, 12, dtype=dtype))
    assert torch.equal(points[:, 0], start) and torch.equal(points[:, -1], end)
    assert (points.norm(dim=-1) - 1).abs().max() < tolerance
    steps = 2 * torch.atan2(
        (points[:, 1:] - points[:, :-1]).norm(dim=-1), (points[:, 1:] + points[:, :-1]).norm(dim=-1)
    )
    whole = 2 * torch.atan2((end - start).norm(dim=-1), (end + start).norm(dim=-1))
    assert (steps - whole[:, None] / 11).abs().max() < 10 * tolerance
    assert steps.sum(1).max() < math.pi + 10 * tolerance, "the shorter way"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_ends_stay_and_antipodal_ends_go_round(dtype):
    start = unit(50, 7, dtype=dtype)
    fractions = torch.linspace(0, 1, 9)
    still = slerp(start, start, fractions)
    assert (still - start[:, None]).abs().max() < 4 * torch.finfo(dtype).eps
    half = slerp(start, -start, fractions)
    assert bool(half.isfinite().all()) and torch.equal(half[:, -1], -start)
    cosines = (half * start[:, None]).sum(-1)
    expected = torch.cos(math.pi * fractions.to(dtype)).expand(50, -1)
    assert (cosines - expected).abs().max() < 8 * torch.finfo(dtype).eps
    axis = start[0].abs().argmin()  # the middle of the way is where the farthest axis is
    assert half[0, 4].abs().argmax() == axis and torch.equal(half, slerp(start, -start, fractions))


def test_ends_that_do_not_fit_are_refused():
    start = unit(2, 3)
    fractions = torch.linspace(0, 1, 3)
    with pytest.raises(InputError, match="as many starts as ends"):
        slerp(start, unit(1, 3), fractions)
    with pytest.raises(InputError, match="of one type"):
        slerp(start, start.float(), fractions)
    with pytest.raises(InputError, match="end has norms between"):
        slerp(start, 2 * start, fractions)
