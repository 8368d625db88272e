"""The inverse of the mean resultant length, against roots and ratios of Bessel functions in 40 digits."""

import math

import mpmath
import pytest
import torch

from priors.errors import InputError
from priors.vmf.maximum_likelihood import solve_concentration

SERIES = [10.0**power for power in range(-6, 4)]
LARGE = [10.0**power for power in range(4, 9)]


def length(m: int, kappa) -> mpmath.mpf:
    """A_m(kappa), by the series of the Bessel functions."""
    half = mpmath.mpf(m) / 2
    square = mpmath.mpf(kappa) ** 2 / 4
    return mpmath.mpf(kappa) / m * mpmath.hyp0f1(half + 1, square) / mpmath.hyp0f1(half, square)


def odd_length(m: int, kappa: float) -> mpmath.mpf:
    """A_m(kappa) in odd dimensions, from coth k - 1 / k in three, where the series is long."""
    k = mpmath.mpf(kappa)
    found = 1 / mpmath.tanh(k) - 1 / k
    for dimension in range(3, m, 2):  # I_(v+1) = I_(v-1) - 2 v I_v / k
        found = 1 / found - dimension / k
    return found


@pytest.mark.parametrize(
    ("m", "kappas", "exact", "digits"),
    [(m, SERIES, length, 60) for m in (2, 3, 5, 11, 128, 512, 8192)]
    + [(m, LARGE, odd_length, digits) for m, digits in ((3, 60), (5, 60), (11, 60), (129, 100), (1025, 800))],
)
def test_inverse_of_the_ratio_of_bessel_functions(m, kappas, exact, digits):
    with mpmath.workdps(digits):
        lengths = [exact(m, kappa) for kappa in kappas]
        resultant = torch.tensor([float(value) for value in lengths], dtype=torch.float64)
        deficit = torch.tensor([float(1 - value) for value in lengths], dtype=torch.float64)
    expected = torch.tensor(kappas, dtype=torch.float64)
    found = solve_concentration(resultant, m, deficit=deficit)
    torch.testing.assert_close(found, expected, rtol=2e-15, atol=0)
    # From R alone: its rounding, half an ulp of 1.1e-16, moves kappa by dR / A'(kappa), about 2 kappa^2 dR / (m - 1).
    tolerance = 2e-15 + 2.3e-16 * expected / (m - 1)
    assert bool(((solve_concentration(resultant, m) - expected).abs() <= tolerance * expected).all())


@pytest.mark.parametrize("m", [2, 11, 512])
@pytest.mark.parametrize("resultant", [1e-6, 0.1, 0.5, 0.5000001, 0.9, 0.999])
def test_root_of_the_equation(m, resultant):
    with mpmath.workdps(40):
        start = resultant * (m - resultant**2) / (1 - resultant**2)
        root = mpmath.findroot(lambda k: length(m, k) - mpmath.mpf(resultant), start, tol=1e-50, maxsteps=60)
        expected = float(root)
    found = solve_concentration(torch.tensor(resultant, dtype=torch.float64), m)
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_limits():
    assert solve_concentration(torch.zeros(2, 3), 7).equal(torch.zeros(2, 3, dtype=torch.float64))
    tiny = torch.tensor([1e-300, 1e-12], dtype=torch.float64)
    torch.testing.assert_close(solve_concentration(tiny, 7), 7 * tiny, rtol=1e-14, atol=0)
    # Near R = 1 the law is Gaussian in m - 1 dimensions: kappa = (m - 1) / 2 (1 - R), to order 1.
    close = torch.tensor([1e-100, 1e-15], dtype=torch.float64)
    torch.testing.assert_close(
        solve_concentration(torch.ones(2).double(), 7, deficit=close), 3 / close, rtol=1e-14, atol=0
    )


def test_space_in_closed_form():
    """A_3(k) = coth k - 1 / k."""
    kappa = torch.linspace(0.5, 30, 100, dtype=torch.float64)
    torch.testing.assert_close(solve_concentration(1 / kappa.tanh() - 1 / kappa, 3), kappa, rtol=1e-13, atol=0)


def test_every_dimension_settles_within_the_steps_allowed():
    """It is an error where one does not; and a longer mean has a larger concentration."""
    grid = torch.cat([torch.logspace(-12, -0.01, 300), 1 - torch.logspace(-0.3, -15, 300, dtype=torch.float64)])
    for m in (*range(2, 12), 24, 128, 100_000):
        kappa = solve_concentration(grid.double(), m)
        assert bool((kappa.diff()[:299] > 0).all()) and bool((kappa.diff()[300:] > 0).all())


def test_half_precision_and_shapes():
    found = solve_concentration(torch.full((2, 1, 3), 0.5, dtype=torch.bfloat16), 3)
    assert found.shape == (2, 1, 3) and found.dtype == torch.float64
    assert solve_concentration(0.5, 3).shape == ()


@pytest.mark.parametrize(
    ("resultant", "options", "said"),
    [
        ([0.5, 1.0], {}, "of entry 1 is 1: its directions are all the same, their concentration is infinite"),
        ([0.5, 1.0], {"names": ["ant", "bee"]}, "of class 'bee' is 1: its directions"),
        ([-0.1, 0.5], {"names": ["ant", "bee"]}, r"of class 'ant' is -0.1: a number in \[0, 1\)"),
        ([0.5, 1.5], {}, "of entry 1 is 1.5: a number"),
        ([math.nan], {}, "of entry 0 is nan: a number"),
        ([math.inf], {}, "of entry 0 is inf"),
    ],
)
def test_lengths_that_cannot_be(resultant, options, said):
    with pytest.raises(InputError, match=said):
        solve_concentration(torch.tensor(resultant, dtype=torch.float64), 4, **options)


def test_a_concentration_beyond_the_numbers_is_said():
    resultant, deficit = torch.tensor([[0.5, 1.0], [0.5, 1e-310]], dtype=torch.float64)
    with pytest.raises(InputError, match="concentration of class 'bee' for 1 - R = 1e-310: it does not converge"):
        solve_concentration(resultant, 4, deficit=deficit, names=["ant", "bee"])
    with pytest.raises(InputError, match="1 dimensions: at least 2"):
        solve_concentration(0.5, 1)
