r"""Scores that tell whether an image is of the kind a classifier was trained on; higher is more so.

A score is one decorated function here. From the generative model q(a|i) of Seo, Lee and Kwak (2021), with a penultimate
activation of norm r = ||a|| and direction u = a / r, c classes, and q(i) = 1/c, in nats (in another gauge than the
paper's, of activations brought to the prior's space, and with its rows for w_i):

    direction   log q(u|i) = log vMF(u; w_i/||w_i||, kappa_i), one concentration a class: the norm is not looked at;
    given norm  log q(u|i, r) = log vMF(u; w_i/||w_i||, ||w_i|| r), equation 5 as it stands: the norm sets how sharply
                the direction is expected, but is not itself judged;
    with norm   log q(u, r|i) = log q(u|i) + log Normal(log r; m_i, s_i^2), direction and norm independent in a class,
                the norm log-normal with the moments of the class's training activations: a density with respect to
                the sphere's surface and to d log r, so that the unit in which activations are measured cancels.

Each is taken at its best class, max_i, or as the mixture, log 1/c sum_i. Beside them what is usual: the maximum softmax
probability (Hendrycks and Gimpel 2017), the energy (Liu, Wang, Owens and Li 2020) and the Mahalanobis distance (Lee,
Lee, Lee and Shin 2018) of penultimate activations.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.checks.floats import require_floats
from priors.checks.labels import class_numbers
from priors.errors import InputError
from priors.gauge.moments import ActivationMoments, DirectionMoments
from priors.model.classifier_prior import ClassifierPrior
from priors.vmf import bessel

_NARROWEST = 1e-3
"""Least standard deviation of log norms: networks may normalise their activations, up to rounding."""


@dataclass(frozen=True)
class Norms:
    """Log-normal distributions of the activations' norms.

    Attributes:
        mean: (classes,) of log ||a||.
        deviation: (classes,) of log ||a||.
    """

    mean: Float[Tensor, " classes"]
    deviation: Float[Tensor, " classes"]

    def log_density(self, activations: Float[Tensor, "n m"]) -> Float[Tensor, "n classes"]:
        """Log-density of the logarithm of each norm, in nats; finite, though very low, for a norm of zero."""
        logs = _log_norm(activations).unsqueeze(1)
        return -0.5 * ((logs - self.mean) / self.deviation).square() - (self.deviation * math.sqrt(2 * math.pi)).log()


@dataclass(frozen=True)
class TiedGaussians:
    """Gaussians of activations that share a covariance, as in linear discriminant analysis.

    Attributes:
        means: (classes, m).
        precision: (m, m), the pseudo-inverse of the covariance: directions in which training activations do not vary
            are left out.
    """

    means: Float[Tensor, "classes m"]
    precision: Float[Tensor, "m m"]

    def squared_distances(self, activations: Float[Tensor, "n m"]) -> Float[Tensor, "n classes"]:
        """Squared Mahalanobis distances to the classes' means."""
        centres, projected = self.means @ self._root, activations.to(self.means) @ self._root
        return torch.cdist(projected, centres, compute_mode="donot_use_mm_for_euclid_dist").square()

    @cached_property
    def _root(self) -> Float[Tensor, "m m"]:
        """R of precision = R R^T, so that no distance comes out negative."""
        values, vectors = torch.linalg.eigh(self.precision)
        return vectors * values.clamp_min(0).sqrt()


def fit_norms(activations: Float[Tensor, "n m"], labels: Int[Tensor, " n"], classes: int) -> Norms:
    """Moments of log ||a|| by class, in float64; deviations are at least .001. Zero activations are left out.

    Raises:
        InputError: labels out of range, values that are not finite, or a class with fewer than two activations.
    """
    labels = _require(activations, labels, classes)
    pointing = activations.double().norm(dim=1) > 0
    logs, labels = _log_norm(activations[pointing]), labels[pointing]
    count = _counts(labels, classes)
    mean = _sums(logs, labels, classes) / count
    variance = _sums((logs - mean[labels]).square(), labels, classes) / count
    return Norms(mean, variance.sqrt().clamp_min(_NARROWEST))


def fit_gaussians(activations: Float[Tensor, "n m"], labels: Int[Tensor, " n"], classes: int) -> TiedGaussians:
    """Class means, and one covariance about them, divided by N, in float64 (Lee et al. 2018, equation 1).

    Raises:
        InputError: as for `fit_norms`.
    """
    labels = _require(activations, labels, classes)
    activations = activations.double()
    means = _sums(activations, labels, classes) / _counts(labels, classes).unsqueeze(1)
    centred = activations - means[labels]
    return TiedGaussians(means, torch.linalg.pinv(centred.T @ centred / len(labels), hermitian=True, rtol=1e-10))


