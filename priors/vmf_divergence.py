"""The divergence between two von Mises-Fisher distributions that share their mean direction.

KL(vMF(mu, q) || vMF(mu, r)) = D(q, r) = L(r) - L(q) - A(q) (r - q), the Bregman divergence of L (notation of
`priors.bessel`). As written it loses everything where q and r are close or large, so it is computed as

- near, r/q within 3/2 either way: D = (r - q)^2 int_0^1 (1 - t) A'(q + t (r - q)) dt by Gauss-Legendre quadrature,
  every term positive;
- far: L = delta - G, with the divergence of delta = sqrt(c^2 + k^2) - c in closed form and G growing as log k only.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from priors import bessel

_NEAR = 1.5
_NODES = {torch.float32: 4, torch.float64: 8}  # relative error 1e-8 and 1e-16 at a ratio of 3/2


@lru_cache
def _legendre(count: int) -> tuple[tuple[float, float], ...]:
    """Nodes and weights of Gauss-Legendre quadrature on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return tuple(zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


_quadratures: dict[tuple, Tensor] = {}


@torch.compiler.assume_constant_result
def _quadrature(dtype: torch.dtype, device: torch.device, ndim: int) -> Tensor:
    """Nodes t, weights w and w (1 - t), as (3, nodes, 1, ..., 1) with `ndim` ones."""
    key = (dtype, device, ndim)
    table = _quadratures.get(key)
    if table is None:
        points = _legendre(_NODES[dtype])
        rows = [[t for t, _ in points], [w for _, w in points], [w * (1 - t) for t, w in points]]
        with torch.inference_mode(False):
            table = torch.tensor(rows, dtype=dtype, device=device).reshape(3, -1, *[1] * ndim)
        if type(table) is Tensor:
            _quadratures[key] = table
    return table


def _evaluate(m: int, q: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """D(q, r), A(r) - A(q) and A'(q)."""
    c = bessel.centre(m)
    both = torch.stack((q, r))
    p, g, v = bessel.coordinates(m, both)
    log, resultant, variance = bessel.remainders(m, p, "log", "resultant", "variance")
    # G = N log1p(delta/2c) + e R_L grows as log k, and G' = k (c + R_T) / (s (s + c)).
    grown = (m - 1) / 2 * torch.log1p(v / 2) + v * p * log
    slope = g * p * (1 + resultant / c)
    (grown_q, grown_r), (slope_q, slope_r) = grown.unbind(0), slope.unbind(0)
    p_q, p_r = p.unbind(0)
    sine_q, sine_r = (both / c * p).unbind(0)  # k/s
    step = r - q
    x = step / c * p_r
    # delta(r) - delta(q) - delta'(q)(r - q) = c^2 (r - q)^2 / (s_q (s_q s_r + c^2 + q r)), and likewise for the slopes.
    closed = step * p_q * x * p_q / (1 + p_q * p_r + sine_q * sine_r)
    far = closed - (grown_r - grown_q - slope_q * step)
    turn = x * p_q * (sine_q * p_r + sine_r * p_q) / (sine_q + sine_r).clamp_min(torch.finfo(q.dtype).tiny)
    far_gap = turn - (slope_r - slope_q)

    t, weight, tail = _quadrature(q.dtype, q.device, q.ndim).unbind(0)
    p, _, _ = bessel.coordinates(m, q + t * step)
    inner = bessel.over_square(m, p) * bessel.remainders(m, p, "variance")[0]
    near = step * step * (tail * inner).sum(0)
    near_gap = step * (weight * inner).sum(0)
    close = torch.maximum(q, r) <= _NEAR * torch.minimum(q, r)
    slope_at_q = bessel.over_square(m, p_q) * variance.unbind(0)[0]
    return torch.where(close, near, far), torch.where(close, near_gap, far_gap), slope_at_q


class _Divergence(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, r: Tensor, m: int) -> tuple[Tensor, Tensor, Tensor]:
        return _evaluate(m, q, r)

    @staticmethod
    def setup_context(ctx, inputs, output):
        q, r, ctx.m = inputs
        ctx.mark_non_differentiable(output[1], output[2])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(q, r, output[1], output[2])

    @staticmethod
    def backward(ctx, grad, *_):
        if grad is None:
            return None, None, None
        q, r, gap, slope = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: the derivatives as functions of q and r
            gap, slope = _Gap.apply(q, r, ctx.m), bessel.mean_resultant_slope(ctx.m, q)
        return grad * slope * (q - r), grad * gap, None


class _Gap(torch.autograd.Function):
    """A(r) - A(q), as accurate as it can be where they are close."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, r: Tensor, m: int) -> Tensor:
        return _evaluate(m, q, r)[1]

    @staticmethod
    def setup_context(ctx, inputs, output):
        q, r, ctx.m = inputs
        ctx.save_for_backward(q, r)

    @staticmethod
    def backward(ctx, grad):
        q, r = ctx.saved_tensors
        return -grad * bessel.mean_resultant_slope(ctx.m, q), grad * bessel.mean_resultant_slope(ctx.m, r), None


def kl_same_direction(m: int, q: Float[Tensor, "*batch"], r: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """KL(vMF(mu, q) || vMF(mu, r)) in nats for any common mean direction mu on the sphere in m dimensions.

    The concentrations q and r have one shape. Accurate relative to itself, however close they are.
    """
    return _Divergence.apply(q, r, m)[0]
