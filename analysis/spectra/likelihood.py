"""The exponent of a spectrum by maximum likelihood, at each frequency's own length: right for the smallest maps too.

Whittle (Estimation and information in stationary time series, 1953): the powers of a Gaussian field at different
frequencies are independent and exponential about the spectrum, which here is c |k|^exponent.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analysis.spectra.convention import SpectrumConvention
from analysis.spectra.moments import SpectrumMoments
from analysis.spectra.radial import group_covariance
from priors.errors import InputError

_STEEPEST = 40.0


@dataclass(frozen=True)
class WhittleExponent:
    """power = c |k|^exponent over frequencies.

    Attributes:
        convention: how the spectrum was measured.
        exponent: of the power; negative where it falls towards high frequencies.
        fisher_error: standard error by Fisher information, if all maps were independent Gaussian fields with such a
            spectrum: the least that it could be.
        sandwich_error: standard error over images, whatever their distribution; channels of an image may hang together,
            and no power law need hold. NaN of one image.
        log_scale: log c.
        frequencies: fitted, of the full plane; each but its own negative.
        images: it is of.
        channels: of each, after they were mixed.
        shape: (height, width) of maps, in pixels.
    """

    convention: SpectrumConvention
    exponent: float
    fisher_error: float
    sandwich_error: float
    log_scale: float
    frequencies: int
    images: int
    channels: int
    shape: tuple[int, int]


def whittle(moments: SpectrumMoments, fit_range: tuple[float, float] | None = None) -> WhittleExponent:
    """Fit a power law to the periodogram by maximum likelihood.

    With c at its best value, log c - ... becomes log mean(P |k|^-a) + a mean(log |k|), which is convex in a.

    Args:
        moments: of one image or more, with powers as their quantity, not padded.
        fit_range: in place of the convention's; frequencies that have their length in it are fitted, but for 0 and for
            those of Nyquist's length and above, whose powers are not exponential.

    Raises:
        InputError: no images, values that are not finite, constant maps, power at one length alone, fewer than two
            lengths in the range, or a convention of another quantity, scaled or padded.

    Example:
        >>> from analysis.spectra.fields import power_law_fields
        >>> fields = power_law_fields(200, (8, 8), -2.0, torch.Generator().manual_seed(0))
        >>> found = whittle(SpectrumMoments.none((8, 8)).add(fields))
        >>> round(found.exponent, 1), round(found.fisher_error, 3)
        (-2.0, 0.039)
    """
    convention = moments.finite().convention
    if not has_likelihood(convention):
        raise InputError(
            f"convention {convention.name!r} measures another quantity than power, or pads: Whittle's likelihood is of"
            " the powers of maps as they are, such as those of convention 'power'"
        )
    low, high = convention.fit_range if fit_range is None else fit_range
    grid = moments.grid
    length = grid.length.cpu()
    inside = (length > 0) & (length >= low - 1e-9) & (length <= high + 1e-9) & (length < 0.5 - 1e-9)
    log_k, weight = length[inside].log(), grid.weight.cpu()[inside]
    if len(log_k) < 2 or float(log_k.max() - log_k.min()) < 1e-9:
        raise InputError(f"fewer than two lengths of frequencies lie between {low:.3g} and {high:.3g} cycles per pixel")
    power = moments.power.cpu()[inside] / moments.images
    if not bool(power.any()):
        raise InputError("the maps are constant: a spectrum that is zero has no exponent")
    exponent, log_scale = most_likely(power, log_k, weight)
    channels = moments.channels if convention.channels == "mean" else 1
    centred = log_k - (weight @ log_k) / weight.sum()
    information = moments.images * channels * float(weight @ centred.square()) / 2
    return WhittleExponent(
        convention=replace(convention, fit_range=(low, high)),
        exponent=exponent,
        fisher_error=1 / math.sqrt(information),
        sandwich_error=_sandwich(moments, inside, exponent, log_scale),
        log_scale=log_scale,
        frequencies=int(weight.sum()),
        images=moments.images,
        channels=channels,
        shape=moments.shape,
    )


def has_likelihood(convention: SpectrumConvention) -> bool:
    """Whether what a convention measures are powers of maps as they are, which alone have this likelihood."""
    return convention.quantity == "power" and not convention.scaled and convention.padding == 1


def most_likely(power: Tensor, log_k: Tensor, weight: Tensor) -> tuple[float, float]:
    """The exponent and log c, by halving where the likelihood's derivative changes its sign."""
    centre = (weight @ log_k) / weight.sum()
    logs = (weight * power).log()

    def slope(exponent: float) -> float:
        return float(centre - (logs - exponent * log_k).softmax(0) @ log_k)

    low, high = -_STEEPEST, _STEEPEST
    if not slope(low) < 0 < slope(high):
        raise InputError("the maps have power at one end of the frequencies alone: no power law has it so")
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
        if middle in (low, high) and (low + high) / 2 in (low, high):
            break
    exponent = (low + high) / 2
    scale = (logs - exponent * log_k).logsumexp(0) - weight.sum().log()
    return exponent, float(scale)


def _sandwich(moments: SpectrumMoments, inside: Tensor, exponent: float, log_scale: float) -> float:
    """Error by how images' own scores spread, which are linear in their powers; lengths of a group are taken as one."""
    grid = moments.grid
    member = inside.to(grid.group.device)
    groups = len(grid.ring)
    part = torch.zeros(groups, dtype=torch.float64, device=member.device)
    part = part.index_add_(0, grid.group, grid.weight * member) / grid.count  # of a group may lie in the range
    log_k = grid.log_length
    slopes = torch.stack([torch.ones_like(log_k), log_k], 1)
    by_power = (part * (-log_scale - exponent * log_k).exp())[:, None] * slopes
    bread = (by_power * (moments.total / moments.images)[:, None]).T @ slopes
    meat = by_power.T @ group_covariance(moments) @ by_power
    inverse = torch.linalg.inv(bread.cpu())
    variance = float((inverse @ meat.cpu() @ inverse)[1, 1])
    return math.sqrt(max(variance, 0.0) / moments.images)  # of images that are one and the same it is rounding alone
