"""The cosine between a von Mises-Fisher sample and its mean direction, by transport of a fixed draw.

Each law maps a draw that does not depend on the concentration k to a quantile of the cosine w, monotonically and
without rejection, so that the sample is a smooth function of k. Its derivative at a fixed draw is the exact implicit
reparameterisation gradient (Figurnov, Mohamed and Mnih 2018, equation 5). It is given for u = atanh w, in which it is
well scaled everywhere: dw/dk = (1 - w^2) du/dk.

Concentrations need only broadcast to the draws: what depends on them alone is computed in their own, possibly smaller,
shape.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from priors.vmf.constants import constant_when_compiled, constants
from priors.vmf.quantile_table import REACH, tabulate

_ROWS = 2048  # from here on a CPU is faster with recurrences than with cosines, in spite of many more operations


class Cosine(NamedTuple):
    """A cosine, its sine and its slope, in the shape of the draws.

    Attributes:
        cosine: w.
        sine: sqrt(1 - w^2), accurate also where w rounds to 1.
        slope: d atanh(w) / dk at a fixed draw; None where it was not asked for.
    """

    cosine: Tensor
    sine: Tensor
    slope: Tensor | None


class Table(NamedTuple):
    """A quantile table on a device.

    Attributes:
        coefficients: (K, J) and (K, 2 J), double precision: from K polynomials of the concentration to coefficients
            of J of the draw, in u alone and in u and W / c.
        twice: 0, 2, ... 2 (K - 1), in the dtype of samples.
        orders: 0, 1, ... J - 1, likewise.
        pivot: The concentration that others are measured against.
    """

    coefficients: tuple[Tensor, Tensor]
    twice: Tensor
    orders: Tensor
    pivot: float


@constant_when_compiled
def table(dim: int, dtype: torch.dtype, device: torch.device) -> Table:
    """The quantile table for the sphere in R^dim, as accurate as dtype: built once (0.1 s or less), moved once."""
    return _table(dim, dtype, torch.device(device))


@cache
def _table(dim: int, dtype: torch.dtype, device: torch.device) -> Table:
    built = tabulate(dim, 1e-4 if dim == 2 else 1e-7 if dtype == torch.float32 else 1e-11)
    _, columns, rows = built.coefficients.shape
    kind = {"dtype": torch.float64 if dim == 2 else dtype, "device": device}
    both = built.coefficients.reshape(-1, rows).T
    with torch.inference_mode(False):
        return Table(
            (torch.tensor(both[:, :columns].copy(), device=device), torch.tensor(both.copy(), device=device)),
            torch.arange(0, 2 * rows, 2, **kind),
            torch.arange(columns, **kind),
            built.pivot,
        )


def von_mises_fisher(m: int, x: Tensor, length: Tensor, k: Tensor, differentiate: bool) -> Cosine:
    """The law by dimension, from a standard normal x and the length of what of the draw is across it."""
    if m == 3:
        return in_space(length.square().mul_(0.5), k, differentiate)
    return (on_circle if m == 2 else by_table)(x, k, table(m, x.dtype, x.device), differentiate)


def by_table(x: Tensor, k: Tensor, quantiles: Table, differentiate: bool) -> Cosine:
    """Any dimension but 2 and 3: w from a standard normal x, through the tabulated quantile map."""
    u, slope = _quantile(x, k, quantiles, differentiate)
    if not _in_rows(u):
        return Cosine(torch.tanh(u), torch.cosh(u).reciprocal_(), slope)
    e = u.abs().neg_().exp_()  # PyTorch's cosh and asinh go through a CPU's numbers one by one, these in vectors
    return Cosine(torch.tanh(u), (2 * e).div_(e.square_().add_(1)), slope)


def in_space(energy: Tensor, k: Tensor, differentiate: bool) -> Cosine:
    """Ordinary space, m = 3, in closed form: w from a standard exponential variate, P(W < w) = exp(-energy)."""
    k = k.clamp_min(1e-18)  # the limit k -> 0 to rounding, with every quotient below finite
    double = 2 * k
    # arc = k (1 - w) = -log(U + (1 - U) exp(-2k)) with U = exp(-energy), in the form that does not cancel
    spread = -torch.log1p(torch.expm1(-energy) * -torch.expm1(-double))
    peaked = energy - torch.log1p(torch.expm1(energy.clamp_max(64.0)) * torch.exp(-double))
    arc = torch.minimum(torch.where(k < 1, spread, peaked).clamp_min_(0), double)
    versine = arc / k
    sine = (versine * (2 - versine)).sqrt_()
    if not differentiate:
        return Cosine(1 - versine, sine, None)
    # du/dk = [1 - phi(arc) / phi(2k)] / b, phi(v) = expm1(v) / v, b = k (1 + w): in double precision, and from k = 1e-8
    # up, as it cancels to order b. So it is good to 1e-8 at the least, and to rounding in float32.
    k = k.double().clamp_min(1e-8)
    double = 2 * k
    b = (2 - versine.double()).clamp_min_(1e-6).mul_(k)
    arc = (double - b).clamp_min_(1e-30)
    ratio = torch.exp(-b).mul_(torch.expm1(-arc).div_(arc)).mul_(double / torch.expm1(-double))
    return Cosine(1 - versine, sine, (1 - ratio).div_(b).to(versine.dtype))


def on_circle(x: Tensor, k: Tensor, quantiles: Table, differentiate: bool) -> Cosine:
    """The circle, m = 2: the angle at which the distribution function is Phi(-x), in double precision.

    A coarse quantile table starts two steps of Halley's method (third order) on the distribution function, which is
    Gauss-Legendre quadrature of an entire function over at most a dozen of its standard deviations.
    """
    dtype = x.dtype
    x, k = x.double().clamp(-REACH, REACH), k.double()
    nodes, weights = _gauss(x.device)

    def integral(end: Tensor, moment: Tensor | float | None = None) -> Tensor:
        """Integral over [0, end] of exp(-k v), v = 1 - cos, times (v - moment) where a moment is given."""
        v = 2 * torch.sin(end[..., None] * nodes).square()
        mass = torch.exp(-k[..., None] * v).mul_(weights)
        return (mass if moment is None else mass.mul_(v.sub_(moment))).sum(-1) * end

    edge = 2 * torch.asin((18.5 / k).clamp_max(1).sqrt())  # what lies beyond it rounds to nothing
    total = integral(edge)
    target = total * torch.special.ndtr(-x)
    angle = 2 * torch.atan(torch.exp(-_quantile(x, k, quantiles, False)[0]))
    for _ in range(2):
        step = (integral(angle) - target) * torch.exp(2 * k * torch.sin(angle / 2).square())
        angle = angle - step / (1 + step * k * torch.sin(angle) / 2)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    if not differentiate:
        return Cosine(cosine.to(dtype), sine.to(dtype), None)
    mean = integral(edge, 0.0) / total
    slope = integral(angle, mean[..., None]) * torch.exp(2 * k * torch.sin(angle / 2).square()) / -sine
    return Cosine(cosine.to(dtype), sine.to(dtype), slope.to(dtype))


def _quantile(x: Tensor, k: Tensor, quantiles: Table, differentiate: bool) -> tuple[Tensor, Tensor | None]:
    """The quantile u of atanh w and, where asked for, du/dk (see quantile_table); x and k are (*batch, 1).

    The contraction over concentrations is in double precision: float32 matrix products may run in TF32 or bfloat16,
    which is the user's to choose for networks but would spoil samples.
    """
    coefficients = quantiles.coefficients[differentiate]
    ratio = k * (2 / quantiles.pivot)
    eta = _asinh(ratio)
    angle = (eta * -0.5).exp_().asin_()  # rho = exp(-eta), 1 - 2 rho = cos(2 angle)
    if _in_rows(x):
        return _quantile_in_rows(x, ratio, eta, angle, quantiles, coefficients)
    series = ((angle * quantiles.twice).cos_().double() @ coefficients).to(x.dtype)
    basis = ((x * (1 / REACH)).clamp_(-1, 1).acos_() * quantiles.orders).cos_()
    if not differentiate:
        return (series * basis).sum(-1, keepdim=True).add_(eta, alpha=0.5), None
    both = (series.unflatten(-1, (2, -1)) * basis.unsqueeze(-2)).sum(-1)
    u, slope = both.split(1, -1)
    return u.add_(eta, alpha=0.5), slope.div_(_cosh_asinh(ratio))


def _asinh(t: Tensor) -> Tensor:
    if not _in_rows(t):
        return torch.asinh(t)
    return _cosh_asinh(t).add_(1).reciprocal_().mul_(t).mul_(t).add_(t).log1p_()


def _cosh_asinh(t: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        return torch.hypot(t, t.new_ones(()))
    return torch.hypot(t, *constants(("one",), lambda: [1.0], t.dtype, t.device))


def _in_rows(x: Tensor) -> bool:
    return not torch.compiler.is_compiling() and x.device.type == "cpu" and x.numel() >= _ROWS


def _quantile_in_rows(
    x: Tensor, ratio: Tensor, eta: Tensor, angle: Tensor, quantiles: Table, coefficients: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The same for a large batch on a CPU: recurrences over contiguous rows in place of cosines."""
    columns = len(quantiles.orders)
    if _in_rows(angle):
        basis = _chebyshev(torch.cos(2 * angle), len(coefficients)).flatten(1)
    else:
        basis = torch.cos(quantiles.twice[:, None] * angle.flatten())
    series = (coefficients.T @ basis.double()).view(-1, columns, *eta.shape).to(x.dtype)
    series[0, 0].add_(eta, alpha=0.5)
    basis = _chebyshev((x * (1 / REACH)).clamp_(-1, 1), columns)
    found = series[:, 0] * basis[0]
    for j in range(1, columns):
        found.addcmul_(series[:, j], basis[j])
    return found[0], found[1].div_(_cosh_asinh(ratio)) if len(found) > 1 else None


def _chebyshev(y: Tensor, count: int) -> Tensor:
    """The first Chebyshev polynomials at y: (count, *batch); by the recurrence, then four at a time."""
    basis = y.new_empty(count, *y.shape)
    basis[0].fill_(1)
    basis[1].copy_(y)
    factor = 2 * y
    for i in range(2, min(count, 8)):
        torch.mul(factor, basis[i - 1], out=basis[i]).sub_(basis[i - 2])
    if count > 8:
        factor = 2 * basis[4]
    for i in range(8, count, 4):  # T_i = 2 T_4 T_(i-4) - T_(i-8)
        new = basis[i : i + 4]
        torch.mul(factor, basis[i - 4 : i - 4 + len(new)], out=new).sub_(basis[i - 8 : i - 8 + len(new)])
    return basis


@constant_when_compiled
def _gauss(device: torch.device) -> tuple[Tensor, Tensor]:
    return _gauss_rule(torch.device(device))


@cache
def _gauss_rule(device: torch.device) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes on [0, 1/2], for half angles, and weights that sum to one."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    with torch.inference_mode(False):
        return torch.tensor((1 + nodes) / 4, device=device), torch.tensor(weights / 2, device=device)