def norms_of(moments: DirectionMoments) -> Norms:
    """The same as `fit_norms` by what a sweep kept of the activations, up to rounding (1e-12 of usual deviations).

    Raises:
        InputError: a class with fewer than two activations that are not zero.
    """
    count = _enough(moments.count)
    mean = moments.log_norm / count
    variance = moments.log_norm_square / count - mean.square()
    return Norms(mean, variance.clamp_min(0).sqrt().clamp_min(_NARROWEST))


def gaussians_of(moments: ActivationMoments) -> TiedGaussians:
    """The same as `fit_gaussians` by what a sweep kept of the activations, up to rounding.

    Raises:
        InputError: a class with fewer than two activations.
    """
    _enough(moments.count)
    covariance = moments.scatter / moments.images
    return TiedGaussians(moments.mean, torch.linalg.pinv(covariance, hermitian=True, rtol=1e-10))


@dataclass(frozen=True)
class Fitted:
    """What scores are computed with, in float64.

    Attributes:
        prior: the classifier's, one von Mises-Fisher distribution a class.
        norms: of its training activations, in the prior's space.
        gaussians: of its training activations.
    """

    prior: ClassifierPrior
    norms: Norms
    gaussians: TiedGaussians

    def in_gauge(self, prior: ClassifierPrior, moments: DirectionMoments) -> "Fitted":
        """The same of the same training activations with their prior in another gauge; Gaussians know no gauge.

        Args:
            prior: in that gauge.
            moments: of the activations' directions in its space.

        Raises:
            InputError: as for `norms_of`.
        """
        return Fitted(_in_double(prior, moments.total.device), norms_of(moments), self.gaussians)

    def brought(self, activations: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
        """Activations in the prior's space, in float64."""
        return self.prior.space.bring(activations.double())

    def given_norm(self, activations: Float[Tensor, "n m"]) -> Float[Tensor, "n classes"]:
        """`given_norm_log_densities` in the prior's space, by its rows."""
        return given_norm_log_densities(self.prior.gauge.head_rows(self.prior.weight), self.brought(activations))

    def with_norm(self, activations: Float[Tensor, "n m"]) -> Float[Tensor, "n classes"]:
        """log q(u, r|i) in the prior's space."""
        return direction_log_densities(self.prior, activations) + self.norms.log_density(self.brought(activations))


def fit_anomaly_scores(prior: ClassifierPrior, activations: Float[Tensor, "n m"], labels: Int[Tensor, " n"]) -> Fitted:
    """Fit what scores need to the training activations; the prior is copied, in float64 and onto their device.

    Raises:
        InputError: as for `fit_norms`.
    """
    _require(activations, labels, prior.classes)
    own = _in_double(prior, activations.device)
    norms = fit_norms(own.space.bring(activations.double()), labels, prior.classes)
    return Fitted(own, norms, fit_gaussians(activations, labels, prior.classes))


def fit_by_moments(prior: ClassifierPrior, directions: DirectionMoments, activations: ActivationMoments) -> Fitted:
    """The same as `fit_anomaly_scores` by what a sweep kept of the training activations, which need not be held.

    Args:
        prior: it is copied, in float64 and onto the moments' device.
        directions: of the activations in the prior's space.
        activations: their own moments.

    Raises:
        InputError: a class with fewer than two activations that are not zero.
    """
    own = _in_double(prior, activations.mean.device)
    return Fitted(own, norms_of(directions), gaussians_of(activations))


def _in_double(prior: ClassifierPrior, device: torch.device) -> ClassifierPrior:
    """The prior as scores take it."""
    return prior.with_concentration(prior.concentration).to(device, torch.float64)


def direction_log_densities(prior: ClassifierPrior, activations: Float[Tensor, "n m"]) -> Float[Tensor, "n classes"]:
    """log q(u|i) with the prior's concentrations; the uniform density for a zero activation, which has no direction."""
    activations = activations.to(prior.loc.dtype)
    pointing = prior.space.bring(activations).norm(dim=1, keepdim=True) > 0
    # What has no direction is given one, whose density is not looked at: to pick rows out is to wait for a GPU.
    found = prior.log_prob(torch.where(pointing, activations, activations + 1))
    return torch.where(pointing, found, -bessel.log_sphere_area(prior.dim))


def given_norm_log_densities(
    weight: Float[Tensor, "classes m"], activations: Float[Tensor, "n m"]
) -> Float[Tensor, "n classes"]:
    """log q(u|i, r) of equation 5, kappa_i = ||w_i|| ||a||; the uniform density for a zero activation.

    With weights of one norm its softmax over the classes is that of the logits w_i.a (equation 4).
    """
    activations, weight = activations.double(), weight.double()
    m = weight.shape[1]
    concentration = activations.norm(dim=1, keepdim=True) * weight.norm(dim=1)
    peak = bessel.log_peak_ratio(m, concentration) - bessel.log_sphere_area(m)
    return peak + (activations @ weight.T - concentration)


Score = Callable[[Fitted, Tensor, Tensor], Tensor]

ANOMALY_SCORES: dict[str, Score] = {}
"""By name: from what is fitted, activations (n, m) and logits (n, classes), of any floating-point type, to
scores (n,), float64."""
QUANTITIES: dict[str, str] = {}
"""By name: what a score is, with its unit, as an axis says it."""


def anomaly_score(name: str, quantity: str) -> Callable[[Score], Score]:
    """Make a function the score of that name."""

    def register(function: Score) -> Score:
        @wraps(function)
        def score(fitted: Fitted, activations: Tensor, logits: Tensor) -> Tensor:
            require_floats(activations, "activations")
            require_floats(logits, "logits")
            return function(fitted, activations, logits)

        ANOMALY_SCORES[name] = score
        QUANTITIES[name] = quantity
        return score

    return register


@anomaly_score("direction, max", "log-density of the direction (nats)")
def direction_max(fitted: Fitted, activations: Tensor, logits: Tensor) -> Tensor:
    """max_i log q(u|i)."""
    return direction_log_densities(fitted.prior, activations).amax(1)


@anomaly_score("direction, mixture", "log-density of the direction (nats)")
def direction_mixture(fitted: Fitted, activations: Tensor, logits: Tensor) -> Tensor:
    """log 1/c sum_i q(u|i)."""
    return _mixed(direction_log_densities(fitted.prior, activations))


@anomaly_score("given norm, max", "log-density of the direction given the norm (nats)")
def given_norm_max(fitted: Fitted, activations: Tensor, logits: Tensor) -> Tensor:
    """max_i log q(u|i, r)."""
    return fitted.given_norm(activations).amax(1)


@anomaly_score("given norm, mixture", "log-density of the direction given the norm (nats)")
def given_norm_mixture(fitted: Fitted, activations: Tensor, logits: Tensor) -> Tensor:
    """log 1/c sum_i q(u|i, r)."""
    return _mixed(fitted.given_norm(activations))


@anomaly_score("with norm, max", "log-density of direction and log norm (nats)")
def with_norm_max(fitted: Fitted, activations: Tensor, logits: Tensor) -> Tensor:
    """max_i log q(u, r|i)."""
    return fitted.with_norm(activations).amax(1)


@anomaly_score("with norm, mixture", "log-density of direction and log norm (nats)")
def with_norm_mixture(fitted: Fitted, activations: Tensor, logits: Tensor) -> Tensor:
    """log 1/c sum_i q(u, r|i)."""
    return _mixed(fitted.with_norm(activations))


@anomaly_score("softmax", "log-odds of the largest probability")
def softmax(fitted: Fitted, activations: Tensor, logits: Tensor) -> Tensor:
    """log p / (1 - p) of the largest softmax probability p, which orders as p does, but does not end at 1."""
    ranked = logits.double().sort(1, descending=True).values
    return ranked[:, 0] - ranked[:, 1:].logsumexp(1)


@anomaly_score("energy", "log-sum-exp of the logits (nats)")
def energy(fitted: Fitted, activations: Tensor, logits: Tensor) -> Tensor:
    """log sum_i exp(logit_i), minus the energy at temperature 1."""
    return logits.double().logsumexp(1)


@anomaly_score("Mahalanobis", "minus the squared distance")
def mahalanobis(fitted: Fitted, activations: Tensor, logits: Tensor) -> Tensor:
    """-min_i (a - mean_i)^T S^-1 (a - mean_i)."""
    return -fitted.gaussians.squared_distances(activations).amin(1)


def _mixed(log_densities: Tensor) -> Tensor:
    return log_densities.logsumexp(1) - math.log(log_densities.shape[1])


def _log_norm(activations: Tensor) -> Tensor:
    return activations.double().norm(dim=1).clamp_min(1e-300).log()


def _sums(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Sums by class, of values (n, ...)."""
    return values.new_zeros(classes, *values.shape[1:]).index_add(0, labels, values)


def _counts(labels: Tensor, classes: int) -> Tensor:
    """How many of each class, as numbers to divide by."""
    return _enough(labels.bincount(minlength=classes))


def _enough(count: Tensor) -> Tensor:
    """The same of numbers that are known."""
    if int(count.min()) < 2:
        raise InputError(
            f"class {int(count.argmin())} has {int(count.min())} activations that are not zero to fit by: 2 or more "
            "were expected"
        )
    return count.double()


def _require(activations: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The labels in int64, where they fit activations that can be looked at."""
    labels = class_numbers(labels, len(activations), classes)
    require_floats(activations, "activations")
    if not bool(activations.isfinite().all()):
        raise InputError("activations have values that are not finite")
    return labels
