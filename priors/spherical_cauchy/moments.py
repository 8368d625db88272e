"""Moments and divergences of the spherical Cauchy law in plain torch, exact at both ends of the concentration.

In m dimensions, with n = m - 1, the law of concentration k is the image of the uniform one under the Moebius
transformation of the ball that moves its centre to rho mu, in hyperbolic terms by the distance b:

    exp(2 b) = 1 + 2 k/n,        rho = tanh(b/2),        sigma = exp(-b) = (1 - rho)/(1 + rho),        z = rho^2.

A cosine t of the law and s of the uniform one, the two of one draw, have (cosh b - t sinh b)(cosh b + s sinh b) = 1. So

    KL(law || uniform) = n G(b),        G = E log(cosh b + s sinh b) = z R_G - log(1 - z),
    E t = A = dG/db = rho R_A = 1 - q R_D,        1 - E t^2 = dA/db = q R_V,

where the R are short polynomials in rho (`priors.spherical_cauchy.moments_table`) and q is sigma^2, or sigma for m < 4.
A Moebius transformation changes no divergence, so that of any two of the laws is n G of the distance between them.

All functions take a static dimension and a float32 or float64 tensor of concentrations >= 0 on any device and run
there without synchronising.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from priors.spherical_cauchy.moments_table import CLOSED_FROM, ROWS, closed, pieces
from priors.vmf.constants import TOLERANCE, constant_when_compiled, transforming
from priors.vmf.polynomials import Row, chosen, polynomials
from priors.vmf.with_slope import with_slope

_CLOSED_SIGMA = (1 - CLOSED_FROM) / (1 + CLOSED_FROM)


class _Coordinates(NamedTuple):
    """What the formulas are written in: none loses relative accuracy, or overflows before k does."""

    rho: Tensor
    sigma: Tensor
    half: Tensor
    """(cosh b - 1) / 2 = z / (1 - z)."""


def _coordinates(m: int, k: Tensor) -> _Coordinates:
    x = k * (2 / (m - 1))
    root = (1 + x).sqrt()
    inverse = (1 + root).reciprocal()
    sigma, above = root.reciprocal(), x * inverse
    return _Coordinates(above * inverse, sigma, 0.25 * above * (above * sigma))


def _between(half: Tensor, least: float = 0.0) -> _Coordinates:
    """The same from (cosh b - 1) / 2; `least` bounds z from below, where a square root's derivative has no end."""
    z = half / (1 + half)
    return _Coordinates(z.clamp_min(least).sqrt(), (half.clamp_min(least).sqrt() + (1 + half).sqrt()) ** -2, half)


def _moments(m: int, x: _Coordinates, *names: str) -> list[Tensor]:
    """Of G (growth), A (resultant), 1 - A (deficit), A' (spread) and its derivative by b those that are named."""
    rows = dict.fromkeys(names) | ({"spread": None} if "spread_slope" in names else {})
    rho = x.rho.clamp_max(CLOSED_FROM) if closed(m) else x.rho
    found = dict(zip(rows, polynomials(_rows, m, rho, tuple(rows)), strict=True))
    scale, power = (x.sigma, 1) if m < 4 else (x.sigma * x.sigma, 2)
    if "growth" in found:
        found["growth"] = torch.addcmul(torch.log1p(x.half), x.rho * x.rho, found["growth"])
    if "resultant" in found:
        found["resultant"] = x.rho * found["resultant"]
    if "spread_slope" in found:  # d scale/db = -power scale and d rho/db = (1 - rho^2)/2
        turning = (0.5 - 0.5 * x.rho * x.rho) * found["spread_slope"]
        found["spread_slope"] = scale * (turning - power * found["spread"])
    for name in ("deficit", "spread"):
        if name in found:
            found[name] = scale * found[name]
    if closed(m):
        near, far = x.rho <= CLOSED_FROM, _closed(m, x.sigma.clamp_max(_CLOSED_SIGMA))
        found = {name: torch.where(near, found[name], far[name]) for name in names}
    return [found[name] for name in names]


@constant_when_compiled
def _rows(m: int, names: tuple[str, ...], dtype: torch.dtype) -> tuple[Row, ...]:
    return chosen(pieces(m, TOLERANCE[dtype]), ROWS, names)


def _closed(m: int, sigma: Tensor) -> dict[str, Tensor]:
    """The moments for m = 3, 5, ... far from the uniform law, by recurrences upwards in n (see moments_table)."""
    w = sigma * sigma
    rest = (1 - w).reciprocal()
    b = -sigma.log()
    coth, square = (1 + w) * rest, 4 * w * rest * rest  # coth b and 1 / sinh^2 b
    growth = b * coth - 1
    deficit = (4 * b * rest - 2) * w * rest
    for n in range(4, m, 2):
        growth = growth + (1 - deficit) * coth / (n - 2) - 1 / (n - 1)
        deficit = (1 - deficit) * square * ((n - 1) / (n - 2)) - 2 * w * rest
    spread = (m - 1) * (deficit * (1 + w) - 2 * w) * rest
    slope = (m - 1) * ((1 - deficit) * square) - (m - 1) * spread * coth
    return {
        "growth": growth,
        "resultant": 1 - deficit,
        "deficit": deficit,
        "spread": spread,
        "spread_slope": slope,
    }


def _evaluate_divergence(m: int, k: Tensor) -> tuple[Tensor, Tensor]:
    x = _coordinates(m, k)
    growth, length = _moments(m, x, "growth", "resultant")
    return (m - 1) * growth, length * (x.sigma * x.sigma)  # db/dk = sigma^2 / n


