"""What is read off a pass's sums: each spectrum, its exponent by both estimators, and their bias at a size."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from analysis.spectra.autocorrelation import implied_autocorrelation, radial_autocorrelation
from analysis.spectra.bias import ExponentBias, exponent_bias
from analysis.spectra.convention import SpectrumConvention
from analysis.spectra.likelihood import WhittleExponent, whittle
from analysis.spectra.radial import RadialSpectrum, radial_spectrum
from analysis.spectra.regression import RegressionExponent, regression_exponent
from apps.spectra.measuring import Key, Sums
from priors.errors import InputError

FIELDS = 2000
"""By which biases are measured: their own errors are .012 at 8 pixels, .005 at 16 and .002 at 32; a tenth beyond."""
_LARGEST_MEASURED = 64
"""Pixels of the shorter side up to which biases are measured: beyond, they are far below .01."""


@dataclass(frozen=True)
class MapSpectrum:
    """The spectrum of one kind of map.

    Attributes:
        key: of which maps.
        channels: of each.
        shape: (height, width), in pixels.
        images: it is of.
        spectrum: over rings, by the convention that was asked for.
        variance: mean power over all frequencies but 0: what the spectrum of white maps would be.
        regression: None where there is none.
        likely: by Whittle's likelihood; None where there is none.
        bias: of both, of Gaussian fields of this size and exponent; None of large maps, or without an exponent.
        length: distance at which the pixels' correlation is 1/e, in pixels; NaN where that cannot be told.
        implied_length: the same of maps with this power law alone.
        without: why an exponent is missing.
    """

    key: Key
    channels: int
    shape: tuple[int, int]
    images: int
    spectrum: RadialSpectrum
    variance: float
    regression: RegressionExponent | None
    likely: WhittleExponent | None
    bias: ExponentBias | None
    length: float
    implied_length: float
    without: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the maps, in words."""
        return f"{self.key.of}{', pooled' if self.key.pooled else ''}{f', {self.key.group}' if self.key.group else ''}"

    @property
    def exponent(self) -> float:
        """By likelihood; NaN where there is none."""
        return math.nan if self.likely is None else self.likely.exponent

    @property
    def error(self) -> float:
        """Of that, over images; by Fisher information where there is one image."""
        if self.likely is None:
            return math.nan
        over = self.likely.sandwich_error
        return over if math.isfinite(over) else self.likely.fisher_error


def read(sums: Mapping[Key, Sums], with_bias: bool = True) -> dict[Key, MapSpectrum]:
    """Read spectra and exponents off sums.

    Args:
        sums: of one image or more.
        with_bias: whether biases are measured.

    Raises:
        InputError: maps with values that are not finite.
    """
    return {key: _read(key, one, with_bias and not key.group) for key, one in sums.items()}


def _read(key: Key, sums: Sums, with_bias: bool) -> MapSpectrum:
    try:
        spectrum = radial_spectrum(sums.own)
    except InputError as error:
        raise InputError(f"{key.of}: {error}") from None
    without: list[str] = []
    regression = _tried(lambda: regression_exponent(spectrum), without)
    likely = _tried(lambda: whittle(sums.likely), without)
    moments = sums.likely
    weight = moments.grid.weight[1:]
    small = likely is not None and with_bias and min(moments.shape) <= _LARGEST_MEASURED
    return MapSpectrum(
        key=key,
        channels=sums.own.channels,
        shape=moments.shape,
        images=moments.images,
        spectrum=spectrum,
        variance=float(moments.power[1:] @ weight / weight.sum()) / moments.images,
        regression=regression,
        likely=likely,
        bias=_bias(moments.shape, round(likely.exponent, 1), replace(sums.own.convention, channels="mean"))
        if small
        else None,
        length=math.nan if likely is None else radial_autocorrelation(moments).length,
        implied_length=math.nan if likely is None else implied_autocorrelation(likely.exponent, moments.shape).length,
        without=tuple(dict.fromkeys(without)),
    )


@cache
def _bias(shape: tuple[int, int], exponent: float, convention: SpectrumConvention) -> ExponentBias:
    return exponent_bias(shape, exponent, convention, fields=FIELDS if min(shape) <= 32 else FIELDS // 10)


def _tried(find, without: list[str]):
    """What it finds; where there is none, why goes to the list."""
    try:
        return find()
    except InputError as error:
        without.append(str(error))
        return None
