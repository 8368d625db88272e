"""The rotationally averaged power spectrum: one value a ring of frequencies, and how sure it is."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from analysis.spectra.convention import SpectrumConvention
from analysis.spectra.moments import SpectrumMoments


@dataclass(frozen=True)
class RadialSpectrum:
    """A spectrum over rings 1, 2, ... up to the corner.

    Attributes:
        convention: how it was measured.
        shape: (height, width) of maps, in pixels.
        images: it is of.
        channels: of each.
        ring: (rings,) the frequency that each ring is named by, in cycles per pixel.
        frequency: (rings,) exp of the mean log |k| of its frequencies, in cycles per pixel.
        count: (rings,) frequencies of the full plane.
        value: (rings,) the mean or sum of the convention's quantity; 0 of constant maps, but for logarithms.
        covariance: (rings, rings) of those values, as estimates over images; NaN of one image.
    """

    convention: SpectrumConvention
    shape: tuple[int, int]
    images: int
    channels: int
    ring: Float64[Tensor, " rings"]
    frequency: Float64[Tensor, " rings"]
    count: Float64[Tensor, " rings"]
    value: Float64[Tensor, " rings"]
    covariance: Float64[Tensor, "rings rings"]

    @property
    def standard_error(self) -> Float64[Tensor, " rings"]:
        """Of each value, over images."""
        return self.covariance.diagonal().sqrt()


def radial_spectrum(moments: SpectrumMoments) -> RadialSpectrum:
    """Read the spectrum off a sweep's moments.

    Args:
        moments: of one image or more.

    Raises:
        InputError: no images, or maps with values that are not finite.

    Example:
        >>> maps = torch.randn(1000, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> found = radial_spectrum(SpectrumMoments.none((16, 16)).add(maps))
        >>> [round(value, 1) for value in found.value[:4].tolist()]
        [1.0, 1.0, 1.0, 1.0]
    """
    grid, images = moments.finite().grid, moments.images
    mean = moments.total / images
    spread = group_covariance(moments)
    count = grid.over_rings(grid.count)
    value, share = grid.over_rings(mean) / count, 1 / count
    if moments.convention.reduction == "sum" and moments.convention.quantity == "log":
        value = value + count.log()  # of the sum of powers that all are what their logarithms' mean says
    elif moments.convention.reduction == "sum":
        value, share = value * count, torch.ones_like(count)
    over = grid.over_rings(grid.over_rings(spread).T.contiguous())
    return RadialSpectrum(
        convention=moments.convention,
        shape=moments.shape,
        images=images,
        channels=moments.channels,
        ring=torch.arange(1, len(count) + 1, dtype=torch.float64, device=count.device) / grid.side,
        frequency=(grid.over_rings(grid.count * grid.log_length) / count).exp(),
        count=count,
        value=value,
        covariance=share[:, None] * over * share / images,
    )


def group_covariance(moments: SpectrumMoments) -> Float64[Tensor, "groups groups"]:
    """Of one image's sums over groups; NaN of one image."""
    images, mean = moments.images, moments.total / moments.images
    if images < 2:
        return torch.full_like(moments.square, torch.nan)
    spread = (moments.square / images - torch.outer(mean, mean)) * (images / (images - 1))
    floor = torch.zeros_like(mean)  # rounding takes a variance below 0 where all images are alike
    return spread + torch.diag(floor.maximum(-spread.diagonal()))
