"""The Kullback-Leibler divergence between two von Mises-Fisher distributions.

In the notation of `priors.vmf.bessel`, for concentrations q and r and an angle a between the mean directions,

    KL(vMF(., q) || vMF(., r)) = D(q, r) + r A(q) (1 - cos a),    D(q, r) = L(r) - L(q) - A(q) (r - q).

As written D, the Bregman divergence of L, loses everything where q and r are close or large, so it is computed as

- near, with r + b/2 and q + b/2 within a factor of 2: D = (r - q)^2 int_0^1 (1 - t) A'(q + t (r - q)) dt by
  Gauss-Legendre quadrature, every term positive: A' varies on the scale k + b/2;
- far: D = P(q) - P(r) + (r - q) (1 - A(q)), P(k) = k - L(k), in which nothing grows faster than log k.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from priors.vmf import bessel
from priors.vmf.bessel_table import scale
from priors.vmf.constants import constants, transforming


def _legendre(count: int) -> tuple[tuple[float, ...], ...]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    t, w = (nodes + 1) / 2, weights / 2
    return (0.0, 1.0, *t.tolist()), tuple(w.tolist()), tuple((w * (1 - t)).tolist())


# Gauss-Legendre nodes on [0, 1] and weights: relative error 1e-8 and 1e-16 at a ratio of 2 in k + b/2.
_QUADRATURE = {torch.float32: _legendre(6), torch.float64: _legendre(12)}


def _quadrature(like: Tensor) -> tuple[Tensor, ...]:
    """Nodes 0, 1 and t, weights w and w (1 - t), each as (nodes, 1, ..., 1) with as many ones as `like` has dimensions.

    The nodes 0 and 1, where q and r are, have no weights.
    """
    points = _QUADRATURE[like.dtype]
    if torch.compiler.is_compiling():
        table = [torch.stack([like.new_full((), x) for x in column]) for column in points]
        return tuple(column.reshape(-1, *[1] * like.ndim) for column in table)
    return constants(("quadrature", like.ndim), lambda: _deep(points, like.ndim), like.dtype, like.device)


def _deep(columns: Sequence[Sequence[float]], ndim: int) -> list:
    return [np.reshape(column, (-1, *[1] * ndim)).tolist() for column in columns]


def _evaluate(m: int, q: Tensor, r: Tensor, gaps: bool = True) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """D(q, r), A(r) - A(q), A(q) and A'(q) for tensors of one shape; the gap A(r) - A(q) where it is asked for."""
    t, weight, tail = _quadrature(q)
    step = r - q
    k = torch.lerp(q, r, t)  # at the ends they are q and r to the bit
    x = bessel.coordinates(m, k)
    log, resultant, variance = bessel.remainders(m, x.p, "log", "resultant", "variance")
    slopes = bessel.slope_of_resultant(m, x, variance)

    inner = slopes[2:]
    near = step * step * (tail * inner).sum(0)

    x = bessel.Coordinates(*(coordinate[:2] for coordinate in x))
    peaks, deficits = bessel.peak_and_deficit(m, k[:2], x, log[:2], resultant[:2])
    (q_peak, r_peak), (q_deficit, r_deficit) = peaks, deficits
    far = torch.addcmul(q_peak - r_peak, step, q_deficit)

    # k + b/2 within a factor of 2
    close = torch.sub(torch.maximum(q, r), torch.minimum(q, r), alpha=2) <= 0.5 * scale(m)
    gap = torch.where(close, step * (weight * inner).sum(0), q_deficit - r_deficit) if gaps else None
    lengths = torch.addcmul(x.g, x.g * x.p, resultant[:2], value=-1)
    return torch.where(close, near, far), gap, lengths[0], slopes[0]


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, m: int, q: Tensor, r: Tensor, versine: Tensor) -> Tensor:
        divergence, gap, length, slope = _evaluate(m, q, r, ctx.needs_input_grad[2])
        ctx.m = m
        ctx.save_for_backward(q, r, versine, gap, length, slope)
        return torch.addcmul(divergence, r * length, versine)

    @staticmethod
    def backward(ctx, grad: Tensor):
        q, r, versine, gap, length, slope = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: the derivatives as functions of q and r
            gap, length = _Gap.apply(ctx.m, q, r), bessel.mean_resultant_length(ctx.m, q)
            slope = bessel.mean_resultant_slope(ctx.m, q)
        by_q = by_r = by_versine = None
        if ctx.needs_input_grad[1]:
            by_q = grad * slope * torch.addcmul(q - r, r, versine)
        if ctx.needs_input_grad[2]:
            by_r = grad * torch.addcmul(gap, length, versine)
        if ctx.needs_input_grad[3]:
            by_versine = grad * r * length
        return None, by_q, by_r, by_versine


class _Gap(torch.autograd.Function):
    """A(r) - A(q), as accurate where they are close as where they are not."""

    @staticmethod
    def forward(ctx, m: int, q: Tensor, r: Tensor) -> Tensor:
        ctx.m = m
        ctx.save_for_backward(q, r)
        return _evaluate(m, q, r)[1]

    @staticmethod
    def backward(ctx, grad: Tensor):
        q, r = ctx.saved_tensors
        return (
            None,
            -grad * bessel.mean_resultant_slope(ctx.m, q),
            grad * bessel.mean_resultant_slope(ctx.m, r),
        )


def kl_between(
    m: int, q: Float[Tensor, "*batch"], r: Float[Tensor, "*batch"], versine: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """KL(vMF(mu, q) || vMF(nu, r)) in nats, accurate relative to itself however close the two are.

    Args:
        m: ambient dimension.
        q: concentrations of the first, >= 0.
        r: concentrations of the second, >= 0.
        versine: 1 - mu.nu, best as |mu - nu|^2 / 2.
    """
    if transforming():
        divergence, _, length, _ = _evaluate(m, q, r, gaps=False)
        return torch.addcmul(divergence, r * length, versine)
    return _Divergence.apply(m, q, r, versine)
