"""The cosine between a von Mises-Fisher sample and its mean direction, by transport of a fixed draw.

Each law maps a draw that does not depend on the concentration k to a quantile of the cosine w, monotonically and without rejection, so the sample is
a smooth function of k. With u = atanh w, that function's derivative at a fixed draw, du/dk, is the exact implicit reparameterisation gradient
(Figurnov, Mohamed and Mnih 2018, equation 5). What comes out is chosen to keep its digits where the samples crowd around the pole:

    sine = sqrt(1 - w^2),      versine = 1 - w,      slope = du/dk = (dw/dk) / (1 - w^2).

Concentrations need only be broadcastable to the draws; work on them is done in their own, possibly smaller, shape.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from priors.quantile_table import REACH, tabulate

_CHUNK = 8192  # CPU batches above it run recurrences over rows that stay in cache; others fewer, larger operations


class Cosine(NamedTuple):
    """A cosine w, as quantities that stay accurate at w = 1.

    Attributes:
        sine: sqrt(1 - w^2), (*batch,).
        versine: 1 - w, (*batch,).
        slope: d atanh(w) / dk at a fixed draw, (*batch,); None where it was not asked for.
    """

    sine: Tensor
    versine: Tensor
    slope: Tensor | None


class Table(NamedTuple):
    """A quantile table on a device: coefficients (2 J, K) in double precision, their J, and the pivot of tau."""

    coefficients: Tensor
    columns: int
    pivot: float


@torch.compiler.assume_constant_result
def table(dim: int, dtype: torch.dtype, device: torch.device) -> Table:
    """The quantile table for the sphere in R^dim, accurate to dtype; built once (up to some 0.1 s) and moved once."""
    return _table(dim, dtype, torch.device(device))


@cache
def _table(dim: int, dtype: torch.dtype, device: torch.device) -> Table:
    tolerance = 1e-4 if dim == 2 else 3e-8 if dtype == torch.float32 else 1e-11
    found = tabulate(dim, tolerance)
    _, rows, columns = found.coefficients.shape
    with torch.inference_mode(False):
        coefficients = torch.tensor(found.coefficients.transpose(0, 2, 1).reshape(2 * columns, rows), device=device)
    return Table(coefficients, columns, found.pivot)


def by_table(dim: int, x: Tensor, k: Tensor, quantiles: Table, differentiate: bool) -> Cosine:
    """Any dimension m >= 4: w from a standard normal x through the tabulated quantile map (see quantile_table)."""
    n, pivot = dim - 1, quantiles.pivot
    z, z_tau = _quantile(x, k, quantiles, differentiate)
    double = 2 * k
    s = (double.square() + n * n).sqrt()
    rho = n / (double + s)  # (1 - t) / (1 + t)
    square = rho.square() + 1
    sigma = (rho + 1) / (square * (2 * n)).sqrt()
    half_tangent = torch.exp(z * -sigma) * rho.sqrt()  # exp(-u) = tan(angle / 2)
    sine = 2 * half_tangent / (half_tangent.square() + 1)
    versine = sine * half_tangent
    if not differentiate:
        return Cosine(sine, versine, None)
    # du/dk = [1 - (1 - t^2) sigma t Z / (1 + t^2)] / s + sigma Z_tau dtau/dk, from dt/dk = (1 - t^2) / s
    t = double / (s + n)
    s_tau = s if pivot == n else (double.square() + pivot * pivot).sqrt()
    tau = t if pivot == n else double / (s_tau + pivot)
    by_scale = -2 * rho / square * sigma * t / s  # (1 - t^2) / (1 + t^2) = 2 rho / (1 + rho^2)
    by_shape = sigma * (1 - tau.square()) / s_tau
    return Cosine(sine, versine, torch.addcmul(z * by_scale + 1 / s, z_tau, by_shape))


def on_sphere(energy: Tensor, k: Tensor, differentiate: bool) -> Cosine:
    """Ordinary space, m = 3, in closed form: w from a standard exponential variate, with P(W < w) = exp(-energy)."""
    k = k.clamp_min(1e-18)  # the limit k -> 0 to rounding; every quotient below stays finite
    double = 2 * k
    rest = -torch.expm1(-energy)  # P(W > w)
    # k (1 - w) = -log(U + (1 - U) exp(-2k)), U = exp(-energy), in the form that does not cancel
    spread = -torch.log1p(rest * torch.expm1(-double))
    peaked = energy - torch.log1p(torch.expm1(energy.clamp_max(64.0)) * torch.exp(-double))
    arc = torch.where(k < 1, spread, peaked)
    arc = torch.minimum(arc.clamp_min(0), double)
    versine = arc / k
    sine = (versine * (2 - versine)).sqrt()
    if not differentiate:
        return Cosine(sine, versine, None)
    # du/dk = [1 - phi(a) / phi(2k)] / b with phi(v) = expm1(v) / v, a = k (1 - w), b = k (1 + w)
    b = (double - arc).clamp_min(1e-6 * k)
    gap = b / 2 + _log_sinhc(double) - _log_sinhc(double - b)
    return Cosine(sine, versine, -torch.expm1(-gap) / b)


def on_circle(x: Tensor, k: Tensor, quantiles: Table, differentiate: bool) -> Cosine:
    """The circle, m = 2: the angle at which the distribution function is Phi(-x), in double precision.

    A coarse quantile table starts two steps of Halley's method (of third order) on the distribution function, an entire integrand under
    Gauss-Legendre quadrature: never more than a dozen standard deviations long.
    """
    dtype = x.dtype
    x, k = x.double().clamp(-REACH, REACH), k.double()
    z, _ = _quantile(x, k, quantiles, False)
    double = 2 * k
    rho = 1 / (double + (double.square() + 1).sqrt())
    sigma = (rho + 1) / ((rho.square() + 1) * 2).sqrt()
    angle = 2 * torch.atan(torch.exp(z * -sigma) * rho.sqrt())
    nodes, weights = _gauss(x.device)

    def integral(end: Tensor, moment: Tensor | float | None = None) -> Tensor:
        """Integral over [0, end] of exp(-k v), times (v - moment) if given, v = 1 - cos."""
        v = 2 * torch.sin(end[..., None] * nodes).square()
        mass = torch.exp(-k[..., None] * v) * weights
        return end * (mass if moment is None else (v - moment) * mass).sum(-1)

    whole = 2 * torch.asin((18.5 / k).clamp_max(1).sqrt())  # beyond it lies less than rounding
    total = integral(whole)
    target = total * torch.special.ndtr(-x)
    for _ in range(2):
        density = torch.exp(-double * torch.sin(angle / 2).square())
        step = (integral(angle) - target) / density
        angle = angle - step / (1 + step * k * torch.sin(angle) / 2)
    sine, versine = torch.sin(angle), 2 * torch.sin(angle / 2).square()
    if not differentiate:
        return Cosine(sine.to(dtype), versine.to(dtype), None)
    mean_versine = integral(whole, 0.0) / total
    slope = -integral(angle, mean_versine[..., None]) * torch.exp(k * versine) / sine
    return Cosine(sine.to(dtype), versine.to(dtype), slope.to(dtype))


def _quantile(x: Tensor, k: Tensor, quantiles: Table, differentiate: bool) -> tuple[Tensor, Tensor | None]:
    """The quantile map Z and, where asked for, dZ/dtau.

    The contraction over tau is in double precision: float32 matrix products may run in TF32 or bfloat16, as the user has set.
    """
    coefficients, columns, pivot = quantiles
    double = 2 * k.double()
    tau = double / (pivot + (double.square() + pivot * pivot).sqrt())
    basis = _chebyshev(2 * tau - 1, coefficients.shape[1]).flatten(1)
    wanted = coefficients if differentiate else coefficients[:columns]
    series = (wanted @ basis).to(x.dtype).reshape(-1, columns, *k.shape)
    basis = _chebyshev((x * (1 / REACH)).clamp(-1, 1), columns)
    return _series(series[0], basis), _series(series[1], basis) if differentiate else None


def _in_rows(x: Tensor) -> bool:
    return not torch.compiler.is_compiling() and x.device.type == "cpu" and x.numel() > _CHUNK


def _chebyshev(y: Tensor, count: int) -> Tensor:
    """The first Chebyshev polynomials at y in [-1, 1]: (count, *batch)."""
    if not _in_rows(y):
        orders = torch.arange(count, dtype=y.dtype, device=y.device)
        return torch.cos(orders.reshape(-1, *(1,) * y.ndim) * torch.acos(y))
    basis = y.new_empty(count, *y.shape)
    basis[0] = 1
    basis[1] = y
    double = 2 * y
    for i in range(2, count):
        torch.mul(double, basis[i - 1], out=basis[i]).sub_(basis[i - 2])
    return basis


def _series(coefficients: Tensor, basis: Tensor) -> Tensor:
    """Sum over the leading dimension of coefficients times basis."""
    if not _in_rows(basis[0]):
        return (coefficients * basis).sum(0)
    total = coefficients[0] * basis[0]
    for coefficient, polynomial in zip(coefficients[1:], basis[1:], strict=True):
        total.addcmul_(coefficient, polynomial)
    return total


def _log_sinhc(v: Tensor) -> Tensor:
    """log(sinh(v / 2) / (v / 2)) for v >= 0, to full absolute accuracy relative to v."""
    square = v.clamp_max(1.0).square()
    series = torch.zeros_like(v)
    for coefficient in reversed(_LOG_SINHC):
        series = (series + coefficient) * square
    large = v.clamp_min(1.0)
    return torch.where(v < 1, series, large / 2 + torch.log(-torch.expm1(-large) / large))


# log(sinh(v/2) / (v/2)) = sum over j >= 1 of B_2j v^2j / (2j (2j)!), with Bernoulli numbers B
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
_LOG_SINHC = tuple(b / (2 * j * math.factorial(2 * j)) for j, b in enumerate(_BERNOULLI, 1))


@torch.compiler.assume_constant_result
def _gauss(device: torch.device) -> tuple[Tensor, Tensor]:
    return _gauss_rule(torch.device(device))


@cache
def _gauss_rule(device: torch.device) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes on [0, 1/2] (half angles) and weights that sum to one."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    with torch.inference_mode(False):
        return torch.tensor((1 + nodes) / 4, device=device), torch.tensor(weights / 2, device=device)
