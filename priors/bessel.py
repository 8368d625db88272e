"""Bessel-type functions of the von Mises-Fisher law: log-normaliser, mean resultant length, divergence from uniform.

Everything is written with L(k) = log E exp(k t), t = mu.x uniform on the sphere in m dimensions, rather than with
log I_v(k) itself, so that nothing is subtracted that was added before. With c = max(m, 4)/2, s = sqrt(c^2 + k^2),
p = c/s, delta = k^2/(s + c), e = 1 - p and N = (m - 1)/2,

    k A_m(k)           = delta - e R_T(p)                  A_m = L' = I_{m/2} / I_{m/2-1}, mean resultant length
    KL(vMF || uniform) = N log1p(delta/2c) - e R_K(p)      = k A_m - L
    k^2 A_m'(k)        = e R_V(p)

where the R are short polynomials (`priors.bessel_table`). All functions take a static dimension and a float32 or
float64 tensor of concentrations >= 0 on any device, run there without synchronising, are exact at k = 0, and have
first and second derivatives that are as accurate as their values.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from priors.bessel_table import ROWS, pieces
from priors.errors import InputError

_TOLERANCE = {torch.float32: 2.0**-25, torch.float64: 2.0**-54}


@lru_cache
def log_sphere_area(m: int) -> float:
    """Natural logarithm of the area of the unit sphere in m dimensions, 2 pi^(m/2) / Gamma(m/2).

    Example:
        >>> round(log_sphere_area(3) - math.log(4 * math.pi), 12)
        0.0
    """
    return math.log(2) + 0.5 * m * math.log(math.pi) - math.lgamma(0.5 * m)


_tables: dict[tuple, tuple[Tensor, ...]] = {}


@torch.compiler.assume_constant_result
def _table(m: int, rows: tuple[str, ...], dtype: torch.dtype, device: torch.device, ndim: int) -> tuple[Tensor, ...]:
    """The constants of `remainders`: bounds and centres of the pieces, then coefficients, highest power first.

    Each is laid out as (pieces, rows, 1, ..., 1) with `ndim` ones, or (rows, 1, ..., 1) where one piece covers
    everything.
    """
    key = (m, rows, dtype, device, ndim)
    table = _tables.get(key)
    if table is None:
        if dtype not in _TOLERANCE:
            raise InputError(f"concentration of type {dtype}: give float32 or float64, as by concentration.float()")
        intervals = pieces(m, _TOLERANCE[dtype])
        chosen = [[piece.coefficients[ROWS.index(row)] for row in rows] for piece in intervals]
        length = max(len(row) for piece in chosen for row in piece)
        columns = [[[(*row, *[0.0] * length)[n] for row in piece] for piece in chosen] for n in reversed(range(length))]
        bounds = [[[getattr(piece, name)] for piece in intervals] for name in ("low", "high", "centre")]
        shape = (len(intervals), -1, *[1] * ndim) if len(intervals) > 1 else (-1, *[1] * ndim)
        with torch.inference_mode(False):
            table = tuple(torch.tensor(x, dtype=dtype, device=device).reshape(shape) for x in bounds + columns)
        if all(type(x) is Tensor for x in table):  # not the fake ones of a tracer
            _tables[key] = table
    return table


@torch.compiler.assume_constant_result
def _one(dtype: torch.dtype, device: torch.device) -> Tensor:
    return _table(16, ("log",), dtype, device, 0)[1].reshape(())


def centre(m: int) -> float:
    """The c of this module's formulas."""
    return max(m, 4) / 2


