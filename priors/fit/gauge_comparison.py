"""Priors of one network in several gauges, side by side: what held-out images say of each.

Log-densities on the unit spheres of two spaces do not compare. Densities of the activations themselves do: with
v = T (a - a0), r = ||v||, u = v / r, and a log-normal distribution of r in each class,

    log q(a | i) = log q(u | i) + log Normal(log r; m_i, s_i^2) - m log r + log |det T|,

in nats, with respect to the volume of the activations' space R^m.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from priors.errors import InputError
from priors.fit.goodness_of_fit import kolmogorov_smirnov
from priors.gauge.moments import DirectionMoments
from priors.gauge.space import Space
from priors.model.classifier_prior import ClassifierPrior
from priors.vmf.directions import unit, versines

_NARROWEST = 1e-3
"""Least standard deviation of log norms: networks may normalise their activations, up to rounding."""
_DRAWS = 20_000
"""Of all classes together, for soft labels."""


@dataclass(frozen=True)
class Candidate:
    """A prior in one gauge, and what else its density needs.

    Attributes:
        prior: with the likeliest concentration of each class.
        log_norm: (classes,) m_i, mean of the log norms of a class's activations in the space.
        deviation: (classes,) s_i, their standard deviation.
    """

    prior: ClassifierPrior
    log_norm: Float[Tensor, " classes"]
    deviation: Float[Tensor, " classes"]

    def to(self, device: torch.device | str) -> "Candidate":
        """The same on another device, in float64."""
        prior = self.prior.with_concentration(self.prior.concentration).to(device, torch.float64)
        return Candidate(prior, self.log_norm.to(device), self.deviation.to(device))

    def seen(self, there: Float[Tensor, "n m"], labels: Int[Tensor, " n"]) -> dict[str, Tensor]:
        """What held-out activations of known classes say: one number an image each, NaN where there is no direction.

        Args:
            there: activations brought to the prior's space, in float64 on the device of the prior.
            labels: their classes.

        Returns:
            "versine", 1 - cos with the class's direction; "log_density", log q(a | i) of the own class in nats;
            "right", 1 where q(i | a) is largest for the own class, which is 0 without a direction.
        """
        lengths = there.norm(dim=1)
        directions = unit(there)
        every = self.prior.direction_log_prob(directions)
        logs = (lengths.log() - self.log_norm[labels]) / self.deviation[labels]
        radial = -0.5 * logs.square() - (self.deviation[labels] * math.sqrt(2 * math.pi)).log()
        own = every.gather(1, labels[:, None]).squeeze(1)
        volume = self.prior.space.log_volume - self.prior.dim * lengths.log()
        pointing = lengths > 0
        right = (every.nan_to_num(-math.inf).argmax(1) == labels) & pointing
        return {
            "versine": versines(there, self.prior.loc[labels]),
            "log_density": torch.where(pointing, own + radial + volume, torch.nan),
            "right": right.double(),
        }


@dataclass(frozen=True)
class GaugeScores:
    """What one gauge came to on held-out images.

    Attributes:
        space: of the activations.
        directions: of the classes.
        freedom: numbers that were measured for it, concentrations and norms included.
        mean_cosine: of activations with their class's direction, in the space.
        distance: Kolmogorov-Smirnov distance of those cosines from the prior's, the mean over images of their class's.
        log_density: mean of log q(a | i), in nats an image.
        log_densities: (n,) of each image; NaN where it has no direction.
        accuracy: of q(i | a), in [0, 1].
        divergence: mean over classes of KL(the network's mean soft labels || the prior's), in nats.
        correlation: of the logarithms of both off the diagonal; NaN for two classes.
    """

    space: str
    directions: str
    freedom: int
    mean_cosine: float
    distance: float
    log_density: float
    log_densities: Float[Tensor, " n"]
    accuracy: float
    divergence: float
    correlation: float


def candidate(final_layer: Mapping[str, Any], space: Space, directions: str, moments: DirectionMoments) -> Candidate:
    """A prior in a gauge, with the likeliest concentrations: one a class, or one for all where a class has no images.

    Args:
        final_layer: weight, bias and class_names, as `ClassifierPrior.from_weight` takes them.
        space: of the moments.
        directions: a name of `priors.gauge.gauge`.
        moments: of training images' activations in the space.

    Raises:
        InputError: as for `ClassifierPrior.from_weight`.
    """
    everywhere = bool((moments.count > 0).all())
    prior = ClassifierPrior.from_weight(
        concentration="mle" if everywhere else "mle-pooled",
        space=space,
        directions=directions,
        moments=moments,
        **final_layer,
    )
    count = moments.count.clamp_min(1)
    mean, square = moments.log_norm / count, moments.log_norm_square / count
    deviation = (square - mean.square()).clamp_min(0).sqrt().clamp_min(_NARROWEST)
    return Candidate(prior, mean, deviation)


def freedom(prior: ClassifierPrior, seen: int) -> int:
    """How many numbers a gauge has measured: of its space, its directions, and concentrations and norms of classes.

    Args:
        prior: in the gauge.
        seen: classes that have images.
    """
    m = prior.dim
    space = {"raw": 0, "centred": m, "whitened": m + m * (m + 1) // 2}[prior.space.name]
    directions = {"weights": 0, "centred": 0, "fitted": m + 1, "means": seen * (m - 1)}[prior.gauge.directions]
    return space + directions + 3 * seen


def score(
    one: Candidate,
    found: Mapping[str, Tensor],
    labels: Int[Tensor, " n"],
    own: Float[Tensor, "classes classes"],
    temperature: float,
) -> GaugeScores:
    """Bring together what held-out images say.

    Args:
        one: the candidate.
        found: what `Candidate.seen` gave, of all images.
        labels: their classes.
        own: the network's mean soft labels at the temperature, a row a class of images; NaN for a class without.
        temperature: of the soft labels.
    """
    prior, densities = one.prior, found["log_density"]
    distances = torch.zeros(prior.classes, dtype=torch.float64)
    pointing = ~found["versine"].isnan()
    counts = labels[pointing].bincount(minlength=prior.classes)
    for label in counts.nonzero().flatten().tolist():
        versine = found["versine"][pointing & (labels == label)]
        distances[label] = kolmogorov_smirnov(versine, prior.dim, float(prior.concentration[label]))
    met = own.isfinite().all(1)
    divergence, correlation = agreement(own, soft_labels(prior, temperature), met)
    return GaugeScores(
        prior.space.name,
        prior.gauge.directions,
        freedom(prior, int(one.prior.norm.isfinite().sum())),
        float(1 - found["versine"][pointing].mean()),
        float((distances * counts).sum() / counts.sum()),
        float(densities[densities.isfinite()].mean()),
        densities,
        float(found["right"].mean()),
        divergence,
        correlation,
    )


def soft_labels(prior: ClassifierPrior, temperature: float) -> Float[Tensor, "classes classes"]:
    """The head's soft labels of draws from each class, at the class's mean norm."""
    draws = max(20, _DRAWS // prior.classes)
    return prior.class_posterior(draws, logits="head", temperature=temperature).table


def agreement(
    own: Float[Tensor, "classes classes"], drawn: Float[Tensor, "classes classes"], met: Bool[Tensor, " classes"]
) -> tuple[float, float]:
    """Mean over classes of KL(own || drawn) in nats, and the correlation of their logarithms off the diagonal.

    Args:
        own: the network's mean soft labels, a row a class.
        drawn: those of a prior.
        met: the classes to look at.
    """
    tiny = torch.finfo(torch.float64).tiny
    one, other = own[met].clamp_min(tiny).log(), drawn[met].clamp_min(tiny).log()
    divergence = (own[met] * (one - other)).sum(1).mean()
    off = ~torch.eye(len(own), dtype=torch.bool)[met]
    if own.shape[1] < 3:
        return float(divergence), math.nan
    return float(divergence), float(torch.corrcoef(torch.stack([one[off], other[off]]))[0, 1])


def recommended(scores: Sequence[GaugeScores]) -> GaugeScores:
    """The gauge to take: of those about as likely as the likeliest, the one that measures the fewest numbers.

    About as likely is one whose log-density is below by no more than one standard error of the difference, image by
    image. Only gauges count that leave the classifier's probabilities as they are.

    Raises:
        InputError: there are none.
    """
    tied = [one for one in scores if one.directions != "means"]
    if not tied:
        raise InputError("no gauge that leaves the classifier's probabilities as they are was measured")
    best = max(tied, key=lambda one: one.log_density)

    def close(one: GaugeScores) -> bool:
        below, error = paired(best.log_densities, one.log_densities)
        return below <= error or one is best

    return min(filter(close, tied), key=lambda one: (one.freedom, -one.log_density))


def paired(one: Float[Tensor, " n"], other: Float[Tensor, " n"]) -> tuple[float, float]:
    """Mean of a difference over images, and its standard error; NaN of too few images that have both."""
    apart = (one - other)[one.isfinite() & other.isfinite()]
    error = float(apart.std()) / len(apart) ** 0.5 if len(apart) > 1 else math.nan
    return float(apart.mean()) if len(apart) else math.nan, error
