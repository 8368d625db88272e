"""Exact, reparameterised samples of the von Mises-Fisher distribution, by transport of Gaussian draws.

A standard normal vector g splits into its component x along the mean direction mu and the rest, g_perp, whose
direction is uniform on the tangent sphere and independent of x and of its own length. A monotone map (see cosine)
takes x, or for m = 3 that length, to the cosine w; then

    z = w mu + sqrt(1 - w^2) g_perp / |g_perp|.

There is no rejection, no loop that depends on data, no Householder reflection and so no singular direction.

Gradients are unbiased for the gradient of an expectation. In the concentration they follow the sample at a fixed draw
(implicit reparameterisation, Figurnov, Mohamed and Mnih 2018). In the mean direction they follow the rotation that
carries mu to mu + dmu: the rotated sample has the distribution of the new mean. For an incoming G this is
w G - (G.mu) z, tangent to the sphere at mu, as it has to be for a direction of unit length, and it spreads less than
the derivative of the formula above at fixed g; it is another one, equal only in expectation.

None of it but the map is the von Mises-Fisher distribution's own: another one that is symmetric about its mean
direction takes a `Law` of its own (see `priors.spherical_cauchy.moebius`).
"""

from collections.abc import Callable
from operator import index

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from priors.checks.draws import gaussians
from priors.errors import InputError
from priors.vmf import cosine

# A CPU works through large batches in parts whose temporaries stay in its cache: of so many rows, or numbers, at most.
_PART_ROWS = 13 << 10
_PART_NUMBERS = 1 << 19

Law = Callable[[int, Tensor, Tensor, Tensor, bool], cosine.Cosine]
"""The cosine, its sine and its slope, by the dimension, x and |g_perp| (signed on the circle), (*batch, 1) both, the
concentrations, and whether the slope is wanted."""


def rsample(
    loc: Float[Tensor, "*batch m"],
    concentration: Float[Tensor, "*batch"],
    generator: torch.Generator | Float[Tensor, "*batch m"] | None = None,
    law: Law = cosine.von_mises_fisher,
) -> Float[Tensor, "*batch m"]:
    """Draw one von Mises-Fisher sample for each mean direction, differentiably (once).

    The same generator state gives the same samples, and rows depend on each other only through the stream of draws.
    Concentrations expanded from a smaller shape (`Tensor.expand`) cost only that shape's work. Half precision is
    computed in float32, also under autocast.

    Args:
        loc: Mean directions mu of unit length, m >= 2. Their gradient is tangent to the sphere.
        concentration: Concentrations k >= 0; at 0 the distribution is uniform.
        generator: Source of the draws, on any device; the directions' device's default one if None. Or the draws
            themselves, standard normals of the directions' shape and type, which are overwritten: what is compiled by
            torch.compile takes no generator.
        law: Of the cosine; the von Mises-Fisher distribution's.

    Returns:
        Unit vectors z of density proportional to exp(k mu.z) on the sphere.

    Raises:
        InputError: If m < 2, or there is not one concentration a mean direction.

    Example:
        >>> mean = torch.nn.functional.one_hot(torch.tensor([0, 3]), 5).double()
        >>> z = rsample(mean, torch.tensor([0.0, 1e6]).double(), torch.Generator().manual_seed(0))
        >>> [round(float(v), 4) for v in z.norm(dim=-1)]
        [1.0, 1.0]
    """
    m = index(loc.shape[-1])  # a constant also where torch.compile has made sizes symbolic: tables are built for it
    if m < 2:
        raise InputError(f"mean directions of {m} component: the ambient dimension is 2 or more; pass longer vectors")
    if concentration.shape != loc.shape[:-1]:
        raise InputError(
            f"concentrations of shape {tuple(concentration.shape)} for mean directions of shape {tuple(loc.shape)}: "
            f"expected {tuple(loc.shape[:-1])}, one a direction; expand them first"
        )
    if loc.dtype not in (torch.float32, torch.float64):
        return rsample(loc.float(), concentration.float(), generator, law).to(loc.dtype)
    if loc.device.type != "meta" and torch.is_autocast_enabled(loc.device.type):
        with torch.autocast(loc.device.type, enabled=False):
            return rsample(loc, concentration, generator, law)
    concentration = concentration.to(loc.dtype)
    if torch.is_grad_enabled() and (loc.requires_grad or concentration.requires_grad):
        return _Transport.apply(loc, concentration, generator, law)
    return _draw(loc, concentration, generator, law, False)[0]


class _Transport(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loc, concentration, generator, law):
        z, w, slope = _draw(loc, concentration, generator, law, ctx.needs_input_grad[1])
        ctx.save_for_backward(z, loc, w, slope)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        z, loc, w, slope = ctx.saved_tensors
        along_mean = _dot(grad, loc)
        by_loc = by_concentration = None
        if slope is not None:
            # dz/dk = du/dk (mu - w z)
            by_concentration = torch.addcmul(along_mean, w, _dot(grad, z), value=-1).mul_(slope).squeeze(-1)
        if ctx.needs_input_grad[0]:
            by_loc = (grad * w).addcmul_(z, along_mean, value=-1)
        return by_loc, by_concentration, None, None


