"""Strict information discarding (SID): how much noise an image takes before a layer's features move too far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor

from analysis.discarding.closed_form import CONSTANT, deltas, linear_entropy
from analysis.discarding.features import Features, Function, looked_into, require_count, require_positive
from analysis.discarding.grids import Grid, grid_of
from analysis.discarding.sensitivity import PixelSensitivity, moved, sensitivities, smoothed
from analysis.discarding.solver import Search
from priors.errors import InputError, unknown

Method = Literal["solve", "linear"]
Delta = Literal["dataset", "image"]
_OFF = 0.5
"""How far what is achieved may be off 1, beyond five standard errors, before a search counts as failed."""


@dataclass(frozen=True)
class Discarded:
    """The noise of largest entropy that moves features by alpha delta_f^2, and its entropy.

    Attributes:
        entropy: pixel-level SID, H_i = log(sigma_i) + C of equation 2, in nats a value of the image: all values of a
            cell have the same; (batch, c, rows, columns), c being 1 where channels share theirs. NaN where an image
            failed.
        sigma: scales of the noise in units of `deviation`; (batch, c, rows, columns).
        error: standard error of the entropy of one cell, of the draws, in nats; (batch,).
        mean_error: standard error of `mean`; (batch,).
        capped: how many cells are at the cap, since features hang little on them or not at all; (batch,).
        achieved: E ||f' - f||^2 / (alpha delta_f^2), measured by draws of its own; 1 where both are 0; (batch,).
        achieved_error: its standard error; (batch,).
        failed: images whose features or slopes are not finite, or whose search did not end where it should; (batch,).
        delta: delta_f^2; (batch,).
        delta_error: its standard error, of the draws; it shifts all entropies by half of its part of `delta`; (batch,).
        alpha: how far features move, as a part of delta_f^2; in squared units of `deviation`.
        cap: the largest scale.
        method: "solve" or "linear".
        grid: the cells.
        deviation: the unit of noise and alpha, in pixel values; (channels, 1, 1).
    """

    entropy: Float64[Tensor, "batch c rows columns"]
    sigma: Float64[Tensor, "batch c rows columns"]
    error: Float64[Tensor, " batch"]
    mean_error: Float64[Tensor, " batch"]
    capped: Int64[Tensor, " batch"]
    achieved: Float64[Tensor, " batch"]
    achieved_error: Float64[Tensor, " batch"]
    failed: Bool[Tensor, " batch"]
    delta: Float64[Tensor, " batch"]
    delta_error: Float64[Tensor, " batch"]
    alpha: float
    cap: float
    method: str
    grid: Grid
    deviation: Float[Tensor, "channels 1 1"]

    @property
    def mean(self) -> Float64[Tensor, " batch"]:
        """Nats a value of the image: the SID of figures 3 to 5, normalised by the number of pixels."""
        return self.total / self.grid.values

    @property
    def total(self) -> Float64[Tensor, " batch"]:
        """Nats an image: H(X_c) of equation 2."""
        return (self.entropy * self.grid.counts(self.entropy.device)).flatten(1).sum(1)

    @property
    def maps(self) -> Float64[Tensor, "batch channels height width"]:
        """`entropy` at each value of the images."""
        return self.grid.spread(self.entropy)

    @property
    def noise(self) -> Float64[Tensor, "batch channels height width"]:
        """The noise's deviation at each value of the images, in pixel values."""
        return self.grid.spread(self.sigma) * self.deviation

    @property
    def unit(self) -> str:
        """Of alpha, of scales and of entropies: "pixel" values in [0, 1], or "normalised" by `deviation`."""
        return "pixel" if bool((self.deviation == 1).all()) else "normalised"