def _evaluate_resultant(m: int, k: Tensor) -> tuple[Tensor, Tensor]:
    x = _coordinates(m, k)
    length, spread = _moments(m, x, "resultant", "spread")
    return length, spread * (x.sigma * x.sigma / (m - 1))


def _evaluate_deficit(m: int, k: Tensor) -> tuple[Tensor, Tensor]:
    x = _coordinates(m, k)
    deficit, spread = _moments(m, x, "deficit", "spread")
    return deficit, spread * (x.sigma * x.sigma / (1 - m))


def _evaluate_spread(m: int, k: Tensor) -> tuple[Tensor, Tensor]:
    x = _coordinates(m, k)
    spread, slope = _moments(m, x, "spread", "spread_slope")
    return spread, slope * (x.sigma * x.sigma / (m - 1))


def _evaluate_distance(m: int, half: Tensor) -> tuple[Tensor, Tensor]:
    growth, length = _moments(m, x := _between(half), "growth", "resultant")
    # n A db/dhalf = n A (1 - z)/rho, which is finite at 0: A/rho is taken as it comes out of the polynomial there
    ratio = torch.where(x.rho > 0, length / x.rho, 2 * (m - 1) / m)
    return (m - 1) * growth, (m - 1) * ratio / (1 + half)


def kl_to_uniform(m: int, k: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """KL(spherical Cauchy || uniform) = KL(uniform || spherical Cauchy), in nats."""
    return with_slope(m, k, _evaluate_divergence, _divergence_slope)


def _divergence_slope(m: int, k: Tensor) -> Tensor:
    return mean_resultant_length(m, k) / (1 + k * (2 / (m - 1)))


def mean_resultant_length(m: int, k: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Mean resultant length A = E mu.x, in [0, 1].

    Example:
        >>> mean_resultant_length(2, torch.tensor([0.0, 4.0], dtype=torch.float64))  # rho, on the circle
        tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    return with_slope(m, k, _evaluate_resultant, _resultant_slope)


def _resultant_slope(m: int, k: Tensor) -> Tensor:
    return spread(m, k) / (m - 1 + 2 * k)


def mean_resultant_deficit(m: int, k: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Give 1 - A, accurate relative to itself also where A is near one."""
    return with_slope(m, k, _evaluate_deficit, _deficit_slope)


def _deficit_slope(m: int, k: Tensor) -> Tensor:
    return -_resultant_slope(m, k)


def spread(m: int, k: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Give E [1 - (mu.x)^2], n times the variance of each coordinate orthogonal to the mean direction."""
    return with_slope(m, k, _evaluate_spread, _spread_slope)


def _spread_slope(m: int, k: Tensor) -> Tensor:
    return _evaluate_spread(m, k)[1]


def kl_by_distance(m: int, half: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """KL of two spherical Cauchy laws whose points rho mu of the ball are the hyperbolic distance b apart, in nats.

    Args:
        m: ambient dimension.
        half: (cosh b - 1) / 2.
    """
    return with_slope(m, half, _evaluate_distance, _distance_slope)


def _distance_slope(m: int, half: Tensor) -> Tensor:
    # Below the bound A/rho holds still: what that leaves out of a second derivative is below its rounding.
    x = _between(half, 1e-8 if half.dtype == torch.float32 else 1e-16)
    return (m - 1) * _moments(m, x, "resultant")[0] / (x.rho * (1 + half))


class _ToVMF(torch.autograd.Function):
    """KL(law of k || vMF of r) but for the part of r alone: n G + r (1 - A) + r A versine."""

    @staticmethod
    def forward(ctx, m: int, k: Tensor, r: Tensor, versine: Tensor) -> Tensor:
        value, by_k, by_r, length = _evaluate_to_vmf(m, k, r, versine)
        ctx.m = m
        ctx.save_for_backward(k, r, versine, by_k, by_r, length)
        return value

    @staticmethod
    def backward(ctx, grad: Tensor):
        k, r, versine, by_k, by_r, length = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: the derivatives as functions of k, r and versine
            length = mean_resultant_length(ctx.m, k)
            by_k = _divergence_slope(ctx.m, k) + r * (versine - 1) * _resultant_slope(ctx.m, k)
            by_r = torch.addcmul(mean_resultant_deficit(ctx.m, k), length, versine)
        return None, grad * by_k, grad * by_r, grad * r * length


def _evaluate_to_vmf(m: int, k: Tensor, r: Tensor, versine: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = _coordinates(m, k)
    growth, length, deficit, spread = _moments(m, x, "growth", "resultant", "deficit", "spread")
    by_r = torch.addcmul(deficit, length, versine)
    by_k = torch.addcmul(length, r * spread, (versine - 1) / (m - 1)) * (x.sigma * x.sigma)
    return torch.addcmul((m - 1) * growth, r, by_r), by_k, by_r, length


def cross_to_vmf(
    m: int, k: Float[Tensor, "*batch"], r: Float[Tensor, "*batch"], versine: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """KL(spherical Cauchy || vMF) plus the log-density of the vMF at its mean direction over the uniform one, in nats.

    Args:
        m: ambient dimension.
        k: concentrations of the spherical Cauchy law.
        r: concentrations of the von Mises-Fisher one.
        versine: 1 - the cosine between the two mean directions.
    """
    if transforming():
        return _evaluate_to_vmf(m, k, r, versine)[0]
    return _ToVMF.apply(m, k, r, versine)
