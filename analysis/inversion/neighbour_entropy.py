"""Differential entropy of a representation by the distances of nearest neighbours, in nats.

Appendix B of Nash, Kushman and Williams (Inverting supervised representations with autoregressive neural density
models, 2019), equations 13 and 14, after Kraskov, Stoegbauer and Grassberger (Estimating mutual information, 2004).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from analysis.inversion.distances import pair_blocks
from analysis.inversion.rows import require_positive, rows_of
from priors.checks.draws import gaussians, require_generator
from priors.errors import InputError


@dataclass(frozen=True)
class NeighbourEntropy:
    """Entropy of h, or of h + eps, and in the latter case I(x; h + eps) = H(h + eps) - H(eps).

    Attributes:
        images: N.
        units: of h, D.
        neighbours: k.
        offset: what was added to each distance (the equation's epsilon), in units of the activation.
        variance: of the noise eps in each unit, in squared units of the activation; None without noise.
        constant: units with one value for all images; without noise, h has no density in D dimensions where there are.
        entropy: nats; differential, so of either sign, and changed by D log c where activations are scaled by c.
        mutual_information: nats; None without noise, where it is infinite by this measure.
    """

    images: int
    units: int
    neighbours: int
    offset: float
    variance: float | None
    constant: int
    entropy: float
    mutual_information: float | None

    caveat: ClassVar[str] = (
        "needs a density, which deterministic activations of discrete images do not have: without noise it falls"
        " without end as images are added; biased where units are many and images few; a bound of neither kind"
    )


def neighbour_entropies(
    activations: Float[Tensor, "images *features"],
    neighbours: Sequence[int] = (1, 3, 10),
    *,
    variance: float | None = None,
    offset: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[NeighbourEntropy, ...]:
    """Estimate the entropy from the distance r_i of each image's k-th nearest neighbour, one estimate a k.

        H = D/N sum_i log(r_i + offset) + D/2 log pi - log Gamma(D/2 + 1) + psi(N) - psi(k)        (equations 13, 14)

    Images with equal activations are at distance 0, where the equations have an epsilon of no given size. It is 0 here
    unless given, since each such image adds D/N log epsilon: a number that says nothing of the network.

    Args:
        activations: a row an image, flattened here; computed with in float64, on their device.
        neighbours: values of k, each less than the number of images.
        variance: of Gaussian noise that is added to each unit first, one draw an image; it takes a float64 copy of the
            activations. None: none is.
        offset: the equation's epsilon.
        generator: of the noise, on any device; None: torch's own of the activations' device.

    Raises:
        InputError: fewer than two images, no units, values that are not finite, k out of range, a negative offset, a
            variance that is not above 0, a generator that is none, or distances of 0 without an offset.

    Example:
        >>> uniform = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0))
        >>> [round(found.entropy, 1) for found in neighbour_entropies(3 * uniform)], round(2 * math.log(3), 1)
        ([2.2, 2.2, 2.3], 2.2)
    """
    require_generator(generator)
    h = rows_of(activations)
    images, units = h.shape
    for k in neighbours:
        if not 1 <= k < images:
            raise InputError(f"k is {k}: 1 to {images - 1} was expected, for {images} images")
    if not 0 <= offset < math.inf:
        raise InputError(f"offset is {offset}: 0 or a finite number above it was expected")
    constant = int((h.amin(0) == h.amax(0)).sum())
    if variance is not None:
        require_positive("variance", variance)
        noise = gaussians(h.shape, generator, torch.float64, h.device)
        h = noise.mul_(math.sqrt(variance)).add_(h)
    distances = neighbour_distances(h, max(neighbours, default=1))
    found = []
    for k in neighbours:
        r = distances[:, k - 1]
        equal = int((r == 0).sum())
        if equal and not offset:
            raise InputError(
                f"{equal} of {images} images have neighbour {k} at distance 0, where the entropy is minus infinity: add"
                " noise (variance), or give the offset of equation 13, which then sets what they count for"
            )
        digammas = torch.tensor([images, k], dtype=torch.float64).digamma().tolist()
        entropy = units * float((r + offset).log().mean()) + log_unit_ball(units) + digammas[0] - digammas[1]
        gained = None if variance is None else entropy - units / 2 * math.log(2 * math.pi * math.e * variance)
        found.append(NeighbourEntropy(images, units, k, offset, variance, constant, entropy, gained))
    return tuple(found)


def neighbour_distances(vectors: Float[Tensor, "n units"], neighbours: int) -> Float64[Tensor, "n neighbours"]:
    """Euclidean distance of each row to its nearest others, nearest first."""
    nearest = torch.full((len(vectors), neighbours), torch.inf, dtype=torch.float64, device=vectors.device)
    for rows, columns, squared in pair_blocks(vectors):
        if rows == columns:
            squared.fill_diagonal_(torch.inf)
        else:
            nearest[columns] = _smallest(nearest[columns], squared.T)
        nearest[rows] = _smallest(nearest[rows], squared)
    return nearest.sqrt()


def log_unit_ball(units: int) -> float:
    """Log volume of the ball of radius 1 in so many dimensions."""
    return units / 2 * math.log(math.pi) - math.lgamma(units / 2 + 1)


def _smallest(nearest: Tensor, squared: Tensor) -> Tensor:
    return torch.cat([nearest, squared], 1).topk(nearest.shape[1], dim=1, largest=False).values