def coordinates(m: int, kappa: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give p = c/s, g = k/(s + c) and v = k g / c = delta/c, none of which overflows."""
    ratio = kappa / centre(m)
    root = torch.hypot(ratio, _one(kappa.dtype, kappa.device))
    g = ratio / (root + 1)
    return root.reciprocal(), g, ratio * g


def remainders(m: int, p: Tensor, *rows: str) -> tuple[Tensor, ...]:
    """The named remainders R(p), evaluated together by Horner's rule."""
    low, high, centre, *coefficients = _table(m, rows, p.dtype, p.device, p.ndim)
    several = low.ndim > p.ndim + 1
    x = (p.clamp(low, high) if several else p) - centre
    total = coefficients[0]
    for coefficient in coefficients[1:]:
        total = torch.addcmul(coefficient, total, x)
    if several:
        total = torch.where(p < high[0], total[0], total[1])
    return total.unbind(0)


_Evaluate = Callable[[int, Tensor], tuple[Tensor, Tensor]]
_Slope = Callable[[int, Tensor], Tensor]


class _WithSlope(torch.autograd.Function):
    """A function of kappa computed along with its derivative, which is itself differentiable."""

    generate_vmap_rule = True

    @staticmethod
    def forward(kappa: Tensor, m: int, evaluate: _Evaluate, slope: _Slope) -> tuple[Tensor, Tensor]:
        return evaluate(m, kappa)

    @staticmethod
    def setup_context(ctx, inputs, output):
        kappa, ctx.m, _, ctx.slope = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(kappa, output[1])
        ctx.save_for_forward(output[1])

    @staticmethod
    def backward(ctx, grad, _):
        kappa, derivative = ctx.saved_tensors
        if grad is None:
            return None, None, None, None
        if torch.is_grad_enabled():  # create_graph: the derivative as a function of kappa
            derivative = ctx.slope(ctx.m, kappa)
        return grad * derivative, None, None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        (derivative,) = ctx.saved_tensors
        return tangent * derivative, None


def _evaluate_log(m: int, kappa: Tensor) -> tuple[Tensor, Tensor]:
    p, g, v = coordinates(m, kappa)
    log, resultant = remainders(m, p, "log", "resultant")
    slope = g - g * p * resultant / centre(m)
    return kappa * g - (m - 1) / 2 * torch.log1p(v / 2) - v * p * log, slope


def _evaluate_peak(m: int, kappa: Tensor) -> tuple[Tensor, Tensor]:
    p, g, v = coordinates(m, kappa)
    log, resultant = remainders(m, p, "log", "resultant")
    below = _deficit(m, kappa, p, g)
    slope = below + g * p * resultant / centre(m)
    return kappa * below + (m - 1) / 2 * torch.log1p(v / 2) + v * p * log, slope


def _deficit(m: int, kappa: Tensor, p: Tensor, g: Tensor) -> Tensor:
    """1 - g = 1 - k/(s + c) without cancellation: (1 + c/(s + k)) c/(s + c)."""
    scaled = kappa * (p / centre(m))  # k/s
    return (1 + p / (1 + scaled)) * p / (1 + p)


def _evaluate_resultant(m: int, kappa: Tensor) -> tuple[Tensor, Tensor]:
    p, g, _ = coordinates(m, kappa)
    resultant, variance = remainders(m, p, "resultant", "variance")
    return g - g * p * resultant / centre(m), over_square(m, p) * variance


def over_square(m: int, p: Tensor) -> Tensor:
    """Give e / k^2 = 1/(s (s + c)), finite at k = 0."""
    return p * p / (1 + p) / centre(m) ** 2


def _evaluate_slope(m: int, kappa: Tensor) -> tuple[Tensor, Tensor]:
    p, g, _ = coordinates(m, kappa)
    variance, tilt = remainders(m, p, "variance", "variance_slope")
    scale = -g * (p / centre(m)) ** 3
    return over_square(m, p) * variance, scale * ((2 + p) / (1 + p) * variance + p * tilt)


def _curvature(m: int, kappa: Tensor) -> Tensor:
    return _evaluate_slope(m, kappa)[1]


def _evaluate_divergence(m: int, kappa: Tensor) -> tuple[Tensor, Tensor]:
    p, g, v = coordinates(m, kappa)
    divergence, variance = remainders(m, p, "divergence", "variance")
    value = torch.addcmul(torch.log1p(v / 2) * ((m - 1) / 2), v * p, divergence, value=-1)
    return value, g * p * variance / centre(m)


def log_normaliser_ratio(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Give L(k) = log E exp(k mu.x), x uniform on the sphere in m dimensions, in nats; L(0) = 0.

    The density relative to the uniform one is exp(k mu.x - L(k)).
    """
    return _WithSlope.apply(kappa, m, _evaluate_log, mean_resultant_length)[0]


def log_normaliser(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Logarithm of C_m(k) in the density C_m(k) exp(k mu.x), in nats."""
    return -log_normaliser_ratio(m, kappa) - log_sphere_area(m)


def log_peak_ratio(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Give k - L(k), the log-density at the mean direction over the uniform one, in nats; accurate for huge k too.

    Its derivative, 1 - A_m(k), is as accurate.
    """
    return _WithSlope.apply(kappa, m, _evaluate_peak, _deficit_of_resultant)[0]


def _deficit_of_resultant(m: int, kappa: Tensor) -> Tensor:
    return _WithSlope.apply(kappa, m, _evaluate_deficit, _minus_slope)[0]


def _evaluate_deficit(m: int, kappa: Tensor) -> tuple[Tensor, Tensor]:
    p, g, _ = coordinates(m, kappa)
    resultant, variance = remainders(m, p, "resultant", "variance")
    return _deficit(m, kappa, p, g) + g * p * resultant / centre(m), -over_square(m, p) * variance


def _minus_slope(m: int, kappa: Tensor) -> Tensor:
    return -mean_resultant_slope(m, kappa)


def mean_resultant_length(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Mean resultant length A_m(k) = E mu.x = I_{m/2}(k) / I_{m/2-1}(k), in [0, 1].

    Example:
        >>> mean_resultant_length(3, torch.tensor([0.0, 2.0], dtype=torch.float64))  # coth k - 1/k
        tensor([0.0000, 0.5373], dtype=torch.float64)
    """
    return _WithSlope.apply(kappa, m, _evaluate_resultant, mean_resultant_slope)[0]


def mean_resultant_slope(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Its derivative A_m'(k) = Var mu.x, in (0, 1/m]."""
    return _WithSlope.apply(kappa, m, _evaluate_slope, _curvature)[0]


def transverse_variance(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Give A_m(k) / k, the variance of each coordinate orthogonal to the mean direction; 1/m at k = 0."""
    return 1 / (m + kappa * mean_resultant_length(m + 2, kappa))  # I_{v-1} = I_{v+1} + 2 v I_v / k


def kl_to_uniform(m: int, kappa: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """KL(vMF(., k) || uniform) = k A_m(k) - L(k), in nats; its derivative is k A_m'(k)."""
    return _WithSlope.apply(kappa, m, _evaluate_divergence, _divergence_slope)[0]


def _divergence_slope(m: int, kappa: Tensor) -> Tensor:
    return kappa * mean_resultant_slope(m, kappa)
