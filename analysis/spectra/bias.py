"""How far an exponent is off at a size: what the estimators find of fields whose exponent is known."""

import math
from dataclasses import dataclass

import torch

from analysis.spectra.convention import SPECTRUM_CONVENTIONS, SpectrumConvention
from analysis.spectra.fields import power_law_fields
from analysis.spectra.likelihood import has_likelihood, whittle
from analysis.spectra.moments import SpectrumMoments
from analysis.spectra.radial import radial_spectrum
from analysis.spectra.regression import regression_exponent
from priors.errors import InputError


@dataclass(frozen=True)
class ExponentBias:
    """What was found of fields with a known exponent, less that exponent: both of the power's.

    Attributes:
        shape: (height, width) of the fields, in pixels.
        exponent: that they have.
        fields: how many.
        regression: bias of `regression_exponent`; NaN where it has too few rings, or the convention no exponent.
        regression_error: standard error of that number, over fields.
        whittle: bias of `whittle`, by the convention where that measures powers of maps as they are, else by "power".
        whittle_error: standard error of that number.
    """

    shape: tuple[int, int]
    exponent: float
    fields: int
    regression: float
    regression_error: float
    whittle: float
    whittle_error: float


def exponent_bias(
    shape: tuple[int, int],
    exponent: float,
    convention: SpectrumConvention = SPECTRUM_CONVENTIONS["power"],
    *,
    fields: int = 200,
    generator: torch.Generator | None = None,
) -> ExponentBias:
    """Measure it on Gaussian random fields of that size, with the exponent that was found of maps.

    Fields go on over their edges, as maps do not: what edges add to a spectrum is no part of it.

    Args:
        shape: (height, width) in pixels.
        exponent: of the power.
        convention: of both; its weights of channels are left aside.
        fields: how many, 2 or more.
        generator: of the draws; None: the same ones at each call, which leave torch's own as they are.

    Raises:
        InputError: a size below 5x5, fewer than two fields, or a fit range of fewer than two lengths.

    Example:
        >>> found = exponent_bias((8, 8), -2.0)
        >>> abs(found.whittle) < 2 * found.whittle_error
        True
    """
    if fields < 2:
        raise InputError(f"{fields} fields: 2 or more were expected")
    drawn = power_law_fields(fields, shape, exponent, generator or torch.Generator().manual_seed(0))
    options = {name: getattr(convention, name) for name in vars(convention) if name != "channels"}
    moments = SpectrumMoments.none(shape, SpectrumConvention(**options)).add(drawn)
    try:
        line = regression_exponent(radial_spectrum(moments))
        regression = line.power_exponent - exponent, line.sampling_error
    except InputError:
        regression = math.nan, math.nan
    likely = whittle(moments if has_likelihood(convention) else SpectrumMoments.none(shape).add(drawn))
    return ExponentBias(shape, exponent, fields, *regression, likely.exponent - exponent, likely.sandwich_error)
