"""Bessel-type functions of the von Mises-Fisher law: log-normaliser, mean resultant length, divergence from uniform.

Everything is written with L(k) = log E exp(k t), t = mu.x uniform on the sphere in m dimensions, rather than with
log I_v(k) itself, so that nothing is subtracted that was added before. With b = max(m, 4), s = sqrt(b^2/4 + k^2),
p = b/s, delta = k^2/(s + b/2) = s - b/2, e = delta/s and N = (m - 1)/2,

    k A_m(k)           = delta - e b R_T(p)                A_m = L' = I_{m/2} / I_{m/2-1}, mean resultant length
    KL(vMF || uniform) = N log1p(delta/b) - e R_K(p)       = k A_m - L
    k^2 A_m'(k)        = e b R_V(p)

where the R are short polynomials (`priors.vmf.bessel_table`). All functions take a static dimension and a float32 or
float64 tensor of concentrations >= 0 on any device, run there without synchronising, are exact at k = 0, and have
first and second derivatives that are as accurate as their values.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from priors.vmf.bessel_table import ROWS, pieces, scale
from priors.vmf.constants import TOLERANCE, constant_when_compiled, constants
from priors.vmf.polynomials import Row, chosen, polynomials
from priors.vmf.with_slope import with_slope


def log_sphere_area(m: int) -> float:
    """Natural logarithm of the area of the unit sphere in m dimensions, 2 pi^(m/2) / Gamma(m/2).

    Example:
        >>> round(log_sphere_area(3) - math.log(4 * math.pi), 12)
        0.0
    """
    return math.log(2) + 0.5 * m * math.log(math.pi) - math.lgamma(0.5 * m)


def _elementary(m: int, like: Tensor) -> tuple[Tensor, ...]:
    """The numbers 1/b, 1/2 and N: as tensors they cost an operation half as much as Python's."""
    numbers = [1 / scale(m), 0.5, 0.5 * (m - 1)]
    if torch.compiler.is_compiling():
        return tuple(like.new_full((), number) for number in numbers)
    return constants(("elementary", m), lambda: numbers, like.dtype, like.device)


class Coordinates(NamedTuple):
    """What the formulas are written in: u = k/b, s/b, p = b/s, h = b/(s + b/2), g = k/(s + b/2) and w = delta/b.

    None of them overflows, and none loses relative accuracy.
    """

    u: Tensor
    s: Tensor
    p: Tensor
    h: Tensor
    g: Tensor
    w: Tensor


def coordinates(m: int, kappa: Tensor) -> Coordinates:
    """See `Coordinates`."""
    inverse, half, _ = _elementary(m, kappa)
    u = kappa * inverse
    s = torch.hypot(u, half)
    h = (s + half).reciprocal()
    g = u * h
    return Coordinates(u, s, s.reciprocal(), h, g, u * g)


def remainders(m: int, p: Tensor, *rows: str) -> tuple[Tensor, ...]:
    """The named remainders R(p), evaluated together by Horner's rule."""
    return polynomials(_rows, m, p, rows)


@constant_when_compiled
def _rows(m: int, names: tuple[str, ...], dtype: torch.dtype) -> tuple[Row, ...]:
    return chosen(pieces(m, TOLERANCE[dtype]), ROWS, names)


def growth(m: int, w: Tensor) -> Tensor:
    """N log1p(delta/b): the part of the divergence from uniform that grows, as log k."""
    return torch.log1p(w) * _elementary(m, w)[2]


def deficit(x: Coordinates) -> Tensor:
    """1 - g = (s + b/2 - k) h/b, without cancellation where k is large: s - k = b^2/4 / (s + k)."""
    return x.h * (0.5 + 0.25 / (x.s + x.u))


def _evaluate_log(m: int, kappa: Tensor) -> tuple[Tensor, Tensor]:
    x = coordinates(m, kappa)
    log, resultant = remainders(m, x.p, "log", "resultant")
    value = torch.addcmul(kappa * x.g - growth(m, x.w), x.w * x.p, log, value=-1)
    return value, torch.addcmul(x.g, x.g * x.p, resultant, value=-1)


def _evaluate_peak(m: int, kappa: Tensor) -> tuple[Tensor, Tensor]:
    x = coordinates(m, kappa)
    return peak_and_deficit(m, kappa, x, *remainders(m, x.p, "log", "resultant"))


