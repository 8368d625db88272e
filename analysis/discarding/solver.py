"""Noise of the largest entropy for features that are not linear: a stochastic search from the closed form.

The sum of n_g log(sigma_g) is to be the largest under E(sigma) = E ||h(x + sigma * N(0, I)) - f||^2 = alpha delta_f^2.
There every cell has its part of the slope: p_g = dE/dlog(sigma_g) is n_g / n of their sum. The search
moves log(sigma_g^2) against p_g n / (n_g sum) - 1, with the sum that there is at the wanted E, which is a Newton step
where features are linear. What draws show of it is noisy, so steps are as long as a Kalman filter would have them: the
variance of the scales over itself plus that of the draws. Beside that all scales move together against
E / (alpha delta_f^2) - 1. There is no multiplier to tune. A layer with larger weights has larger E, slopes and
delta_f^2, and the same scales.

The mean of the last half of the steps is taken. Then the shape stays, and all scales that are not at the cap are
multiplied by the one number for which E is what is wanted, by noisy images that the search did not see.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from analysis.discarding.features import Features
from analysis.discarding.grids import Grid
from analysis.discarding.sensitivity import moved

STEPPED, RESCALED = 2, 3
"""Purposes of random numbers, beside those of sensitivities."""
_ALLOWANCE = 0.25
"""Variance of log(sigma^2) about the closed form that features which are not linear are allowed at the start."""
_MEMORY = 10
"""Steps over which the power of E and the variance of draws are averaged."""
_FAR = 4.0
"""Deviations of the draws beyond which one step counts as so many."""
_LEAST_SHARE, _MOST_SHARE = 0.25, 2.0
"""Between which half the power is that E goes with: of saturated features and of parabolas."""
_UNSETTLED = 4.0
"""How many times what is wanted E is where the search has not begun to settle."""
_ROUNDS = 3
"""Times that the common factor is measured; the first brings it near, and the others are taken together."""
_ROUNDING = 1e-9
"""Below one, of a cap that went through logarithms."""
_LARGEST = math.log(10)
"""The most that the logarithm of the common factor moves in a round."""


@dataclass(frozen=True)
class Solved:
    """What the search found.

    Attributes:
        sigma: scales; (batch, c, rows, columns); not finite where an image failed.
        error: standard error of log(sigma) of one cell, about; (batch,).
        mean_error: standard error of the mean of log(sigma), which is that of the common factor; (batch,).
    """

    sigma: Float64[Tensor, "batch c rows columns"]
    error: Float64[Tensor, " batch"]
    mean_error: Float64[Tensor, " batch"]


@dataclass(frozen=True)
class Search:
    """How scales are looked for.

    Attributes:
        steps: of the search.
        samples: noisy images a step.
        rescale: noisy images in each of three rounds in which the common factor is measured.
        seed: of the draws.
        memory: bytes that a pass may take about.
    """

    steps: int
    samples: int
    rescale: int
    seed: int
    memory: int

    def solved(
        self,
        features: Features,
        grid: Grid,
        begun: Float64[Tensor, "batch c rows columns"],
        error: Float64[Tensor, " batch"],
        wanted: Float64[Tensor, " batch"],
        cap: float,
    ) -> Solved:
        """Look for the scales of all images.

        Args:
            features: the function and the images.
            grid: the cells.
            begun: scales to start from.
            error: standard error of their logarithms.
            wanted: E, above 0.
            cap: the largest scale.
        """
        image = features.images[0].numel()
        alone = features.bytes_of_a_pass(image)
        copies = max(1, min(self.samples, self.memory // alone))
        found = []
        for some in features.chunks(self.memory, draws=image, passes=copies):
            own = features.rows(some)
            sigma, variance, power = self._searched(own, grid, begun[some], error[some], wanted[some], cap, copies)
            sigma, mean_error = self._rescaled(own, grid, sigma, power, wanted[some], cap)
            found.append((sigma, variance.sqrt() / 2, mean_error))
        return Solved(*(torch.cat(one) for one in zip(*found, strict=True)))

    def _searched(
        self,
        features: Features,
        grid: Grid,
        begun: Tensor,
        error: Tensor,
        wanted: Tensor,
        cap: float,
        copies: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scales up to their common factor; variance of the logarithms of their squares; d log E / d log sigma."""
        parts = grid.counts(begun.device) / grid.values
        most = 2 * math.log(cap)
        with torch.no_grad():
            still = features(features.images)
        now = 2 * begun.log()
        variance = (4 * error.square() + _ALLOWANCE)[:, None, None, None]
        share = noise = None
        total, settled = torch.zeros_like(now), torch.zeros_like(wanted)
        for step in range(self.steps):
            energy, slope = self._slope(features, grid, (now / 2).exp(), still, step, copies)
            free, per = now < most, slope / parts
            rate = 1 / min(step + 1, _MEMORY)
            # Half of what a power E goes with, as far as scales below the cap are its cause: 1 where all is linear.
            own = ((slope * free).flatten(1).sum(1) / energy).where(energy != 0, torch.ones_like(energy))
            share = _averaged(share, own.clamp(_LEAST_SHARE, _MOST_SHARE), rate)
            level = wanted * share / (parts * free).flatten(1).sum(1)
            away = per / level[:, None, None, None] - 1
            noise = _averaged(noise, _spread_of(away), rate)
            gain = variance / (variance + noise).clamp_min(torch.finfo(noise.dtype).tiny)
            reach = _FAR * noise.sqrt()
            # Far above what is wanted, some scales are much too wide, where slopes were 0 that are not beside the
            # image: nothing is known of the others before these are halved, and halved again.
            near = (energy < _UNSETTLED * wanted)[:, None, None, None]
            halved = (per > per.flatten(1).amax(1)[:, None, None, None] / 8) * math.log(4)
            moves = torch.where(near, gain * away.maximum(-reach).minimum(reach), halved)
            settled = settled + near.flatten()
            # All scales together are known better than each, and go the rest of the way by what is known of them.
            off = (energy / wanted - 1).clamp(-1, 1) / (settled + 2)
            off = near * free * (1 - gain) * off[:, None, None, None]
            variance = torch.where(near, (1 - gain) * variance, variance)
            now = (now - moves - off).clamp(max=most)
            if 2 * step >= self.steps - 1:
                total = total + now
        return (total / (self.steps // 2 + self.steps % 2) / 2).exp(), variance.flatten(), 2 * share

    def _slope(
        self, features: Features, grid: Grid, sigma: Tensor, still: Tensor, step: int, copies: int
    ) -> tuple[Float64[Tensor, " batch"], Float64[Tensor, "batch c rows columns"]]:
        """E, and half of its slopes with the logarithms of scales, by the noisy images of a step."""
        wide = (features.deviation * grid.spread(sigma)).to(features.images.dtype)
        energy = slope = 0
        for start in range(0, self.samples, copies):
            count = min(copies, self.samples - start)
            noise = torch.stack(
                [
                    features.normal(self.seed, STEPPED, step * self.samples + start + one, *wide.shape[1:])
                    for one in range(count)
                ]
            )
            away = noise.mul_(wide)
            leaf = (features.images + away).flatten(0, 1).requires_grad_()
            with torch.enable_grad():
                squares = (features(leaf) - still.repeat(count, 1)).square().sum(1)
                (along,) = torch.autograd.grad(squares.sum(), leaf)
            energy = energy + squares.detach().double().view(count, -1).sum(0)
            slope = slope + grid.summed((along.view_as(away) * away).sum(0))
        return energy / self.samples, slope / (2 * self.samples)

    def _rescaled(
        self, features: Features, grid: Grid, sigma: Tensor, power: Tensor, wanted: Tensor, cap: float
    ) -> tuple[Float64[Tensor, "batch c rows columns"], Float64[Tensor, " batch"]]:
        """The scales with E as wanted, and the standard error of their common factor's logarithm.

        E goes with a power of the common factor, near the one wanted; 2 where features are linear.
        """
        factor = torch.zeros_like(wanted)
        for number in range(_ROUNDS):
            scaled = _times(sigma, factor, cap)
            wide, first = grid.spread(scaled).to(features.images.dtype), number * self.rescale
            drawn = moved(features, self.rescale, self.seed, self.memory, wide, RESCALED, first)
            # What E would be at a factor of 1, by that power; rounds after the first are taken together.
            known = drawn / wanted[:, None] * (-power * factor).exp()[:, None]
            pooled = known if number < 2 else torch.cat([pooled, known], 1)
            step = -pooled.mean(1).log() / power - factor
            factor = factor + step.clamp(-_LARGEST, _LARGEST)
        error = pooled.std(1) / pooled.mean(1) / math.sqrt(pooled.shape[1]) / power
        return _times(sigma, factor, cap), error.where(pooled.mean(1) != 0, torch.zeros_like(error))


def _averaged(before: Tensor | None, now: Tensor, rate: float) -> Tensor:
    """A running mean."""
    return now if before is None else before + (now - before) * rate


def _spread_of(away: Tensor) -> Float64[Tensor, "batch 1 1 1"]:
    """The variance of draws, by all cells of an image; the few that are far off by more than chance count little."""
    square = away.square().flatten(1)
    most = 16 * square.median(1, keepdim=True).values
    return torch.where(most > 0, square.minimum(most), square).mean(1)[:, None, None, None]


def _times(sigma: Tensor, factor: Tensor, cap: float) -> Tensor:
    """Scales times a factor, given by its logarithm, as far as the cap; those that are there stay there."""
    there = sigma > cap * (1 - _ROUNDING)
    return (sigma * factor.exp()[:, None, None, None]).clamp(max=cap).masked_fill(there, cap)
