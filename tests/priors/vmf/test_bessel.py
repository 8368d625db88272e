"""The functions of the concentration against mpmath: 12 dimensions, concentrations over 16 decades, both types."""

import math
from functools import cache
from typing import NamedTuple

import mpmath
import pytest
import torch
from mpmath import mpf

from priors.errors import InputError
from priors.vmf import bessel
from priors.vmf.bessel_table import pieces
from priors.vmf.divergence import kl_between

DIMENSIONS = (2, 3, 4, 5, 10, 20, 21, 64, 128, 512, 2048, 8192)
# Representable in float32, so that both types are compared with the same true values.
CONCENTRATIONS = tuple(torch.logspace(-8, 8, 33, dtype=torch.float64).float().tolist())
LIMIT = {torch.float32: 3e-6, torch.float64: 1e-12}
TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


class Truth(NamedTuple):
    log: mpf  # L = log E exp(k t), t = mu.x uniform
    length: mpf  # A = L'
    slope: mpf  # A'


@cache
def truth(m: int, kappa: float) -> Truth:
    """To 40 digits: by the hypergeometric series, or, where that is long, by Bessel functions, which mpmath then has
    from their asymptotic series; in many dimensions that is none, and the density of the cosine is integrated."""
    with mpmath.workdps(60):
        k = mpf(kappa)
        if k == 0:
            return Truth(mpf(0), mpf(0), 1 / mpf(m))
        if k < 2000:
            half = mpf(m) / 2
            series = mpmath.hyp0f1(half, k * k / 4)
            log, length = mpmath.log(series), k / m * mpmath.hyp0f1(half + 1, k * k / 4) / series
            return Truth(log, length, 1 - length**2 - (m - 1) * length / k)
        return _bessel(m, k) if m <= 128 else _integrate(m, k)


def _bessel(m: int, k: mpf) -> Truth:
    v = mpf(m) / 2 - 1
    i = mpmath.besseli(v, k)
    length = mpmath.besseli(v + 1, k) / i
    log = mpmath.loggamma(v + 1) + v * mpmath.log(2 / k) + mpmath.log(i)
    return Truth(log, length, 1 - length**2 - (m - 1) * length / k)


def _integrate(m: int, k: mpf) -> Truth:
    """Trapezoidal rule in u = atanh t, where the density is sech(u)^(m-1) exp(k tanh u): it converges exponentially."""
    n = m - 1
    mode = mpmath.atanh(2 * k / (n + mpmath.sqrt(n * n + 4 * k * k)))
    step = min(mpf(1) / 25, 1 / mpmath.sqrt(n * (1 + mpmath.tanh(mode) ** 2)) / 3)
    top = k * mpmath.tanh(mode) - n * mpmath.log(mpmath.cosh(mode))
    points = []
    for sign, start in ((1, 0), (-1, 1)):
        i = start
        while True:
            u = mode + sign * i * step
            e = mpmath.exp(-2 * u)
            t = (1 - e) / (1 + e)
            # sech(u) = 2 exp(-u) / (1 + exp(-2 u))
            weight = mpmath.exp(k * t + n * (mpmath.log(2) - u - mpmath.log(1 + e)) - top)
            points.append((t, weight))
            if weight < mpf(10) ** -50:
                break
            i += 1
    total = mpmath.fsum(w for _, w in points)
    length = mpmath.fsum(t * w for t, w in points) / total
    slope = mpmath.fsum((t - length) ** 2 * w for t, w in points) / total
    # int (1 - t^2)^((m-3)/2) dt = sqrt(pi) Gamma((m-1)/2) / Gamma(m/2)
    constant = mpmath.log(mpmath.pi) / 2 + mpmath.loggamma(mpf(n) / 2) - mpmath.loggamma(mpf(m) / 2)
    return Truth(mpmath.log(total * step) + top - constant, length, slope)


def log_area(m: int) -> mpf:
    with mpmath.workdps(40):
        half = mpf(m) / 2
        return mpmath.log(2) + half * mpmath.log(mpmath.pi) - mpmath.loggamma(half)


