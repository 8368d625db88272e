"""The Kullback-Leibler divergence between two von Mises-Fisher distributions.

In the notation of `priors.vmf.bessel`, for concentrations q and r and an angle a between the mean directions,

    KL(vMF(., q) || vMF(., r)) = D(q, r) + r A(q) (1 - cos a),    D(q, r) = L(r) - L(q) - A(q) (r - q).

As written D, the Bregman divergence of L, loses everything where q and r are close or large, so it is computed as

- near, r/q within 3/2 either way: D = (r - q)^2 int_0^1 (1 - t) A'(q + t (r - q)) dt by Gauss-Legendre quadrature,
  every term positive;
- far: L = delta - G, with the divergence of delta = sqrt(b^2/4 + k^2) - b/2 in closed form and G growing as log k only.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from priors.vmf import bessel
from priors.vmf.bessel_table import scale
from priors.vmf.constants import constants, transforming

_NEAR = 1.5


def _legendre(count: int) -> tuple[tuple[float, ...], ...]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    t, w = (nodes + 1) / 2, weights / 2
    return (0.0, 1.0, *t.tolist()), tuple(w.tolist()), tuple((w * (1 - t)).tolist())


# Gauss-Legendre nodes on [0, 1] and weights: relative error 1e-8 and 1e-16 at a ratio of 3/2.
_QUADRATURE = {torch.float32: _legendre(4), torch.float64: _legendre(8)}


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
    x = bessel.coordinates(m, torch.lerp(q, r, t))  # at the ends they are q and r to the bit
    log, resultant, variance = bessel.remainders(m, x.p, "log", "resultant", "variance")
    slopes = bessel.slope_of_resultant(m, x, variance)

    inner = slopes[2:]
    near = step * step * (tail * inner).sum(0)

    # G = N log1p(delta/b) + e R_L grows as log k; its derivative is k/s - A = g p (1/2 + R_T).
    x = bessel.Coordinates(*(coordinate[:2] for coordinate in x))
    turn = x.g * x.p
    grown = torch.addcmul(bessel.growth(m, x.w), x.w * x.p, log[:2])
    (q_length, _), (q_turn, r_turn) = (x.g - turn * resultant[:2]), turn * (0.5 + resultant[:2])
    (q_p, r_p), (q_sine, r_sine) = x.p, x.u * x.p  # b/s and k/s
    # delta(r) - delta(q) - delta'(q)(r - q) = b^2/4 (r - q)^2 / (s_q (s_q s_r + b^2/4 + q r)), and likewise the slopes.
    part = step * q_p
    other = step * r_p / scale(m)
    closed = part * q_p * other / (4 + q_p * r_p + 4 * q_sine * r_sine)
    far = closed - (grown[1] - grown[0] - q_turn * step)

    close = torch.maximum(q, r) <= _NEAR * torch.minimum(q, r)
    gap = None
    if gaps:
        near_gap = step * (weight * inner).sum(0)
        total = (q_sine + r_sine).clamp_min(torch.finfo(q.dtype).tiny)
        far_gap = 0.25 * other * q_p * (q_sine * r_p + r_sine * q_p) / total - (r_turn - q_turn)
        gap = torch.where(close, near_gap, far_gap)
    return torch.where(close, near, far), gap, q_length, slopes[0]


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
