"""Scales of noise that make the entropy largest, where features are linear in the image: water that fills a vessel.

For features that move by E = sum of s_g sigma_g^2, s_g being summed over cell g and n_g the values that it holds, the
entropy sum of n_g log(sigma_g) is largest under E = alpha delta_f^2 at sigma_g^2 = nu n_g / s_g: each cell has its part
n_g / n of E, and nu = alpha delta_f^2 / n. Where a scale has a cap, cells that are at it have smaller parts, and nu
rises for the others.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from analysis.discarding.features import require_positive
from analysis.discarding.sensitivity import PixelSensitivity
from priors.errors import InputError

CONSTANT = math.log(2 * math.pi * math.e) / 2
"""C of equation 2: the entropy of a standard normal number, in nats."""


@dataclass(frozen=True)
class LinearEntropy:
    """The largest entropy of noise for linear features.

    Attributes:
        sigma: scales of noise, in units of `PixelSensitivity.deviation`; (batch, c, rows, columns).
        entropy: log(sigma) + C of equation 2, in nats a value of the image; (batch, c, rows, columns).
        capped: how many cells of each image are at the cap; (batch,).
        achieved: E / (alpha delta_f^2), 1 unless all are at the cap; (batch,).
    """

    sigma: Float64[Tensor, "batch c rows columns"]
    entropy: Float64[Tensor, "batch c rows columns"]
    capped: Int64[Tensor, " batch"]
    achieved: Float64[Tensor, " batch"]


def linear_entropy(
    sensitivity: PixelSensitivity,
    *,
    alpha: int | float = 1.5e-4,
    delta: int | float | Float[Tensor, " batch"] | None = None,
    cap: int | float = 1.0,
) -> LinearEntropy:
    """The solution of equation 5 in closed form: exact for linear features, and near it where noise is small.

    Without a cap sigma_g^2 = alpha delta_f^2 n_g / (n s_g). The bias of the logarithm that an estimated s has is taken
    out, so that entropies are right on average.

    Args:
        sensitivity: of `pixel_sensitivity`.
        alpha: how far features may move, as a part of delta_f^2; in squared units of `sensitivity.deviation`.
        delta: delta_f^2, one number or one an image; None: each image's own.
        cap: the largest scale, where features hang little on a cell or not at all.

    Raises:
        InputError: an alpha, a delta or a cap that is not above 0.
    """
    require_positive("alpha", alpha)
    require_positive("cap", cap)
    wanted = alpha * deltas(sensitivity.spread if delta is None else delta, sensitivity.spread)
    counts = sensitivity.grid.counts(sensitivity.value.device)
    unbiased = sensitivity.value * (-2 * sensitivity.log_bias).exp()[:, None, None, None]
    square = filled(unbiased, counts, wanted, float(cap) ** 2)
    at_cap = (square >= cap**2).flatten(1).sum(1)
    moved = (filled(sensitivity.value, counts, wanted, float(cap) ** 2) * sensitivity.value).flatten(1).sum(1)
    sigma = square.sqrt()
    return LinearEntropy(sigma, sigma.log() + CONSTANT, at_cap, moved / wanted)


def filled(
    value: Float64[Tensor, "batch c rows columns"],
    counts: Float64[Tensor, "c rows columns"],
    wanted: Float64[Tensor, " batch"],
    cap: float,
) -> Float64[Tensor, "batch c rows columns"]:
    """Squared scales min(cap, nu n_g / s_g), nu being such that the sum of s_g times them is what is wanted.

    Args:
        value: s_g.
        counts: n_g.
        wanted: E, above 0.
        cap: the largest squared scale.
    """
    flat, weights = value.flatten(1), counts.flatten().expand(len(value), -1)
    order = (weights / flat).argsort(1, descending=True)  # those that reach the cap first come first
    flat, weights = flat.gather(1, order), weights.gather(1, order)
    ratio = weights / flat
    # With the first k at the cap, k from 0 up: what is left for the others, and what each has of it.
    left = wanted[:, None] - cap * (flat.cumsum(1) - flat)
    others = weights.flip(1).cumsum(1).flip(1)
    level = left / others
    fits = (level * ratio <= cap) & ratio.isfinite()
    first = torch.where(fits.any(1), fits.int().argmax(1), flat.shape[1] - 1)[:, None]
    level = torch.where(fits.any(1)[:, None], level.gather(1, first), torch.inf)
    share = (level * (counts.flatten() / value.flatten(1))).nan_to_num(torch.inf, posinf=torch.inf)
    share = torch.where(value.flatten(1).isfinite(), share.clamp(max=cap), torch.nan)
    return share.view_as(value)


def deltas(given: object, like: Float64[Tensor, " batch"]) -> Float64[Tensor, " batch"]:
    """delta_f^2 of each image.

    Args:
        given: one number, or one an image.
        like: images' own, which may be 0 where `given` is the same.

    Raises:
        InputError: no such number, or none that is above 0.
    """
    if given is like:
        return like
    own = torch.as_tensor(given, dtype=torch.float64, device=like.device)
    if own.shape not in ((), like.shape) or not bool((own.isfinite() & (own > 0)).all()):
        shown = f"{float(own):g}" if own.ndim == 0 else f"of shape {tuple(own.shape)}"
        raise InputError(f"delta is {shown}: a number above 0, or one for each of {len(like)} images, was expected")
    return own.expand(like.shape)
