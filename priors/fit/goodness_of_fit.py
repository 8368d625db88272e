"""How well a von Mises-Fisher distribution describes directions: by the distribution of their cosine with its mean."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from priors.checks.floats import require_floats
from priors.errors import InputError
from priors.gauge.evidence import Evidence
from priors.model.classifier_prior import ClassifierPrior
from priors.vmf import bessel
from priors.vmf.directions import Directions, class_directions
from priors.vmf.maximum_likelihood import solve_concentration

_PANELS = 48
_NODES = 16
_NEGLIGIBLE = -60.0
"""Log-density relative to the mode below which nothing is left to integrate."""
_BLOCK = 2**16


def cosine_cdf(versine: Float[Tensor, " n"], dim: int, concentration: float) -> Float[Tensor, " n"]:
    """P(W <= w), the distribution function of the cosine W between a vMF draw and its mean direction.

    The angle has the density exp(k cos t) sin^(m-2) t, up to a factor, which is smooth in every dimension from 2:
    it is integrated by Gauss-Legendre quadrature over panels that reach as far as the density is above exp(-60) of
    its peak. Absolute error about 1e-14, in float64.

    Args:
        versine: 1 - w, in [0, 2]; for unit vectors a and mu, |a - mu|^2 / 2, which is good also where w is near 1.
        dim: m, of the space around the sphere, at least 2.
        concentration: k, finite and at least 0.

    Raises:
        InputError: a dimension or a concentration that cannot be.

    Example:
        >>> cosine_cdf(torch.tensor([2.0, 1.0, 0.0]), 3, 0.0)  # in space, a uniform direction has a uniform cosine
        tensor([0.0000, 0.5000, 1.0000], dtype=torch.float64)
    """
    if dim < 2 or not 0 <= concentration < math.inf:
        raise InputError(
            f"the cosine of a vMF distribution in {dim} dimensions with concentration {concentration}: at least 2 "
            "dimensions and a finite concentration of at least 0 were expected"
        )
    power, peak = dim - 2, _peak(dim, concentration)
    sine, half = math.sin(peak) if power else 1.0, math.sin(peak / 2) ** 2
    low, high = (
        _reach(peak, end, lambda t: _log_density(t, power, concentration, sine, half)) for end in (0.0, math.pi)
    )
    edges = torch.linspace(low, high, _PANELS + 1, dtype=torch.float64, device=versine.device)
    nodes, weights = (torch.tensor(part, device=versine.device) for part in np.polynomial.legendre.leggauss(_NODES))

    def mass(start: Tensor, end: Tensor) -> Tensor:
        """Integral of the relative density from each start to its end."""
        width = 0.5 * (end - start)
        t = start[:, None] + width[:, None] * (1 + nodes)
        log = torch.xlogy(power, torch.sin(t) / sine)
        log.sub_(torch.sin(0.5 * t).square_().sub_(half), alpha=2 * concentration)
        return (log.exp_() @ weights) * width

    cumulative = torch.cat([edges.new_zeros(1), mass(edges[:-1], edges[1:]).cumsum(0)])
    parts = []
    for block in versine.double().split(_BLOCK):
        t = (2 * torch.asin((0.5 * block).clamp(0, 1).sqrt())).clamp(low, high)
        panel = (torch.searchsorted(edges, t, right=True) - 1).clamp(0, _PANELS - 1)
        parts.append(cumulative[panel] + mass(edges[panel], t))
    below = torch.cat(parts) if parts else versine.double()
    return ((cumulative[-1] - below) / cumulative[-1]).clamp(0, 1)


def _peak(m: int, k: float) -> float:
    """The angle of highest density, where k sin^2 t = (m - 2) cos t."""
    if m == 2 or k == 0:
        return 0.0 if m == 2 else math.pi / 2
    ratio = (m - 2) / k
    # cos t = 2 / (ratio + root); its tangent, since the cosine alone loses small angles
    root = math.sqrt(ratio * ratio + 4)
    cosine = 2 / (ratio + root)
    return math.atan2(math.sqrt(ratio * cosine), cosine)


def _log_density(t: float, power: int, k: float, sine: float, half: float) -> float:
    """Of the angle t, relative to the peak, whose sine and squared half sine are given."""
    if power and math.sin(t) <= 0:
        return -math.inf
    return (power * math.log(math.sin(t) / sine) if power else 0.0) - 2 * k * (math.sin(t / 2) ** 2 - half)


def _reach(peak: float, end: float, log_density: Callable[[float], float]) -> float:
    """How far from the peak towards `end` the density matters; it falls all the way."""
    if log_density(end) >= _NEGLIGIBLE:
        return end
    near, far = peak, end
    for _ in range(100):
        middle = 0.5 * (near + far)
        near, far = (middle, far) if log_density(middle) >= _NEGLIGIBLE else (near, middle)
    return far


def kolmogorov_smirnov(versine: Float[Tensor, " n"], dim: int, concentration: float) -> float:
    """Largest distance between the distribution functions of sampled cosines and of the vMF's, in [0, 1].

    Of n samples from that very distribution, with a concentration that was not fitted to them, it exceeds
    1.36 / sqrt(n) in 5 % of cases.

    Args:
        versine: 1 - w of the samples, at least one; see `cosine_cdf`.
        dim: as there.
        concentration: as there.

    Raises:
        InputError: no samples, or as for `cosine_cdf`.
    """
    if not len(versine):
        raise InputError("no samples were given to compare with a distribution: at least one was expected")
    require_floats(versine, "versines")
    expected = cosine_cdf(versine.double().sort(descending=True).values, dim, concentration)
    steps = torch.arange(len(versine) + 1, dtype=torch.float64, device=expected.device) / len(versine)
    return float(torch.maximum(steps[1:] - expected, expected - steps[:-1]).max())


@dataclass(frozen=True)
class CosineFit:
    """How the directions of one class's activations compare with its vMF distribution, or those of all classes.

    Attributes:
        samples: activations that have a direction.
        resultant: length of their mean direction, wherever that points, in [0, 1]; None without samples, and of all
            classes.
        mean_cosine: their mean cosine with the class's weight; None without samples.
        expected_cosine: A_m(kappa), what it would be under the prior's concentration; None for all classes.
        distance: Kolmogorov-Smirnov distance of the cosines from the prior's; None without samples, and of all
            classes.
        likeliest: the concentration of maximum likelihood, the direction being the weight's; None without samples, or
            where it is infinite.
        likeliest_distance: the distance under that concentration.
    """

    samples: int
    resultant: float | None
    mean_cosine: float | None
    expected_cosine: float | None
    distance: float | None
    likeliest: float | None
    likeliest_distance: float | None


def cosine_fits(
    prior: ClassifierPrior, activations: Float[Tensor, "n m"], labels: Tensor
) -> tuple[tuple[CosineFit, ...], CosineFit]:
    """How vMF-like activations are: each class by itself, then all classes with one concentration of their own.

    Raises:
        InputError: as for `priors.vmf.directions.class_directions`.
    """
    seen = Evidence(activations, labels).brought(prior.space)
    rows = prior.gauge.rows(prior.weight).to(activations.device)
    return fits_of(prior, class_directions(seen.activations, labels, rows, prior.class_names))


def fits_of(prior: ClassifierPrior, found: Directions) -> tuple[tuple[CosineFit, ...], CosineFit]:
    """The same of what a sweep kept of the activations.

    Args:
        prior: whose directions they were seen from.
        found: how far each points from its class's direction, in the prior's space.
    """
    concentrations = prior.concentration.double().to(found.versine.device)
    expected = bessel.mean_resultant_length(prior.dim, concentrations).tolist()
    by_class = tuple(
        _fit(found.of(label), prior.dim, kappa, expected[label], float(found.resultant[label]))
        for label, kappa in enumerate(concentrations.tolist())
    )
    return by_class, _fit(found.versine, prior.dim, None, None, None)


def _fit(
    versine: Tensor, m: int, concentration: float | None, expected: float | None, resultant: float | None
) -> CosineFit:
    if not len(versine):
        return CosineFit(0, None, None, expected, None, None, None)
    deficit = versine.mean()
    given = None if concentration is None else kolmogorov_smirnov(versine, m, concentration)
    try:
        likeliest = float(solve_concentration((1 - deficit).clamp_min(0), m, deficit=deficit))
    except InputError:  # all at the weight's direction
        likeliest = None
    distance = None if likeliest is None else kolmogorov_smirnov(versine, m, likeliest)
    return CosineFit(len(versine), resultant, float(1 - deficit), expected, given, likeliest, distance)
