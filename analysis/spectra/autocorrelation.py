"""How alike pixels are by their distance: the other side of a power spectrum (Wiener and Khinchin)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from analysis.spectra.fields import power_law
from analysis.spectra.frequencies import frequency_grid
from analysis.spectra.moments import SpectrumMoments
from priors.errors import InputError


@dataclass(frozen=True)
class RadialAutocorrelation:
    """Correlation of two pixels, averaged over directions.

    Attributes:
        shape: (height, width) of maps, in pixels; what leaves a map comes in on its other side.
        distance: (distances,) mean distance of the pairs that each value is of, in pixels, from 0.
        value: (distances,) correlation; 1 at distance 0.
        length: the correlation length, the first distance at which the correlation is 1/e, in pixels, on straight lines
            between values; infinite where it stays above.
    """

    shape: tuple[int, int]
    distance: Float64[Tensor, " distances"]
    value: Float64[Tensor, " distances"]
    length: float


def radial_autocorrelation(moments: SpectrumMoments) -> RadialAutocorrelation:
    """That of maps, from the sums of their powers.

    Args:
        moments: of one image or more, without padding; a window or a mean taken out is part of it.

    Raises:
        InputError: no images, values that are not finite, constant maps, or a convention that pads.
    """
    if moments.finite().convention.padding > 1:
        raise InputError("the convention pads maps with zeros: correlations would be those of the zeros as well")
    power = moments.power.view(moments.grid.shape[0], -1) / moments.images
    if not bool(power.any()):
        raise InputError("the maps are constant: they have no correlations")
    return _radial(power, moments.shape)


def implied_autocorrelation(exponent: float, shape: tuple[int, int]) -> RadialAutocorrelation:
    """That of maps with the power |k|^exponent, no more and no less.

    Between pixels and the size of a map it is C_1 + C_2 r^-(2 + exponent): equation 2 of Rotman and Wolf (2021), after
    Ruderman (Origins of scaling in natural images, 1997). C_1 is what takes the mean to 0.

    Args:
        exponent: of the power.
        shape: (height, width) in pixels.

    Raises:
        InputError: fewer than 5 pixels on a side, or an exponent that is not finite.

    Example:
        >>> [round(implied_autocorrelation(exponent, (32, 32)).length, 1) for exponent in (0.0, -1.0, -2.0, -3.0)]
        [0.8, 1.0, 2.6, 5.7]
    """
    if not math.isfinite(exponent):
        raise InputError(f"exponent is {exponent}: a finite number was expected")
    frequency_grid(shape)  # which are large enough
    return _radial(power_law(shape, exponent), shape)


def _radial(power: Tensor, shape: tuple[int, int]) -> RadialAutocorrelation:
    height, width = shape
    full = torch.fft.irfft2(torch.complex(power, torch.zeros_like(power)), s=(height, width)).flatten()
    y, x = (torch.fft.fftfreq(size, 1 / size, dtype=torch.float64, device=power.device) for size in (height, width))
    apart = (y[:, None].square() + x.square()).sqrt().flatten()
    place = (apart + 0.5).floor().long()
    kept = min(height, width) // 2 + 1
    count, distance, value = (
        power.new_zeros(height + width).index_add_(0, place, one)[:kept]
        for one in (torch.ones_like(apart), apart, full)
    )
    distance, value = distance / count, value / count / full[0]
    return RadialAutocorrelation((height, width), distance, value, _first_at(distance, value, 1 / math.e))


def _first_at(distance: Tensor, value: Tensor, level: float) -> float:
    """The first distance at which the broken line through the values comes down to a level."""
    below = (value <= level).nonzero().flatten().tolist()
    if not below:
        return math.inf
    r, c = distance.tolist(), value.tolist()
    last = below[0]
    return r[last - 1] + (c[last - 1] - level) / (c[last - 1] - c[last]) * (r[last] - r[last - 1])