def worst(values: torch.Tensor, exact: list, scales: list | None = None) -> float:
    """Largest error relative to the scales, or to the exact values themselves."""
    errors = []
    with mpmath.workdps(40):
        for value, true, scale in zip(values.double().tolist(), exact, scales or exact, strict=True):
            assert math.isfinite(value)
            errors.append(float(abs(mpf(value) - true) / abs(scale)))
    return max(errors)


def with_slope(function, m: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    kappa = torch.tensor(CONCENTRATIONS, dtype=dtype, requires_grad=True)
    value = function(m, kappa)
    (slope,) = torch.autograd.grad(value.sum(), kappa)
    return value.detach(), slope


def test_integrals_and_bessel_functions_agree():
    for m, kappa in ((2, 1e4), (3, 1e8), (20, 3e3), (64, 3e3), (128, 2e3), (129, 1e6)):
        with mpmath.workdps(60):
            ways = _integrate(m, mpf(kappa)), _bessel(m, mpf(kappa))
            assert max(abs(a / b - 1) for a, b in zip(*ways, strict=True)) < mpf(10) ** -38


@TYPES
@pytest.mark.parametrize("m", DIMENSIONS)
def test_values_and_derivatives(m, dtype):
    exact = [truth(m, k) for k in CONCENTRATIONS]
    with mpmath.workdps(60):
        pairs = list(zip(map(mpf, CONCENTRATIONS), exact, strict=True))
        lengths, slopes = [x.length for x in exact], [x.slope for x in exact]
        curvatures = [-2 * x.length * x.slope - (m - 1) * (x.slope / k - x.length / k**2) for k, x in pairs]
        divergences = [k * x.length - x.log for k, x in pairs]
        peaks = [k - x.log for k, x in pairs]
        deficits = [1 - x.length for x in exact]
        across = [x.length / k for k, x in pairs]
        cases = {
            bessel.log_normaliser_ratio: ([x.log for x in exact], lengths),
            bessel.mean_resultant_length: (lengths, slopes),
            bessel.mean_resultant_slope: (slopes, curvatures),
            bessel.mean_resultant_deficit: (deficits, [-x for x in slopes]),
            bessel.kl_to_uniform: (divergences, [k * x.slope for k, x in pairs]),
            bessel.log_peak_ratio: (peaks, deficits),
            bessel.transverse_variance: (across, [(x.slope - x.length / k) / k for k, x in pairs]),
        }
    if dtype == torch.float32:  # the curvature falls below the smallest float32 number
        tiny = torch.finfo(dtype).tiny
        curvatures = [-max(-x, mpf(tiny)) for x in curvatures]
        cases[bessel.mean_resultant_slope] = (slopes, curvatures)
    for function, (values, derivatives) in cases.items():
        value, slope = with_slope(function, m, dtype)
        assert worst(value, values) < LIMIT[dtype], function.__name__
        assert worst(slope, derivatives) < LIMIT[dtype], f"derivative of {function.__name__}"
    assert (bessel.kl_to_uniform(m, torch.tensor(CONCENTRATIONS, dtype=dtype)) >= 0).all()


@TYPES
@pytest.mark.parametrize("m", DIMENSIONS)
def test_log_normaliser_and_entropy(m, dtype):
    """They are differences of two terms: relative to themselves, or to the larger term where they pass through zero."""
    kappa = torch.tensor(CONCENTRATIONS, dtype=dtype)
    exact = [truth(m, k) for k in CONCENTRATIONS]
    area = log_area(m)
    assert abs(bessel.log_sphere_area(m) - area) < 1e-15 * (abs(area) + m)
    with mpmath.workdps(40):
        normalisers = [-x.log - area for x in exact]
        divergences = [mpf(k) * x.length - x.log for k, x in zip(CONCENTRATIONS, exact, strict=True)]
        scales = [max(abs(area), x.log) for x in exact]
        entropies = [area - x for x in divergences]
        entropy_scales = [max(abs(area), x) for x in divergences]
    assert worst(bessel.log_normaliser(m, kappa), normalisers, scales) < LIMIT[dtype]
    entropy = bessel.log_sphere_area(m) - bessel.kl_to_uniform(m, kappa)
    assert worst(entropy, entropies, entropy_scales) < LIMIT[dtype]


@TYPES
@pytest.mark.parametrize("m", DIMENSIONS)
def test_uniform_exactly(m, dtype):
    zero = torch.zeros((), dtype=dtype, requires_grad=True)
    for function, value, slope in (
        (bessel.log_normaliser_ratio, 0, 0),
        (bessel.kl_to_uniform, 0, 0),
        (bessel.log_peak_ratio, 0, 1),
        (bessel.mean_resultant_length, 0, 1 / m),
        (bessel.mean_resultant_deficit, 1, -1 / m),
        (bessel.mean_resultant_slope, 1 / m, 0),
        (bessel.transverse_variance, 1 / m, 0),
    ):
        result = function(m, zero)
        (derivative,) = torch.autograd.grad(result, zero)
        assert result.item() == pytest.approx(value, rel=1e-6 if dtype == torch.float32 else 1e-15, abs=0)
        assert derivative.item() == pytest.approx(slope, rel=1e-6 if dtype == torch.float32 else 1e-15, abs=0)


RATIOS = (1.0, 1 + 2.0**-20, 1 - 2.0**-14, 1.001, 0.999, 1.01, 1.2, 0.7, 1.51, 1.99, 2.01, 0.6, 3.0, 1e-3, 1e4)


@TYPES
@pytest.mark.parametrize("m", (2, 3, 4, 10, 20, 128, 2048))
def test_divergence_between_concentrations(m, dtype):
    """Relative to itself, also where the two are close: far inside what relative to its terms would allow."""
    pairs = [(q, r) for q in (1e-8, 1e-3, 1.0, 15.0, 200.0, 3e4, 1e8) for r in (q * x for x in RATIOS) if r <= 1.6e8]
    q, r = torch.tensor(pairs, dtype=torch.float32).to(dtype).unbind(1)
    q, r = q.clone().requires_grad_(), r.clone().requires_grad_()
    divergence = kl_between(m, q, r, torch.zeros_like(q))
    by_q, by_r = torch.autograd.grad(divergence.sum(), (q, r))
    again = torch.autograd.grad(kl_between(m, q, r, torch.zeros_like(q)).sum(), (q, r), create_graph=True)
    torch.testing.assert_close(again[0].detach(), by_q, rtol=1e-6, atol=0)
    torch.testing.assert_close(again[1].detach(), by_r, rtol=1e-6, atol=0)
    exact, q_slopes, r_slopes, floors = [], [], [], []
    with mpmath.workdps(60):
        for a, b in zip(q.tolist(), r.tolist(), strict=True):
            x, y = truth(m, a), truth(m, b)
            step = mpf(b) - mpf(a)
            exact.append(y.log - x.log - x.length * step)
            q_slopes.append(-x.slope * step)
            r_slopes.append(y.length - x.length)
            floors.append(mpf(torch.finfo(dtype).tiny))
    assert (divergence >= 0).all()
    assert (divergence[(q == r)] == 0).all()

    def scales(values):
        return [max(abs(x), floor) for x, floor in zip(values, floors, strict=True)]

    assert worst(divergence.detach(), exact, scales(exact)) < {torch.float32: 3e-5, torch.float64: 1e-13}[dtype]
    assert worst(by_q, q_slopes, scales(q_slopes)) < LIMIT[dtype]
    assert worst(by_r, r_slopes, scales(r_slopes)) < LIMIT[dtype]


@pytest.mark.parametrize("m", (2, 3, 10, 128))
def test_divergence_with_uniform_at_either_end(m):
    kappa = torch.tensor([1e-6, 0.5, 30.0, 1e7], dtype=torch.float64)
    zero = torch.zeros_like(kappa)
    torch.testing.assert_close(kl_between(m, kappa, zero, zero), bessel.kl_to_uniform(m, kappa), rtol=1e-13, atol=0)
    torch.testing.assert_close(
        kl_between(m, zero, kappa, zero), bessel.log_normaliser_ratio(m, kappa), rtol=1e-13, atol=0
    )
    assert kl_between(m, zero, zero, zero).eq(0).all()


@pytest.mark.parametrize("m", (2, 5, 10, 128))
def test_gradients_of_all_orders(m):
    kappa = torch.tensor([0.0, 0.3, 4.0, 90.0], dtype=torch.float64, requires_grad=True)
    for function in (
        bessel.log_normaliser_ratio,
        bessel.mean_resultant_length,
        bessel.mean_resultant_deficit,
        bessel.mean_resultant_slope,
        bessel.transverse_variance,
        bessel.kl_to_uniform,
        bessel.log_peak_ratio,
    ):
        assert torch.autograd.gradcheck(lambda k, f=function: f(m, k), kappa)
        assert torch.autograd.gradgradcheck(lambda k, f=function: f(m, k), kappa)
    other = torch.tensor([0.2, 0.3, 9.0, 80.0], dtype=torch.float64, requires_grad=True)
    versine = torch.tensor([0.3, 0.0, 1.9, 0.01], dtype=torch.float64, requires_grad=True)
    inputs = (kappa.detach() + 0.1).requires_grad_(), other, versine
    assert torch.autograd.gradcheck(lambda q, r, v: kl_between(m, q, r, v), inputs)
    assert torch.autograd.gradgradcheck(lambda q, r, v: kl_between(m, q, r, v), inputs)


def test_function_transforms():
    kappa = torch.tensor([0.5, 4.0, 90.0], dtype=torch.float64)

    def divergence(k):
        return bessel.kl_to_uniform(23, k)  # a dimension of its own: its tables are first wanted inside the transform

    slopes = torch.func.vmap(torch.func.grad(divergence))(kappa)
    torch.testing.assert_close(slopes, kappa * bessel.mean_resultant_slope(23, kappa))
    assert divergence(kappa).isfinite().all()
    both = torch.func.vmap(lambda k: kl_between(3, k, 2 * k, 0 * k))(kappa)
    torch.testing.assert_close(both, kl_between(3, kappa, 2 * kappa, 0 * kappa))


def test_shapes_and_inference_mode():
    kappa = torch.rand(4, 1, 3, dtype=torch.float64) * 30
    with torch.inference_mode():
        first = bessel.kl_to_uniform(27, kappa)  # a dimension of its own: its tables are made here
    live = kappa.clone().requires_grad_()
    second = bessel.kl_to_uniform(27, live)
    (slope,) = torch.autograd.grad(second.sum(), live, create_graph=True)
    slope.sum().backward()
    assert first.shape == second.shape == kappa.shape and live.grad.isfinite().all()
    assert bessel.kl_to_uniform(27, kappa[0, 0, 0]).shape == ()
    assert bessel.kl_to_uniform(27, kappa[:0]).shape == (0, 1, 3)
    assert bessel.kl_to_uniform(3, kappa[:0]).shape == (0, 1, 3)


def test_autocast_changes_nothing():
    kappa = torch.rand(8) * 30
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = bessel.kl_to_uniform(20, kappa), kl_between(20, kappa, kappa.flip(0), torch.ones(8))
    assert mixed[0].equal(bessel.kl_to_uniform(20, kappa))
    assert mixed[1].equal(kl_between(20, kappa, kappa.flip(0), torch.ones(8)))


def test_huge_and_tiny_concentrations():
    for dtype in (torch.float32, torch.float64):
        kappa = torch.tensor([torch.finfo(dtype).tiny, 1e-30, 1e25, 1e37], dtype=dtype)
        for m in (2, 20, 8192):
            length = bessel.mean_resultant_length(m, kappa)
            assert ((length >= 0) & (length <= 1)).all()
            for value in (bessel.kl_to_uniform(m, kappa), bessel.log_normaliser_ratio(m, kappa)):
                assert value.isfinite().all() and (value >= 0).all()


@pytest.mark.parametrize("m", (1, 0, -3, True))
def test_dimension_is_refused(m):
    with pytest.raises(InputError, match="integer of at least 2"):
        pieces(m, 1e-9)


def test_half_precision_is_refused():
    with pytest.raises(InputError, match="give float32 or float64"):
        bessel.kl_to_uniform(5, torch.ones(3, dtype=torch.bfloat16))
