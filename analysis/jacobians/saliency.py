"""Where in an image a class is seen: the terms of a full-Jacobian as one map, by equation 4 and beside it.

Srinivas and Fleuret (2019), section 6. The sum's own signs are lost in it: a map says where a network is sensitive, not
whether what is there speaks for the class. Like the paper, it takes the terms that have a place in the image, those of
operations whose results have channels and several pixels. Terms of fully connected layers, of features that were pooled
to one pixel, and of tokens have none and are left out: `Decomposition.per_layer` says how much they add to f.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from analysis.jacobians.terms import BiasTerm, Decomposition
from priors.errors import InputError, unknown

SaliencyVariant = Literal["paper", "authors", "bias"]
Resize = Literal["bilinear", "bicubic"]
_ABOVE_ZERO = 1e-6
"""What the authors' code adds to the range that it divides by."""


def full_jacobian_saliency(
    found: Decomposition, *, variant: str = "paper", resize: str = "bilinear"
) -> Float[Tensor, "batch height width"]:
    """The saliency of each pixel, at least 0, in units of f but for the variant "authors", which has none.

    - "paper", equation 4: |df/dx * x| + the sum over terms of resize(|the channel-summed map|). Its first part has a
      value a channel, as the paper has it; they are added up, so that there is one map.
    - "bias", as the last column of table 5: the second part of "paper" alone.
    - "authors", as their published code: of the input's part and of each term, the absolute value of each unit, brought
      to [0, 1] by the least and the largest of all units of that image; then resized with aligned corners, and added
      up over channels and terms. So every layer counts alike, whatever it adds to f.

    The paper's x is what a network's first layer is given: images less their mean, over their deviation. So constants
    that are added to images before anything else belong to the first part: |df/dx * (x - mean)| for x in [0, 1].

    Args:
        found: of `decompose` with keep="maps" or, for "authors", keep="values"; of images with channels and pixels.
        variant: "paper", "authors" or "bias".
        resize: "bilinear" or "bicubic", to the size of the images; what overshoots below 0 is 0.

    Raises:
        InputError: an unknown variant or way to resize, images without channels and pixels, or terms whose maps, or
            values, were not kept.
    """
    if variant not in get_args(SaliencyVariant):
        raise unknown("variant", variant, get_args(SaliencyVariant))
    if resize not in get_args(Resize):
        raise unknown("resize", resize, get_args(Resize))
    if found.images.ndim != 4:
        raise InputError(
            f"images are of shape {tuple(found.images.shape)}: (batch, channels, height, width) was expected"
        )
    taken, terms = _of_input(found)
    _check_kept(terms, variant)
    aligned, total = variant == "authors", torch.zeros_like(found.images[:, 0])
    if variant == "paper":
        total = total + taken.abs().sum(1)
    if variant == "authors":
        total = total + _ranged(taken).sum(1)
    for term in terms:
        if not _has_place(term):
            continue
        own = _ranged(term.value).sum(_channels(term)) if aligned else term.map.abs()
        total = total + resized(own, found.images.shape[-2:], resize, aligned=aligned)
    return total


def resized(
    maps: Float[Tensor, "batch rows columns"], size: tuple[int, int], resize: str = "bilinear", *, aligned: bool = False
) -> Float[Tensor, "batch height width"]:
    """Maps at another size, at least 0.

    Args:
        maps: at least 0.
        size: (height, width) that is wanted.
        resize: "bilinear" or "bicubic".
        aligned: whether the centres of the corner pixels stay where they are, rather than the corners themselves.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    found = functional.interpolate(maps[:, None], tuple(size), mode=resize, align_corners=aligned)
    return found[:, 0].clamp_min(0)


def _of_input(found: Decomposition) -> tuple[Tensor, list[BiasTerm]]:
    """The slope times what the first layer is given, and the terms that are no part of it."""
    taken, terms = found.jacobian * found.images, list(found.terms)
    while terms and terms[0].source == "constant" and _is_of(terms[0], found.images):
        taken = taken + terms.pop(0).value
    return taken, terms


def _has_place(term: BiasTerm) -> bool:
    """Whether a term says where: by a map of more than one pixel."""
    return term.map is not None and term.map.shape[-2:] != (1, 1)


def _is_of(term: BiasTerm, images: Tensor) -> bool:
    return term.map is not None and term.value is not None and term.value.shape == images.shape


def _check_kept(terms: Sequence[BiasTerm], variant: str) -> None:
    placed = [term for term in terms if _has_place(term)]
    if not placed and variant == "bias":
        raise InputError(
            "no term has a map of several pixels: a network of layers with channels and pixels was expected, "
            "decomposed with keep='maps'"
        )
    if variant == "authors" and any(term.value is None for term in placed):
        raise InputError("the authors' variant takes the value of each unit: ask decompose for them by keep='values'")


def _ranged(values: Tensor) -> Tensor:
    """Absolute values from 0 to 1, by the least and the largest of each image."""
    flat = values.abs().flatten(1)
    flat = flat - flat.amin(1, keepdim=True)
    return (flat / (flat.amax(1, keepdim=True) + _ABOVE_ZERO)).view_as(values)


def _channels(term: BiasTerm) -> int:
    """The axis of a term's channels: that over which its values sum to its map."""

    def off(axis: int) -> float:
        return float((term.value.sum(axis) - term.map).abs().amax())

    shape = term.value.shape
    axes = [axis for axis in (1, 2, 3) if shape[:axis] + shape[axis + 1 :] == term.map.shape]
    return axes[0] if len(axes) == 1 else min(axes, key=off)
