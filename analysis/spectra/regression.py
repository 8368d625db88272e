"""The exponent of a spectrum by a weighted straight line through the logarithms of its rings."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from analysis.spectra.convention import SpectrumConvention
from analysis.spectra.radial import RadialSpectrum
from priors.errors import InputError

RINGS = 4
"""Least rings of a regression: two numbers are fitted, and two are left to say how well."""


@dataclass(frozen=True)
class RegressionExponent:
    """value = c |k|^exponent over rings: equation 1 of Rotman and Wolf (2021).

    Attributes:
        convention: how the spectrum was measured, and the fit weighted.
        exponent: of the convention's quantity; negative where it falls towards high frequencies.
        standard_error: of the exponent by how rings scatter about the line, which is wrong where the spectrum is none.
        sampling_error: of the exponent over images, by the spread of their spectra; NaN of one image.
        log_scale: log c.
        rings: fitted.
        lowest: frequency of those, in cycles per pixel.
        highest: frequency of those, in cycles per pixel.
        images: it is of.
        channels: of each.
        shape: (height, width) of maps, in pixels.
    """

    convention: SpectrumConvention
    exponent: float
    standard_error: float
    sampling_error: float
    log_scale: float
    rings: int
    lowest: float
    highest: float
    images: int
    channels: int
    shape: tuple[int, int]

    @property
    def power_exponent(self) -> float:
        """What it says of the mean power, by which conventions compare: a ring sum's is 1 higher, an amplitude's half.

        Rings have 2 pi |k| frequencies only about, so that the first is no exact matter.
        """
        mean = self.exponent - (self.convention.reduction == "sum")
        return 2 * mean if self.convention.quantity == "amplitude" else mean


def regression_exponent(spectrum: RadialSpectrum, fit_range: tuple[float, float] | None = None) -> RegressionExponent:
    """Fit a power law to the rings of a spectrum.

    A ring enters by the mean log |k| of its frequencies: by its number, exponents of small maps would be off by .1 to
    .4. What is left at 8 pixels is still about .1; `analysis.whittle` has none of it.

    Args:
        spectrum: as `radial_spectrum` gives it.
        fit_range: in place of the convention's; rings are in it by the frequency they are named by.

    Raises:
        InputError: fewer than four rings in the range, a ring without power, or a spectrum scaled to [0, 1].
    """
    convention = spectrum.convention
    low, high = convention.fit_range if fit_range is None else fit_range
    if convention.scaled:
        raise InputError(f"the spectrum of convention {convention.name!r} is scaled image by image: it has no exponent")
    inside = ((spectrum.ring >= low - 1e-9) & (spectrum.ring <= high + 1e-9)).cpu()
    rings = int(inside.sum())
    if rings < RINGS:
        height, width = spectrum.shape
        raise InputError(
            f"maps of {height}x{width} pixels have {rings} ring{'' if rings == 1 else 's'} between {low:.3g} and"
            f" {high:.3g} cycles per pixel:"
            f" {RINGS} or more were expected for a regression; `whittle` needs none"
        )
    inside = inside.to(spectrum.value.device)
    x, y = spectrum.frequency.log()[inside].cpu(), spectrum.value[inside].cpu()
    ends, covariance = spectrum.ring[inside].cpu(), spectrum.covariance[inside][:, inside].cpu()
    weight = spectrum.count[inside].cpu() if convention.fit_weights == "count" else torch.ones_like(x)
    if convention.quantity != "log":
        _require_power(y, ends)
        covariance, y = covariance / torch.outer(y, y), y.log()
    line, response, error = _line(x, y, weight)
    if convention.fit_scale == "linear":
        line, response, error = _curve(x, y, weight, line)
    return RegressionExponent(
        convention=convention,
        exponent=float(line[1]),
        standard_error=error,
        sampling_error=float((response @ covariance @ response).sqrt()),
        log_scale=float(line[0]),
        rings=rings,
        lowest=float(ends[0]),
        highest=float(ends[-1]),
        images=spectrum.images,
        channels=spectrum.channels,
        shape=spectrum.shape,
    )


def _require_power(values: Tensor, rings: Tensor) -> None:
    if not bool(values.any()):
        raise InputError("the maps are constant: a spectrum that is zero has no exponent")
    if bool((values <= 0).any()):
        ring = float(rings[values <= 0][0])
        raise InputError(f"the maps have no power at {ring:.3g} cycles per pixel: leave it out of the fit range")


Fit = tuple[Float64[Tensor, " two"], Float64[Tensor, " rings"], float]
"""Log c and exponent; the exponent's derivatives by the logarithms; its standard error."""


def _line(x: Tensor, y: Tensor, weight: Tensor) -> Fit:
    """Weighted least squares of logarithms."""
    centre = (weight @ x) / weight.sum()
    response = weight * (x - centre)
    spread = response @ (x - centre)
    response = response / spread
    slope = response @ y
    scale = (weight @ y) / weight.sum() - slope * centre
    variance = weight @ (y - scale - slope * x).square() / (len(x) - 2)
    return torch.stack([scale, slope]), response, math.sqrt(float(variance / spread))


def _curve(x: Tensor, y: Tensor, weight: Tensor, start: Tensor) -> Fit:
    """Weighted least squares of the values exp(y) themselves, by Gauss and Newton from the line of the logarithms."""
    top = y.max()
    values, found = (y - top).exp(), start - torch.stack([top, torch.zeros_like(top)])
    for _ in range(50):
        fitted = (found[0] + found[1] * x).exp()
        slopes = fitted[:, None] * torch.stack([torch.ones_like(x), x], 1)
        inverse = torch.linalg.inv(slopes.T @ (weight[:, None] * slopes))
        by_values = inverse @ (slopes * weight[:, None]).T
        found = found + by_values @ (values - fitted)
    variance = weight @ (values - fitted).square() / (len(x) - 2)
    line = found + torch.stack([top, torch.zeros_like(top)])
    return line, by_values[1] * values, math.sqrt(float(variance * inverse[1, 1]))