def discarded_information(
    function: Function,
    images: Shaped[Tensor, "..."],
    *,
    alpha: int | float = 1.5e-4,
    delta: str | int | float | Shaped[Tensor, "..."] = "dataset",
    method: str = "solve",
    grid: int | Sequence[int] | None = 16,
    shared: bool = True,
    deviation: int | float | Sequence[int | float] | Shaped[Tensor, "..."] | None = None,
    cap: int | float = 1.0,
    probes: int = 16,
    steps: int = 60,
    samples: int = 8,
    check: int | None = None,
    seed: int = 0,
    index: Shaped[Tensor, "..."] | Sequence[int] | None = None,
    memory: int = 2**30,
) -> Discarded:
    """Find the noise of largest entropy under which features move by E ||f' - f||^2 = alpha delta_f^2 (equation 2).

    Images x' = x + sigma * N(0, I) stand for all that are the same to a layer. The more noise a pixel takes, the more
    of it the layer discards. All images are worked on at once; each has the noise that its index and the seed give it,
    so that results do not depend on batches but for `delta="dataset"`.

    Args:
        function: from images to features (batch, ...), each image for itself, such as a network in evaluation mode.
        images: (batch, channels, height, width), float32 or float64.
        alpha: how far features may move, in parts of delta_f^2. The paper's 1.5e-4: as far as noise of a deviation of
            .012 would move them.
        delta: delta_f^2 is the mean over these images, "dataset", as the paper says; each one's own, "image", as the
            authors' code has it; or given, one number or one an image, such as `feature_spread(...).mean` of a set.
        method: "solve" meets the constraint as it is, by a search that starts at the closed form. "linear" stops there:
            it takes features to be linear in the noise, for `probes` slopes an image.
        grid: cells along each side that have a scale of their own, one number or (rows, columns); None: a cell a pixel.
            The authors have 16: a pixel's own scale takes many more draws to find.
        shared: whether all channels have one scale, as the authors have it, or each its own.
        deviation: the unit of alpha and of scales, in pixel values, one number or one a channel; None: 1. Give those by
            which a network divides for the normalised unit, which the authors' code has. Entropies are lower by the
            logarithm of the unit.
        cap: the largest scale. 1 is as wide as the range of pixels, and more would mean nothing.
        probes: slopes of random sums an image, for the closed form and delta_f^2.
        steps: of the search. More than the default's 60 of 8 samples take a cell a pixel, and features of few values.
        samples: noisy images a step.
        check: noisy images by which what is achieved is measured, and in each of three rounds the common factor of all
            scales that achieves it; None: 64, and 16 where the method is "linear".
        seed: of the draws.
        index: of each image, such as its position in a data set; None: 0 and up.
        memory: bytes that a pass may take about, beside what is returned; more images are worked on in turn.

    Raises:
        InputError: images, features or options that cannot be, images smaller than the grid, or features that no image
            moves.
    """
    if method not in get_args(Method):
        raise unknown("method", method, get_args(Method))
    if isinstance(delta, str) and delta not in get_args(Delta):
        raise unknown("delta", delta, get_args(Delta), "or give a number, or one an image")
    require_positive("alpha", alpha)
    require_positive("cap", cap)
    require_count("probes", probes)
    require_count("steps", steps)
    require_count("samples", samples)
    check = (16 if method == "linear" else 64) if check is None else check
    require_count("check", check, 2)
    with looked_into(function, images, index, deviation) as features:
        cells = grid_of(features.images.shape[1:], grid, shared)
        found = sensitivities(features, cells, probes, seed, memory)
        begun = _linear(found, float(alpha), delta, float(cap))
        if method == "solve":
            beside = smoothed(features, cells, probes, seed, memory, math.sqrt(alpha))
            begun = _solved(features, begun, beside, Search(steps, samples, check, seed, memory))
        return _measured(features, begun, check, seed, memory)


