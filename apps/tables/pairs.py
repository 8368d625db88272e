"""Comparing two trainings in pairs: over the seeds that both have, and over the test images that both were asked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import torch
from jaxtyping import Shaped
from scipy import stats
from torch import Tensor


@dataclass(frozen=True)
class Paired:
    """How much more one has than the other.

    Attributes:
        difference: the mean over the pairs.
        error: its standard error; None of one pair.
        pairs: how many.
        test: its name, with what it hangs on; empty of one pair, which is no test.
        p: two-sided, that chance alone makes as large a difference; None where there is no test.
    """

    difference: float
    error: float | None
    pairs: int
    test: str
    p: float | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the difference lies in 95 of 100 cases, by Student's t over the pairs; None where there is no test."""
        if self.error is None or self.p is None:
            return None
        half = float(stats.t.ppf(0.975, self.pairs - 1)) * self.error
        return self.difference - half, self.difference + half


def over_seeds(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Paired | None:
    """By Student's t of the differences, seed by seed; None where no seed has both.

    Few seeds say little: with two, t has one degree of freedom, and only a difference of 12.7 standard errors has
    p < .05.

    Args:
        ours: a score by seed.
        theirs: likewise, of what it is compared with.

    Example:
        >>> over_seeds({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.0, 1: 0.0, 2: 0.0, 7: 9.0}).difference
        2.0
    """
    apart = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    if not apart:
        return None
    return _by_t(mean(apart), stdev(apart) if len(apart) > 1 else None, len(apart))


def over_images(ours: Sequence[Shaped[Tensor, " images"]], theirs: Sequence[Shaped[Tensor, " images"]]) -> Paired:
    """Image by image, of one seed or of several.

    Where each image is right or wrong (1 or 0, or 100 per cent or 0) and there is one seed, it is McNemar's exact test:
    of the images that the two judge otherwise, each is as likely right by the one as by the other. Else Student's t of
    the differences, each image's the mean over the seeds: those of one image hang together.

    Args:
        ours: scores of the same images, a tensor a seed.
        theirs: likewise, of the same seeds.

    Returns:
        `difference` in the unit of the scores; images where a score is not finite are left out.
    """
    apart = sum((one.double() - other.double() for one, other in zip(ours, theirs, strict=True))) / len(ours)
    apart = apart[apart.isfinite()]
    count, deviation = len(apart), float(apart.std()) if len(apart) > 1 else None
    found = _by_t(float(apart.mean()), deviation, count)
    values = torch.cat([one.double() for one in (*ours, *theirs)]).unique()
    if len(ours) > 1 or len(values) > 2 or 0 not in values:
        return found
    gained, lost = int((apart > 0).sum()), int((apart < 0).sum())
    p = 1.0 if not gained + lost else float(stats.binomtest(gained, gained + lost).pvalue)
    return Paired(found.difference, found.error, count, f"McNemar, {gained} to {lost}", p)


def _by_t(difference: float, deviation: float | None, count: int) -> Paired:
    """The mean of differences with this standard deviation, and Student's t of it."""
    if deviation is None:
        return Paired(difference, None, count, "", None)
    error = deviation / math.sqrt(count)
    if error <= 1e-9 * abs(difference):  # no spread to hold the difference against, but for how floats are rounded
        return Paired(difference, error, count, "", None)
    p = float(2 * stats.t.sf(abs(difference) / error, count - 1))
    return Paired(difference, error, count, f"t, {count - 1:,} df", p)
