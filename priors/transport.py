"""Exact, reparameterised samples of the von Mises-Fisher distribution, by transport of Gaussian draws.

A standard normal vector g splits into its component x along the mean direction mu and the rest, whose direction is uniform on the tangent sphere and
independent of both x and its own length. A monotone map (see cosine) takes x, or for m = 3 the length, to the cosine w; then

    z = w mu + sqrt(1 - w^2) g_perp / |g_perp|.

There is no rejection, no loop that depends on data, no Householder reflection and so no singular direction.

Gradients are those of the expectation, exact and unbiased. In the concentration they follow the cosine at a fixed draw (implicit
reparameterisation, Figurnov, Mohamed and Mnih 2018). In the mean direction they follow the rotation that carries mu to mu + dmu: the distribution of the
rotated sample is that of the new mean, and the gradient is w G - (G.mu) z for an incoming G. It is tangent to the sphere at mu, as it has
to be for a unit mean direction, and has less spread than differentiating the projection above. It is not the path derivative of the formula above.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from priors import cosine
from priors.errors import InputError

_PROJECTED = 10  # below this dimension the tangent part is projected before its length is taken: |g|^2 - x^2 would cancel too often
_CACHED = 1 << 18  # numbers in a temporary that stays in a CPU's cache


def rsample(
    loc: Float[Tensor, "*batch m"], concentration: Float[Tensor, "*batch"], generator: torch.Generator | None = None
) -> Float[Tensor, "*batch m"]:
    """Draw one von Mises-Fisher sample for each mean direction, differentiably.

    The same generator state gives the same samples, and each row depends on the others only through the stream of draws. A
    concentration that is expanded from a smaller shape (`Tensor.expand`) costs only the work of the smaller shape. Half precision is computed in float32.

    Args:
        loc: Mean directions of unit length, m >= 2. Their gradient is tangent to the sphere.
        concentration: Concentrations k >= 0; at 0 the distribution is uniform.
        generator: Source of the draws; the device's default one if None.

    Returns:
        Unit vectors with density proportional to exp(k mu.z) on the sphere.

    Raises:
        InputError: If m < 2, or the concentrations are not one a mean direction.

    Example:
        >>> mean = torch.nn.functional.one_hot(torch.tensor([0, 3]), 5).double()
        >>> z = rsample(mean, torch.tensor([0.0, 1e6]).double(), torch.Generator().manual_seed(0))
        >>> [round(float(v), 4) for v in z.norm(dim=-1)]
        [1.0, 1.0]
    """
    if loc.shape[-1] < 2:
        raise InputError(
            f"mean directions have {loc.shape[-1]} components; the sphere needs an ambient dimension of 2 or more"
        )
    if concentration.shape != loc.shape[:-1]:
        raise InputError(
            f"concentrations of shape {tuple(concentration.shape)} for mean directions of shape {tuple(loc.shape)}: "
            f"expected {tuple(loc.shape[:-1])}; expand them first"
        )
    if loc.dtype not in (torch.float32, torch.float64):
        return rsample(loc.float(), concentration.float(), generator).to(loc.dtype)
    if torch.is_autocast_enabled(loc.device.type):
        with torch.autocast(loc.device.type, enabled=False):
            return rsample(loc, concentration, generator)
    concentration = concentration.to(loc.dtype)
    m = loc.shape[-1]
    quantiles = None if m == 3 else cosine.table(m, loc.dtype, loc.device)
    if torch.is_grad_enabled() and (loc.requires_grad or concentration.requires_grad):
        return _Transport.apply(loc, concentration, generator, quantiles)
    return _draw(loc, concentration, generator, quantiles, False)[0]


class _Transport(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loc, concentration, generator, quantiles):
        differentiate = ctx.needs_input_grad[1]
        z, w, slope = _draw(loc, concentration, generator, quantiles, differentiate)
        ctx.save_for_backward(z, loc, w, slope)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        z, loc, w, slope = ctx.saved_tensors
        along_mean = _dot(grad, loc)
        by_loc = by_concentration = None
        if ctx.needs_input_grad[1]:
            by_concentration = slope * (along_mean - w * _dot(grad, z))
        if ctx.needs_input_grad[0]:
            by_loc = (grad * w[..., None]).addcmul_(z, along_mean[..., None], value=-1)
        return by_loc, by_concentration, None, None


def _draw(
    loc: Tensor, k: Tensor, generator: torch.Generator | None, quantiles: cosine.Table | None, differentiate: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Samples (*batch, m), their cosines and, where asked for, d atanh(w) / dk."""
    m = loc.shape[-1]
    g = torch.randn(loc.shape, dtype=loc.dtype, device=loc.device, generator=generator)
    x = _dot(g, loc)
    k = _unexpanded(k)
    if m == 2:
        law = cosine.on_circle(x, k, quantiles, differentiate)
        tangent = torch.stack((-loc[..., 1], loc[..., 0]), -1)
        w, across = 1 - law.versine, torch.copysign(law.sine, _dot(g, tangent))
        return tangent.mul_(across[..., None]).addcmul_(loc, w[..., None]), w, law.slope
    if m < _PROJECTED:
        g.addcmul_(loc, x[..., None], value=-1)
        length = torch.linalg.vector_norm(g, dim=-1)
    else:
        length = (torch.linalg.vector_norm(g, dim=-1).square_() - x.square()).sqrt_()
    if m == 3:
        law = cosine.on_sphere(length.square() / 2, k, differentiate)
    else:
        law = cosine.by_table(m, x, k, quantiles, differentiate)
    scale = law.sine / length.clamp_min(1e-30)
    w = 1 - law.versine
    along = w if m < _PROJECTED else w - scale * x
    return g.mul_(scale[..., None]).addcmul_(loc, along[..., None]), w, law.slope


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products over the last dimension, in full precision; on a CPU without writing the products to memory."""
    if torch.compiler.is_compiling() or a.device.type != "cpu" or a.numel() <= _CACHED or a.shape != b.shape:
        return (a * b).sum(-1)
    m = a.shape[-1]
    if a.ndim != 2:
        lead = a.shape[:-1]
        return torch.cat([_dot(p, q) for p, q in zip(a, b, strict=True)]).reshape(lead)
    out, rows = a.new_empty(len(a)), max(1, _CACHED // m)
    products = a.new_empty(rows, m)
    for start in range(0, len(a), rows):
        part = slice(start, start + rows)
        torch.sum(torch.mul(a[part], b[part], out=products[: len(a) - start]), -1, out=out[part])
    return out


def _unexpanded(k: Tensor) -> Tensor:
    """Only the distinct elements of an expanded tensor: its shape with size one where the stride is zero."""
    for dim, stride in enumerate(k.stride()):
        if stride == 0:
            k = k.narrow(dim, 0, min(1, k.shape[dim]))
    return k