def _draw(
    loc: Tensor,
    k: Tensor,
    generator: torch.Generator | Tensor | None,
    law: Law,
    differentiate: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Samples (*batch, m), their cosines (*batch, 1) and, where asked for, d atanh(w) / dk (*batch, 1)."""
    g = _gaussians(loc, generator)
    k = k[..., None]
    if _whole(g):
        return _transport(g, loc, k, law, differentiate)
    w = g.new_empty(k.shape)
    slope = torch.empty_like(w) if differentiate else None
    z = torch.empty_like(g) if g.shape[-1] == 2 else g  # transport is in place, but on the circle
    for part in _parts(g):
        found = _transport(g[part], loc[part], k[part], law, differentiate)
        w[part] = found[1]
        if z is not g:
            z[part] = found[0]
        if differentiate:
            slope[part] = found[2]
    return z, w, slope


def _gaussians(like: Tensor, generator: torch.Generator | Tensor | None) -> Tensor:
    if isinstance(generator, Tensor):
        return generator.clone() if torch.compiler.is_compiling() else generator
    if torch.compiler.is_compiling() and like.device.type == "cpu" and generator is None:
        return torch.ops.penult.gaussians(like)
    return gaussians(like.shape, generator, like.dtype, like.device)


# Gaussians that compiled code for a CPU takes as they are: its own generator is an order of magnitude slower.
torch.library.define("penult::gaussians", "(Tensor like) -> Tensor", tags=(torch.Tag.nondeterministic_seeded,))


@torch.library.impl("penult::gaussians", "CPU")
def _(like: Tensor) -> Tensor:
    return torch.randn(like.shape, dtype=like.dtype, device=like.device)


@torch.library.register_fake("penult::gaussians")
def _(like: Tensor) -> Tensor:
    return torch.empty(like.shape, dtype=like.dtype, device=like.device)


def _transport(
    g: Tensor, loc: Tensor, k: Tensor, law: Law, differentiate: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Turn draws g (*batch, m) into samples, in place; k (*batch, 1)."""
    m = index(loc.shape[-1])
    k = _distinct(k)
    x = (g * loc).sum(-1, keepdim=True)
    if m == 2:
        tangent = torch.stack((-loc[..., 1], loc[..., 0]), -1)
        side = (g * tangent).sum(-1, keepdim=True)
        found = law(m, x, side, k, differentiate)
        across = torch.copysign(found.sine, side)
        return tangent.mul_(across).addcmul_(loc, found.cosine), found.cosine, found.slope
    g.addcmul_(loc, x, value=-1)
    length = torch.linalg.vector_norm(g, dim=-1, keepdim=True)
    found = law(m, x, length, k, differentiate)
    w, across = _stored(found.cosine), _stored(found.sine / length.clamp_min_(1e-30))
    return g.mul_(across).addcmul_(loc, w), w, found.slope


def _stored(a: Tensor) -> Tensor:
    """The same numbers, in memory: a compiled loop over components on a CPU works them out again for every one of them.

    A view by strides is what the compiler cannot look through.
    """
    if torch.compiler.is_compiling() and a.device.type == "cpu":
        return a.as_strided(a.shape, a.stride())
    return a


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products over the last dimension, kept with size one; matrix products might be of low precision."""
    if _whole(a):
        return (a * b).sum(-1, keepdim=True)
    out = a.new_empty(*a.shape[:-1], 1)
    for part in _parts(a):
        torch.sum(a[part] * b[part], -1, keepdim=True, out=out[part])
    return out


def _whole(a: Tensor) -> bool:
    """Whether to work on all rows at once: anywhere but on a CPU with a large batch."""
    if torch.compiler.is_compiling() or a.device.type != "cpu":
        return True
    return a.numel() <= min(_PART_ROWS * a.shape[-1], _PART_NUMBERS)


def _parts(a: Tensor):
    """Indices that cut the leading batch dimensions into parts of bounded size, or single rows."""
    largest = min(_PART_ROWS * a.shape[-1], _PART_NUMBERS)
    each = a.numel() // len(a)
    if each > largest and a.ndim > 2:
        for i in range(len(a)):
            for part in _parts(a[i]):
                yield (i, *part)
    else:
        step = max(1, largest // each)
        for start in range(0, len(a), step):
            yield (slice(start, start + step),)


def _distinct(k: Tensor) -> Tensor:
    """The distinct elements of an expanded tensor: of size one along dimensions of stride zero."""
    for dim, stride in enumerate(k.stride()):
        if stride == 0 and k.shape[dim] > 1:
            k = k.narrow(dim, 0, 1)
    return k