def _linear(found: PixelSensitivity, alpha: float, delta: str | float | Tensor, cap: float) -> Discarded:
    """The closed form; what it achieves is not measured."""
    failed = ~found.value.flatten(1).isfinite().all(1)
    moves = found.spread[~failed]
    if not len(moves):
        raise InputError("the features or slopes of all images are not finite: look at the network and its inputs")
    if isinstance(delta, str) and not bool((moves > 0).any()):
        raise InputError(
            "the features have no slope at any image: all of each image is discarded, or the layer is dead; look at "
            "another layer"
        )
    own, error = found.spread, found.spread_error
    if isinstance(delta, str) and delta == "dataset":
        own, error = moves.mean().expand_as(own), (found.spread_error[~failed].norm() / len(moves)).expand_as(own)
    elif not isinstance(delta, str):
        own, error = deltas(delta, own), torch.zeros_like(own)
    # An image without any slope has no delta_f^2 of its own: what is asked of it is met by nothing.
    solved = linear_entropy(found, alpha=alpha, delta=own.where(own > 0, torch.ones_like(own)), cap=cap)
    lost = failed[:, None, None, None]
    return Discarded(
        solved.entropy.masked_fill(lost, math.nan),
        solved.sigma.masked_fill(lost, math.nan),
        found.log_error,
        found.mean_log_error,
        solved.capped.masked_fill(failed, 0),
        solved.achieved,
        torch.zeros_like(own),
        failed,
        own,
        error,
        alpha,
        cap,
        "linear",
        found.grid,
        found.deviation,
    )


def _solved(features: Features, found: Discarded, beside: PixelSensitivity, search: Search) -> Discarded:
    """With the scales that the search finds, from the closed form of slopes beside the images.

    An image whose features have no slope anywhere stays at the cap.
    """
    wanted = found.alpha * found.delta.where(found.delta > 0, torch.ones_like(found.delta))
    begun = linear_entropy(beside, alpha=found.alpha, delta=wanted / found.alpha, cap=found.cap)
    solved = search.solved(features, found.grid, begun.sigma, beside.log_error, wanted, found.cap)
    failed = found.failed | ~solved.sigma.flatten(1).isfinite().all(1)
    sigma = solved.sigma.masked_fill(failed[:, None, None, None], math.nan)
    capped = (sigma >= found.cap).flatten(1).sum(1)
    return replace(
        found,
        entropy=sigma.log() + CONSTANT,
        sigma=sigma,
        error=solved.error,
        mean_error=solved.mean_error,
        capped=capped,
        failed=failed,
        method="solve",
    )


def _measured(features: Features, found: Discarded, check: int, seed: int, memory: int) -> Discarded:
    """With how far features move under the noise; what a search did not bring there has failed."""
    scale = found.grid.spread(found.sigma).nan_to_num(0.0).to(features.images.dtype)
    drawn, wanted = moved(features, check, seed, memory, scale), (found.alpha * found.delta)[:, None]
    drawn = (drawn / wanted).masked_fill((drawn == 0) & (wanted == 0), 1.0)
    achieved, error = drawn.mean(1), drawn.std(1) / math.sqrt(check)
    found = replace(found, achieved=achieved, achieved_error=error)
    if found.method == "linear":
        return found
    lost = missed(achieved, error, found.capped, found.grid)
    hidden = lost[:, None, None, None]
    return replace(
        found,
        entropy=found.entropy.masked_fill(hidden, math.nan),
        sigma=found.sigma.masked_fill(hidden, math.nan),
        failed=found.failed | lost,
    )


def missed(
    achieved: Float64[Tensor, " batch"], error: Float64[Tensor, " batch"], capped: Int64[Tensor, " batch"], grid: Grid
) -> Bool[Tensor, " batch"]:
    """Which images' features a search has not brought to where they should be: not all of its scales are at the cap.

    Args:
        achieved: E ||f' - f||^2 / (alpha delta_f^2).
        error: its standard error.
        capped: how many cells are at the cap.
        grid: the cells.
    """
    off = (achieved - 1).abs()
    return ~achieved.isfinite() | ((off > _OFF) & (off > 5 * error) & (capped < math.prod(grid.shape)))
