"""The noise under which reconstructions are most uncertain: a search along slopes, under a constraint."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from analysis.discarding.closed_form import CONSTANT
from analysis.discarding.features import Features, Function
from analysis.discarding.information import Discarded, missed
from analysis.discarding.sensitivity import moved
from priors.errors import InputError, shown

Decoder = Callable[[Tensor], Tensor]
"""From features, as the function gives them, to images (batch, channels, height, width)."""

SEARCHED, BROUGHT, ACHIEVED, MEASURED = 5, 6, 7, 8
"""Purposes of random numbers, beside those of sensitivities and of SID."""
_SMALLEST = 1e-12
"""Squared errors count as this at least: a value that no feature moves would have the logarithm of 0."""
_CLOSE, _TRIES = 1e-3, 6
"""How near to alpha delta_f^2 features are brought to move, by so many measurements at most."""
_FOLLOWED = 0.3
"""Part of what a step finds about the Lagrange multiplier that is taken over."""
_BETAS = (0.9, 0.99)
"""Of Adam: a search has tens of steps, not thousands."""


class Reconstructing(nn.Module):
    """From images to what is made of them and their features, in a row.

    Args:
        function: from images to features.
        decoder: from features to images.
    """

    def __init__(self, function: Function, decoder: Decoder):
        super().__init__()
        self.function, self.decoder = function, decoder

    def forward(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch size"]:
        """Reconstructions first.

        Raises:
            InputError: they are not of the shape of the images.
        """
        features = self.function(images)
        made = self.decoder(features)
        if not isinstance(made, Tensor) or made.shape != images.shape:
            raise InputError(
                f"the decoder gives {shown(made)} for images of shape {tuple(images.shape)}: images of this shape were "
                "expected, from a decoder that was trained on this layer"
            )
        return torch.cat([made.flatten(1), features.flatten(1)], 1)


@dataclass(frozen=True)
class Found:
    """What `ReconstructionUncertainty` has of some images."""

    entropy: Float64[Tensor, "batch channels height width"]
    error: Float64[Tensor, "batch channels height width"]
    mean_error: Float64[Tensor, " batch"]
    bias: Float64[Tensor, "batch channels height width"]
    sigma: Float64[Tensor, "batch c rows columns"]
    capped: Int64[Tensor, " batch"]
    achieved: Float64[Tensor, " batch"]
    achieved_error: Float64[Tensor, " batch"]
    failed: Bool[Tensor, " batch"]


@dataclass(frozen=True)
class Search:
    """A search for the noise, and what is measured under what it finds.

    Attributes:
        features: h and the images.
        reconstructions: the same images, by `Reconstructing`.
        begun: the noise to begin with, and the constraint.
        centre: mu, the "image" or the "reconstruction".
        variant: of the entropy.
        steps: of the search.
        rate: how far the logarithm of a scale moves in the first step, at most.
        samples: noisy images a step.
        measured: noisy images at the end.
        seed: of the draws.
    """

    features: Features
    reconstructions: Features
    begun: Discarded
    centre: str
    variant: str
    steps: int
    rate: float
    samples: int
    measured: int
    seed: int

    def of(self, some: slice, memory: int) -> Found:
        """Search for some of the images' noise, and measure.

        Args:
            some: which images.
            memory: bytes that a pass may take about.
        """
        one = _Images(self, self.reconstructions.rows(some), some)
        sigma, ignored = one.searched()
        sigma = self._brought(sigma, ignored, some, memory)
        drawn, wanted = self._moved(sigma, some, memory, ACHIEVED), self._wanted(some)[:, None]
        drawn = (drawn / wanted).masked_fill((drawn == 0) & (wanted == 0), 1.0)
        achieved, off = drawn.mean(1), drawn.std(1) / math.sqrt(drawn.shape[1])
        entropy, error, mean_error = one.entropy(sigma)
        capped = (sigma >= self.begun.cap).flatten(1).sum(1)
        failed = self.begun.failed[some] | ~entropy.flatten(1).isfinite().all(1)
        failed = failed | missed(achieved, off, capped, self.begun.grid)
        lost = failed[:, None, None, None]
        return Found(
            entropy.masked_fill(lost, math.nan),
            error.masked_fill(lost, math.nan),
            mean_error,
            one.bias.double(),
            sigma.masked_fill(lost, math.nan),
            capped.masked_fill(failed, 0),
            achieved,
            off,
            failed,
        )

    def _wanted(self, some: slice) -> Float64[Tensor, " batch"]:
        return self.begun.alpha * self.begun.delta[some]

    def _brought(
        self, sigma: Tensor, ignored: Tensor, some: slice, memory: int
    ) -> Float64[Tensor, "batch c rows columns"]:
        """The same noise, wider or narrower, under which features move as far as is wanted.

        Cells that are ignored stay at the cap, where there are others.
        """
        held = ignored & ~ignored.flatten(1).all(1)[:, None, None, None]
        sigma = sigma.double().masked_fill(held, self.begun.cap)
        for _ in range(_TRIES):
            ratio = self._moved(sigma, some, memory, BROUGHT).mean(1) / self._wanted(some)
            if bool((ratio - 1).abs().nan_to_num(0.0).amax() <= _CLOSE):
                break
            wider = (sigma * ratio.rsqrt()[:, None, None, None]).clamp(max=self.begun.cap)
            sigma = torch.where(held, sigma, wider)
        return sigma

    def _moved(self, sigma: Tensor, some: slice, memory: int, purpose: int) -> Float64[Tensor, "batch samples"]:
        scale = self.begun.grid.spread(sigma).nan_to_num(0.0).to(self.features.images.dtype)
        return moved(self.features.rows(some), self.measured, self.seed, memory, scale, purpose)


class _Images:
    """Some images on the way: without noise, in the search, and under the noise that was found.

    Args:
        search: what is asked for.
        own: the images and `Reconstructing`.
        some: which they are.
    """

    def __init__(self, search: Search, own: Features, some: slice):
        self.search, self.own = search, own
        with torch.no_grad():
            self.made, self.still = self._split(own(own.images))
        self.mu = own.images if search.centre == "image" else self.made
        self.wanted = (search.begun.alpha * search.begun.delta[some]).to(self.made.dtype)
        lost = search.begun.failed[some][:, None, None, None]
        self.begin = search.begun.sigma[some].masked_fill(lost, search.begun.cap)

    @property
    def bias(self) -> Float[Tensor, "batch channels height width"]:
        """|mu - g(h(x))| in units of the deviation."""
        return ((self.mu - self.made) / self.own.deviation).abs()

    def _split(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstructions and features."""
        shape = self.own.images.shape[1:]
        made, features = row.split([shape.numel(), row.shape[1] - shape.numel()], 1)
        return made.unflatten(1, shape), features

    def _noise(self, purpose: int, step: int) -> Float[Tensor, "batch channels height width"]:
        shape = self.own.images.shape[1:]
        return self.own.normal(self.search.seed, purpose, step, *shape) * self.own.deviation

    def searched(self) -> tuple[Float[Tensor, "batch c rows columns"], Bool[Tensor, "batch c rows columns"]]:
        """Scales of noise by which the mean entropy is largest, about; and which cells are ignored.

        With A the mean of log(error_i) and B the logarithm of the root of E ||f' - f||^2 over what is wanted of it, the
        slope of A - nu B is followed, all scales being brought back to the constraint after each step. Where all scales
        grow alike, A - nu B must not change: that says what nu is. Cells are ignored that begin at the cap and have no
        slope in any step.
        """
        ignored = self.begin >= self.search.begun.cap
        logs = self.begin.log().to(self.made.dtype).requires_grad_()
        top, half = math.log(self.search.begun.cap), self.search.samples // 2
        optimiser = torch.optim.Adam([logs], lr=self.search.rate, betas=_BETAS)
        multiplier = None
        for step in range(self.search.steps):
            noise = torch.stack([self._noise(SEARCHED, step * half + number) for number in range(half)])
            with torch.enable_grad():
                moves = self.search.begun.grid.spread(logs.exp()) * torch.cat([noise, -noise])
                made, features = self._split(self.own((self.own.images + moves).flatten(0, 1)))
                made, features = (one.unflatten(0, (-1, len(self.made))) for one in (made, features))
                # Over what is wanted before the logarithm: where features are scaled by a power of two, all numbers of
                # the search then stay as they are, whose rounding its steps would magnify.
                ratio = (features - self.still).square().sum(2).mean(0) / self.wanted
                off = (self.mu - made) / self.own.deviation
                error = off.square().mean(0).clamp_min(_SMALLEST)
                goal, limit = error.log().flatten(1).mean(1) / 2, ratio.log() / 2
                if multiplier is None:  # as if all were linear: what part of errors grows with the noise
                    grown = (off * (self.made - made) / self.own.deviation).mean(0) / error
                    multiplier = grown.detach().flatten(1).mean(1).clamp_min(0)
                (slope,) = torch.autograd.grad((multiplier * limit - goal).sum(), logs)
            logs.grad, ignored = slope.nan_to_num(0.0, 0.0, 0.0), ignored & (slope == 0)
            optimiser.param_groups[0]["lr"] = self.search.rate * (1 + math.cos(math.pi * step / self.search.steps)) / 2
            optimiser.step()
            multiplier = (multiplier - _FOLLOWED * logs.grad.flatten(1).sum(1)).clamp_min(0)
            with torch.no_grad():
                back = limit.nan_to_num(0.0, 0.0, 0.0)
                logs.sub_(back[:, None, None, None]).clamp_(max=top)
        return logs.detach().exp(), ignored

    def _squares(self, sigma: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Squared errors under a noise and under its opposite, in squared units of the deviation."""
        scale = self.search.begun.grid.spread(sigma.nan_to_num(0.0)).to(self.made.dtype)
        with torch.no_grad():
            for number in range(self.search.measured // 2):
                moves = scale * self._noise(MEASURED, number)
                pair = (self._split(self.own(self.own.images + sign * moves))[0] for sign in (1, -1))
                both = [((self.mu - made) / self.own.deviation).double().square() for made in pair]
                yield tuple(one.clamp_min(_SMALLEST) for one in both)

    def entropy(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each value of the images, its standard error, and that of the mean over an image.

        The logarithm of a mean of few is too low on average, by a quarter of its squared relative error for log / 2,
        which is put back.
        """
        if self.search.variant == "authors":
            found = torch.stack([(one.log() + other.log()) / 4 for one, other in self._squares(sigma)])
            entropy, each = found.mean(0), found
        else:
            found = torch.stack([(one + other) / 2 for one, other in self._squares(sigma)])
            mean = found.mean(0)
            each = found / (2 * mean)
            entropy = mean.log() / 2 + each.var(0) / len(each)
        root = math.sqrt(len(each))
        return entropy + CONSTANT, each.std(0) / root, each.flatten(2).mean(2).std(0) / root
