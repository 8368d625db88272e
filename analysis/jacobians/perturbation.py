"""Take pixels out of images in the order of their salience, to see by what a network's output hangs on them."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from priors.checks.floats import at_least_float32, require_floats
from priors.errors import InputError, unknown

First = Literal["least", "most"]
_TIES = 20190502
"""Seed of the order in which pixels as salient as each other come."""


def salience_ranks(maps: Shaped[Tensor, "..."]) -> Int64[Tensor, "batch height width"]:
    """The rank of each pixel in its map: 0 is the least salient, height * width - 1 the most.

    Pixels are ranked, not pixels times channels: a pixel has one salience, and goes with all its channels. Pixels of
    the same salience, of which a map with zeros has many, come in an order that is drawn once for a size of map. It is
    the same for all images and methods, on every device and in every batch. By place in the map, the upper half of a
    black background would go before its lower half.

    Args:
        maps: salience of each pixel, (batch, height, width), real and finite; the sign counts.

    Raises:
        InputError: another shape, no pixels, or values that are not finite.

    Example:
        >>> salience_ranks(torch.tensor([[[0.5, 2.0], [-1.0, 1.0]]])).tolist()
        [[[1, 3], [0, 2]]]
    """
    require_floats(maps, "maps")
    if maps.ndim != 3 or not all(maps.shape[1:]):
        raise InputError(f"maps are of shape {tuple(maps.shape)}: (batch, height, width) was expected")
    if not bool(maps.isfinite().all()):
        raise InputError("maps have values that are not finite: they give no order of pixels")
    pixels = maps.shape[1] * maps.shape[2]
    mixed = torch.randperm(pixels, generator=torch.Generator().manual_seed(_TIES)).to(maps.device)
    order = mixed[maps.flatten(1)[:, mixed].argsort(dim=1, stable=True)]
    places = torch.arange(pixels, device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(maps.shape)


def pixel_count(fraction: int | float, height: int, width: int) -> int:
    """How many pixels a fraction of an image is: the nearest whole number.

    Raises:
        InputError: a fraction outside [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise InputError(f"fraction {fraction:g}: a part of all pixels, from 0 to 1, was expected")
    return round(fraction * height * width)


def removal_mask(
    ranks: Int64[Tensor, "batch height width"], fraction: int | float, first: str
) -> Bool[Tensor, "batch height width"]:
    """Which pixels go: a fraction of all, the same number in every image.

    Args:
        ranks: of `salience_ranks`.
        fraction: of the pixels, from 0 to 1; `pixel_count` says how many that are.
        first: whether the "least" or the "most" salient go.

    Raises:
        InputError: a fraction outside [0, 1], or another order.

    Example:
        >>> removal_mask(torch.tensor([[[1, 3], [0, 2]]]), 0.5, "most").tolist()
        [[[False, True], [False, True]]]
    """
    if first not in get_args(First):
        raise unknown("first", first, get_args(First))
    _, height, width = ranks.shape
    count = pixel_count(fraction, height, width)
    return ranks < count if first == "least" else ranks >= height * width - count


def filled(
    images: Shaped[Tensor, "..."],
    removed: Bool[Tensor, "batch height width"],
    fill: int | float | Float[Tensor, " channels"] = 0.0,
) -> Float[Tensor, "batch channels height width"]:
    """Images with pixels put in the place of those removed, in all channels.

    Args:
        images: (batch, channels, height, width), in [0, 1].
        removed: which of their pixels go.
        fill: what stands there then: one number, which is black where it is 0, or one for each channel, as the mean
            colour of a data set.

    Raises:
        InputError: images of whole numbers, or of another shape.
    """
    images = at_least_float32(images, "images")
    if images.ndim != 4 or removed.shape != (len(images), *images.shape[2:]):
        raise InputError(
            f"images of shape {tuple(images.shape)} with {tuple(removed.shape)} for what was removed: (batch, "
            "channels, height, width) and (batch, height, width) were expected"
        )
    colour = torch.as_tensor(fill, dtype=images.dtype, device=images.device)
    return torch.where(removed[:, None], colour.reshape(-1, 1, 1), images)
