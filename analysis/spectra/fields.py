"""Gaussian random fields of a known exponent: what an estimator finds of them is how far it is off."""

import torch
from jaxtyping import Float64
from torch import Tensor

from analysis.spectra.frequencies import half_plane
from priors.checks.draws import gaussians, require_generator
from priors.errors import InputError


def power_law_fields(
    images: int,
    shape: tuple[int, int],
    exponent: float,
    generator: torch.Generator | None = None,
    *,
    channels: int = 1,
    device: torch.device | str | None = None,
) -> Float64[Tensor, "images channels height width"]:
    """Draw periodic Gaussian fields with the power |k|^exponent at each frequency k, and mean 0.

    Args:
        images: how many.
        shape: (height, width) in pixels.
        exponent: of the power: 0 of white noise, about -2 of photographs.
        generator: of the draws, on any device; None: torch's own.
        channels: of each, independent.
        device: of the fields.

    Raises:
        InputError: a size, number or exponent that cannot be, or a generator that is none.

    Example:
        >>> power_law_fields(2, (8, 6), -2.0, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 1, 8, 6])
    """
    require_generator(generator)
    if min(images, channels, *shape) < 1 or not abs(exponent) < float("inf"):
        raise InputError(
            f"{images} fields of {channels} channels, size {shape} and exponent {exponent} cannot be drawn"
        )
    height, width = shape
    noise = gaussians((images, channels, height, width), generator, torch.float64, device)
    transform = torch.fft.rfft2(noise) * power_law(shape, exponent, noise.device).sqrt()
    return torch.fft.irfft2(transform, s=(height, width))


def power_law(
    shape: tuple[int, int], exponent: float, device: torch.device | str | None = None
) -> Float64[Tensor, "height half"]:
    """|k|^exponent over the half plane of `torch.fft.rfft2`, k in cycles per pixel; 0 at k = 0."""
    square = half_plane(shape).square
    square[0, 0] = 1
    power = square ** (exponent / 2)
    power[0, 0] = 0
    return power.to(device)