def peak_and_deficit(m: int, kappa: Tensor, x: Coordinates, log: Tensor, resultant: Tensor) -> tuple[Tensor, Tensor]:
    """P = k - L and its derivative 1 - A, from their remainders: P grows as log k, and 1 - A falls as 1/k."""
    below = deficit(x)
    value = torch.addcmul(torch.addcmul(growth(m, x.w), kappa, below), x.w * x.p, log)
    return value, torch.addcmul(below, x.g * x.p, resultant)


def _evaluate_deficit(m: int, kappa: Tensor) -> tuple[Tensor, Tensor]:
    x = coordinates(m, kappa)
    resultant, variance = remainders(m, x.p, "resultant", "variance")
    return torch.addcmul(deficit(x), x.g * x.p, resultant), -slope_of_resultant(m, x, variance)


def _evaluate_resultant(m: int, kappa: Tensor) -> tuple[Tensor, Tensor]:
    x = coordinates(m, kappa)
    resultant, variance = remainders(m, x.p, "resultant", "variance")
    return torch.addcmul(x.g, x.g * x.p, resultant, value=-1), slope_of_resultant(m, x, variance)


def slope_of_resultant(m: int, x: Coordinates, variance: Tensor) -> Tensor:
    """A' from the remainder of V; finite at k = 0."""
    return x.p * x.h * variance * _elementary(m, variance)[0]


def _evaluate_slope(m: int, kappa: Tensor) -> tuple[Tensor, Tensor]:
    x = coordinates(m, kappa)
    variance, tilt = remainders(m, x.p, "variance", "variance_slope")
    inverse = _elementary(m, kappa)[0]
    factor = x.g * (x.p * inverse).square() * x.p
    return slope_of_resultant(m, x, variance), -factor * ((1 + x.h / x.p) * variance + x.p * tilt)


def _curvature(m: int, kappa: Tensor) -> Tensor:
    return _evaluate_slope(m, kappa)[1]


def _evaluate_divergence(m: int, kappa: Tensor) -> tuple[Tensor, Tensor]:
    x = coordinates(m, kappa)
    divergence, variance = remainders(m, x.p, "divergence", "variance")
    return torch.addcmul(growth(m, x.w), x.w * x.p, divergence, value=-1), x.g * x.p * variance


def log_normaliser_ratio(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Give L(k) = log E exp(k mu.x), x uniform on the sphere in m dimensions, in nats; L(0) = 0.

    The density relative to the uniform one is exp(k mu.x - L(k)).
    """
    return with_slope(m, kappa, _evaluate_log, mean_resultant_length)


def log_normaliser(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Logarithm of C_m(k) in the density C_m(k) exp(k mu.x), in nats."""
    return -log_normaliser_ratio(m, kappa) - log_sphere_area(m)


def log_peak_ratio(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Give k - L(k), the log-density at the mean direction over the uniform one, in nats; accurate for huge k too."""
    return with_slope(m, kappa, _evaluate_peak, mean_resultant_deficit)


def mean_resultant_length(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Mean resultant length A_m(k) = E mu.x = I_{m/2}(k) / I_{m/2-1}(k), in [0, 1].

    Example:
        >>> mean_resultant_length(3, torch.tensor([0.0, 2.0], dtype=torch.float64))  # coth k - 1/k
        tensor([0.0000, 0.5373], dtype=torch.float64)
    """
    return with_slope(m, kappa, _evaluate_resultant, mean_resultant_slope)


def mean_resultant_deficit(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Give 1 - A_m(k), accurate relative to itself also where A_m is near one."""
    return with_slope(m, kappa, _evaluate_deficit, _minus_slope)


def mean_resultant_slope(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Derivative of the mean resultant length, A_m'(k) = Var mu.x, in (0, 1/m]."""
    return with_slope(m, kappa, _evaluate_slope, _curvature)


def _minus_slope(m: int, kappa: Tensor) -> Tensor:
    return -mean_resultant_slope(m, kappa)


def transverse_variance(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Give A_m(k) / k, the variance of each coordinate orthogonal to the mean direction; 1/m at k = 0."""
    return 1 / (m + kappa * mean_resultant_length(m + 2, kappa))  # I_{v-1} = I_{v+1} + 2 v I_v / k


def kl_to_uniform(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """KL(vMF(., k) || uniform) = k A_m(k) - L(k), in nats; its derivative is k A_m'(k)."""
    return with_slope(m, kappa, _evaluate_divergence, _divergence_slope)


def _divergence_slope(m: int, kappa: Tensor) -> Tensor:
    return kappa * mean_resultant_slope(m, kappa)
