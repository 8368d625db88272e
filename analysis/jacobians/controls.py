"""Maps that know nothing of a network, and blurred ones: what a benchmark of saliency has to tell from real maps."""

import math

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.nn import functional

from priors.checks.floats import at_least_float32
from priors.errors import InputError

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""
_REACH = 4.0
"""Deviations at which a Gaussian is cut off."""
_STEP, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
"""The constants of SplitMix64 (Steele, Lea and Flood 2014), as signed numbers."""


def uniform_draws(seed: int, index: Int64[Tensor, " batch"], *shape: int) -> Float[Tensor, "batch ..."]:
    """Numbers in [0, 1) that hang on the seed, the image's index and the place alone.

    They are the same on every device, whatever else is in the batch. They are made by mixing the bits of a counter
    (SplitMix64), each with 24 random bits.

    Args:
        seed: other seeds give other numbers.
        index: of the images, such as their positions in a data set; 0 or more.
        shape: of the numbers of one image.

    Example:
        >>> whole = uniform_draws(0, torch.arange(5), 2, 3)
        >>> bool((uniform_draws(0, torch.tensor([3]), 2, 3) == whole[3:4]).all())
        True
    """
    places = torch.arange(math.prod(shape), device=index.device)
    start = torch.full((), _signed(seed), device=index.device)
    own = _mixed(_mixed(start) + (index + 1) * _STEP)
    bits = _mixed(own[:, None] + (places + 1) * _STEP)
    return (_shifted(bits, 40).float() / 2**24).view(len(index), *shape)


def normal_draws(seed: int, index: Int64[Tensor, " batch"], *shape: int) -> Float[Tensor, "batch ..."]:
    """Standard normal numbers, likewise, by Box and Muller's transform; to rounding the same on every device."""
    first, second = uniform_draws(seed, index, 2, *shape).unbind(1)
    return (-2 * (1 - first).log()).sqrt() * (2 * math.pi * second).cos()


def random_maps(seed: int, index: Int64[Tensor, " batch"], height: int, width: int) -> Float[Tensor, "batch h w"]:
    """A random order of pixels for each image, drawn once: the maps of `uniform_draws`."""
    return uniform_draws(seed, index, height, width)


def central_map(height: int, width: int, spread: int | float = 0.25) -> Float[Tensor, "{height} {width}"]:
    """A Gaussian about the middle of an image, 1 at its peak: where photographers put what they take.

    Args:
        height: of the image.
        width: of the image.
        spread: the Gaussian's standard deviation along each side, as a part of that side, above 0.

    Raises:
        InputError: no such deviation.

    Example:
        >>> central_map(3, 5, 1)[1, 2].item(), bool((central_map(8, 4) == central_map(8, 4).flip(0, 1)).all())
        (1.0, True)
    """
    if not (math.isfinite(spread) and spread > 0):
        raise InputError(f"spread {spread:g}: a part of each side above 0 was expected")
    rows, columns = (((torch.arange(side) + 0.5) / side - 0.5) / spread for side in (height, width))
    return (-0.5 * (rows.square()[:, None] + columns.square())).exp()


def sobel_maps(images: Shaped[Tensor, "..."]) -> Float[Tensor, "batch height width"]:
    """How steep an image is at each pixel: the length of Sobel's gradient of its grey image.

    Three channels count as red, green and blue; others are averaged. Beyond the edges an image goes on as its last
    pixels.

    Args:
        images: (batch, channels, height, width).

    Raises:
        InputError: images of whole numbers, or of another shape.
    """
    images = at_least_float32(images, "images")
    if images.ndim != 4:
        raise InputError(f"images are of shape {tuple(images.shape)}: (batch, channels, height, width) was expected")
    if images.shape[1] == 3:
        weights = images.new_tensor(_LUMA)
    else:
        weights = images.new_full((images.shape[1],), 1 / images.shape[1])
    grey = functional.pad((images * weights[:, None, None]).sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    right, down = grey[..., 2:] - grey[..., :-2], grey[..., 2:, :] - grey[..., :-2, :]
    across = right[..., :-2, :] + 2 * right[..., 1:-1, :] + right[..., 2:, :]
    along = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    return (across.square() + along.square()).sqrt().squeeze(1)


def blurred_maps(maps: Shaped[Tensor, "..."], sigma: int | float) -> Float[Tensor, "batch height width"]:
    """Maps that are smoothed by a Gaussian; near the edges it has its weight on the pixels that there are.

    Args:
        maps: of any kind, (batch, height, width).
        sigma: the Gaussian's standard deviation in pixels, above 0.

    Raises:
        InputError: no such deviation, or maps of whole numbers or of another shape.
    """
    maps = at_least_float32(maps, "maps")
    if maps.ndim != 3:
        raise InputError(f"maps are of shape {tuple(maps.shape)}: (batch, height, width) was expected")
    if not (math.isfinite(sigma) and sigma > 0):
        raise InputError(f"sigma {sigma:g}: a number of pixels above 0 was expected")
    _, height, width = maps.shape
    return _gaussian(height, sigma, maps) @ maps @ _gaussian(width, sigma, maps).T


def _gaussian(size: int, sigma: float, like: Tensor) -> Tensor:
    """The smoothing along one axis: a matrix whose rows sum to 1."""
    places = torch.arange(size, device=like.device, dtype=torch.float64)
    distance = (places[:, None] - places).abs()
    weights = (-0.5 * (distance / sigma).square()).exp() * (distance <= max(1.0, _REACH * sigma))
    return (weights / weights.sum(1, keepdim=True)).to(like.dtype)


def _signed(number: int) -> int:
    """The same 64 bits as a signed number."""
    number &= 2**64 - 1
    return number - 2**64 if number >= 2**63 else number


def _shifted(bits: Tensor, by: int) -> Tensor:
    """To the right, with zeros coming in."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mixed(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser: each bit of a number changes half of the result's."""
    bits = (bits ^ _shifted(bits, 30)) * _FIRST
    bits = (bits ^ _shifted(bits, 27)) * _SECOND
    return bits ^ _shifted(bits, 31)
