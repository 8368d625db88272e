"""How far features move with each value of an image: squared norms of the Jacobian's columns.

For v of standard normal numbers, (J^T v)_i squared is s_i = ||column i of J||^2 times a chi-squared number of one
degree of freedom (Hutchinson's estimate). The mean over K of them is right on average; its logarithm is not: of
log(s) / 2 it is off by (psi(K/2) - log(K/2)) / 2. The sum over a cell has more degrees of freedom, up to K times its
values; how many is estimated from how much the K differ.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from analysis.discarding.features import Features, Function, looked_into, require_count, require_positive
from analysis.discarding.grids import Grid, grid_of
from priors.errors import InputError

PROBES, DRAWN, BESIDE = 0, 1, 4
"""Purposes of random numbers."""


@dataclass(frozen=True)
class PixelSensitivity:
    """Sums of the squared Jacobian over cells of images, in squared units of the features per squared unit of noise.

    Attributes:
        value: s of each cell, summed over the values that it holds; (batch, c, rows, columns), c being 1 where channels
            are shared.
        spread: delta_f^2, the squared Frobenius norm of the Jacobian: the sum of `value`; (batch,).
        spread_error: its standard error; (batch,).
        freedom: degrees of freedom of each cell's value, about; (batch,).
        log_bias: how much lower log(value) / 2 is than it should be, on average: 0 or less, in nats; (batch,).
        log_error: standard error of log(value) / 2 of one cell, in nats; (batch,).
        mean_log_error: standard error of its mean over the values of an image, in nats; (batch,).
        probes: K, how many slopes it is made of.
        exact: whether it is no estimate: features of at most K values have their rows of the Jacobian taken one by one.
        grid: the cells.
        deviation: the unit of noise, in pixel values; (channels, 1, 1).
    """

    value: Float64[Tensor, "batch c rows columns"]
    spread: Float64[Tensor, " batch"]
    spread_error: Float64[Tensor, " batch"]
    freedom: Float64[Tensor, " batch"]
    log_bias: Float64[Tensor, " batch"]
    log_error: Float64[Tensor, " batch"]
    mean_log_error: Float64[Tensor, " batch"]
    probes: int
    exact: bool
    grid: Grid
    deviation: Shaped[Tensor, "channels 1 1"]


@dataclass(frozen=True)
class FeatureSpread:
    """delta_f^2 of images: E ||h(x') - h(x)||^2 / tau^2 for x' ~ N(x, tau^2 I), in the limit of a small tau or at one.

    Attributes:
        value: of each image; (batch,).
        error: its standard error, of the draws; (batch,).
        tau: the deviation of the noise; None: the limit, which is the squared Frobenius norm of the Jacobian.
    """

    value: Float64[Tensor, " batch"]
    error: Float64[Tensor, " batch"]
    tau: float | None

    @property
    def mean(self) -> float:
        """Over images: the paper's delta_f^2."""
        return float(self.value.mean())

    @property
    def mean_error(self) -> float:
        """Of that for these images, of the draws alone."""
        return float(self.error.square().sum().sqrt()) / len(self.error)


def pixel_sensitivity(
    function: Function,
    images: Shaped[Tensor, "..."],
    *,
    grid: int | Sequence[int] | None = 16,
    shared: bool = True,
    deviation: int | float | Sequence[int | float] | Shaped[Tensor, "..."] | None = None,
    probes: int = 16,
    seed: int = 0,
    index: Shaped[Tensor, "..."] | Sequence[int] | None = None,
    memory: int = 2**30,
) -> PixelSensitivity:
    """Measure how far features move with the values of each cell of an image: s, summed over the cell.

    Args:
        function: from images to features (batch, ...), each image for itself, such as a network in evaluation mode.
        images: (batch, channels, height, width), float32 or float64.
        grid: cells along each side, one number or (rows, columns); None: each pixel is one. 16 as the authors have it.
        shared: whether all channels of a pixel are in one cell, as the authors have it.
        deviation: the unit of changes, in pixel values, one number or one a channel; None: 1. With the deviations by
            which a network divides, changes are of normalised values.
        probes: K, the slopes that are taken; a pass back each.
        seed: of the draws.
        index: of each image, such as its position in a data set: with the seed it says what is drawn for it, whatever
            else is in the batch; None: 0 and up.
        memory: bytes that a pass may take about, beside what is returned; more images are worked on in turn.

    Raises:
        InputError: images, features or options that cannot be, or images smaller than the grid.
    """
    require_count("probes", probes)
    with looked_into(function, images, index, deviation) as features:
        cells = grid_of(features.images.shape[1:], grid, shared)
        return sensitivities(features, cells, probes, seed, memory)


def sensitivities(features: Features, grid: Grid, probes: int, seed: int, memory: int) -> PixelSensitivity:
    """The same of features that were checked."""
    exact = features.size <= probes
    kept = 8 * math.prod(grid.shape) * (features.size if exact else probes) * 3 + 24 * grid.values
    parts = [
        _estimated(_slopes(features.rows(some), grid, probes, seed, exact), grid, exact)
        for some in features.chunks(memory, draws=0 if exact else features.size, kept=kept)
    ]
    joined = (torch.cat(own) for own in zip(*parts, strict=True))
    return PixelSensitivity(*joined, probes, exact, grid, features.deviation)


def _slopes(features: Features, grid: Grid, probes: int, seed: int, exact: bool) -> Float64[Tensor, "k batch c h w"]:
    """Squares of J^T v, summed over each cell, for each v; where it is exact, of each row of J."""
    leaf, found = features.images.clone().requires_grad_(), []
    count = features.size if exact else probes
    with torch.enable_grad():
        given = features(leaf)
    for number in range(count):
        if exact:
            along = torch.zeros_like(given)
            along[:, number] = 1
        else:
            along = features.normal(seed, PROBES, number, features.size).to(given.dtype)
        (slope,) = torch.autograd.grad(given, leaf, along, retain_graph=number + 1 < count)
        found.append(grid.summed((slope * features.deviation).double().square()))
    return torch.stack(found)


def smoothed(features: Features, grid: Grid, probes: int, seed: int, memory: int, scale: float) -> PixelSensitivity:
    """The same of noisy images, each slope at one of its own: what cells do that happen to be flat at the image.

    Args:
        features: the function and the images.
        grid: the cells.
        probes: slopes of random sums.
        seed: of the draws.
        memory: bytes that a pass may take about.
        scale: the deviation of the noise, in the features' unit.
    """
    shape, parts = features.images.shape[1:], []
    kept = 24 * probes * math.prod(grid.shape) + 24 * grid.values
    for some in features.chunks(memory, draws=features.size + shape.numel(), kept=kept):
        own, found = features.rows(some), []
        for number in range(probes):
            noise = own.normal(seed, BESIDE, 2 * number, *shape)
            leaf = (own.images + scale * own.deviation * noise).requires_grad_()
            with torch.enable_grad():
                given = own(leaf)
                along = own.normal(seed, BESIDE, 2 * number + 1, own.size).to(given.dtype)
                (slope,) = torch.autograd.grad(given, leaf, along)
            found.append(grid.summed((slope * own.deviation).double().square()))
        parts.append(_estimated(torch.stack(found), grid, False))
    joined = (torch.cat(own) for own in zip(*parts, strict=True))
    return PixelSensitivity(*joined, probes, False, grid, features.deviation)


def _estimated(squares: Float64[Tensor, "k batch c h w"], grid: Grid, exact: bool) -> tuple[Tensor, ...]:
    """The tensors of a `PixelSensitivity`, in their order."""
    if exact:
        value = squares.sum(0)
        none = value.new_zeros(len(value))
        return value, value.flatten(1).sum(1), none, none + torch.inf, none, none, none
    count, value = len(squares), squares.mean(0)
    spread = squares.flatten(2).sum(2)
    freedom = count * _freedom(squares, grid)
    log_bias = (torch.digamma(freedom / 2) - (freedom / 2).log()) / 2
    log_error = torch.polygamma(1, freedom / 2).sqrt() / 2
    weights = (grid.counts(value.device) / grid.values).flatten()
    if count == 1:
        spread_error, mean_error = spread[0] * math.sqrt(2), log_error
    else:
        spread_error = spread.std(0) / math.sqrt(count)
        without = (value * count - squares) / value / (count - 1)  # by the jackknife: each v left out in turn
        logs = without.clamp_min(torch.finfo(without.dtype).tiny).nan_to_num(1.0).log().flatten(2) @ weights
        mean_error = logs.std(0) * (count - 1) / (2 * math.sqrt(count))
    return value, spread.mean(0), spread_error, freedom, log_bias, log_error, mean_error


def _freedom(squares: Float64[Tensor, "k batch c h w"], grid: Grid) -> Float64[Tensor, " batch"]:
    """Degrees of freedom of one v's value in a cell, 2 mean^2 / variance: 1 where a cell is one value."""
    count, values = len(squares), grid.values / math.prod(grid.shape)
    one = squares.new_ones(squares.shape[1])
    if values <= 1 or count == 1:
        return one
    variance, mean = torch.var_mean(squares, 0)
    square = (mean.square() - variance / count).flatten(1).sum(1)
    found = 2 * square / variance.flatten(1).sum(1)
    return torch.where(found.isfinite(), found, one).clamp(1, values)


def feature_spread(
    function: Function,
    images: Shaped[Tensor, "..."] | Iterable[Shaped[Tensor, "..."]],
    *,
    tau: int | float | None = None,
    samples: int = 16,
    deviation: int | float | Sequence[int | float] | Shaped[Tensor, "..."] | None = None,
    seed: int = 0,
    index: Shaped[Tensor, "..."] | Sequence[int] | None = None,
    memory: int = 2**30,
) -> FeatureSpread:
    """Measure delta_f^2, by which the range of features is made comparable between layers (under equation 5).

    Its limit is the squared Frobenius norm of the Jacobian, estimated by as many slopes of random sums as `samples`
    says. At a finite tau it is the mean over noisy images instead; the authors' code has 8 of these, at tau = .01. The
    paper averages it over all images of a data set, which is `mean`; batches of a set may be given one after another.

    Args:
        function: as for `pixel_sensitivity`.
        images: (batch, channels, height, width), or batches of them.
        tau: the deviation of the noise, in units of `deviation`; None: the limit.
        samples: slopes, or noisy images, for each image.
        deviation: the unit of noise, in pixel values; as for `pixel_sensitivity`.
        seed: of the draws.
        index: of each image, of all batches; None: 0 and up.
        memory: bytes that a pass may take about.

    Raises:
        InputError: images, features or options that cannot be, or no images.
    """
    require_count("samples", samples)
    if tau is not None:
        require_positive("tau", tau)
    parts, at = [], 0
    for batch in (images,) if isinstance(images, Tensor) else images:
        numbers = range(at, at + len(batch)) if index is None else index[at : at + len(batch)]
        with looked_into(function, batch, torch.as_tensor(numbers), deviation) as features:
            if tau is None:
                whole = grid_of(features.images.shape[1:], 1, True)
                found = sensitivities(features, whole, samples, seed, memory)
                parts.append((found.spread, found.spread_error))
            else:
                drawn = moved(features, samples, seed, memory, float(tau)) / tau**2
                error = drawn.std(1) / math.sqrt(samples) if samples > 1 else drawn[:, 0] * torch.nan
                parts.append((drawn.mean(1), error))
        at += len(batch)
    if not parts:
        raise InputError("there are no images: batches of them were expected")
    value, error = (torch.cat(own) for own in zip(*parts, strict=True))
    return FeatureSpread(value, error, None if tau is None else float(tau))


def moved(
    features: Features,
    samples: int,
    seed: int,
    memory: int,
    scale: float | Tensor,
    purpose: int = DRAWN,
    first: int = 0,
) -> Float64[Tensor, "batch samples"]:
    """||h(x') - h(x)||^2 of noisy images.

    Args:
        features: h and the images.
        samples: noisy images of each.
        seed: of the draws.
        memory: bytes that a pass may take about.
        scale: deviations of the noise in the features' units, one number or (batch, channels, height, width).
        purpose: of the draws.
        first: number of the first draw.
    """
    found = []
    shape = features.images.shape[1:]
    for some in features.chunks(memory, draws=shape.numel()):
        own = features.rows(some)
        wide = own.deviation * (scale[some] if isinstance(scale, Tensor) else scale)
        with torch.no_grad():
            still = own(own.images)
            drawn = [
                (own(own.images + wide * own.normal(seed, purpose, step, *shape)) - still).double().square().sum(1)
                for step in range(first, first + samples)
            ]
        found.append(torch.stack(drawn, 1))
    return torch.cat(found)
