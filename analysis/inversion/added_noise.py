"""How much of its input a representation keeps when noise is added to it: bounds by kernel densities, in nats.

Section 3.3 of Nash, Kushman and Williams (Inverting supervised representations with autoregressive neural density
models, 2019), which argues for an inversion model instead. A network's h(x) is deterministic, and I(x; h) = H(h) of N
images is log N as soon as no two h are equal. With eps ~ N(0, variance I) it is

    I(x; h + eps) = H(h + eps) - H(eps)                                                                    (equation 2)

which depends on the noise as much as on the network.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.inversion.distances import mean_vector, pair_blocks, squared_distances
from analysis.inversion.rows import require_positive, row_blocks, rows_of
from priors.checks.draws import gaussians, require_generator
from priors.errors import InputError
from priors.rare_constants import load_rare_constants

load_rare_constants()


@dataclass(frozen=True)
class NoiseBounds:
    """Bounds of I(x; h + eps) for x one of N images at random.

    Attributes:
        images: N.
        units: of h.
        variance: of the noise in each unit, in squared units of the activation.
        lower: nats; on average over draws of the images also at most I(x; h) of all images there are.
        upper: nats; for these N images alone.
    """

    images: int
    units: int
    variance: float
    lower: float
    upper: float

    caveat: ClassVar[str] = (
        "never above log N; near it they say that the noise is small beside the images' distances, not what the network"
        " keeps, and the network itself has no such noise"
    )

    @property
    def ceiling(self) -> float:
        """log N, in nats: where both bounds go as the noise goes to 0, unless two images have equal activations."""
        return math.log(self.images)


@dataclass(frozen=True)
class DensityBound:
    """Upper bound of I(x; h + eps) for images not fitted to, by a kernel density estimate.

    Attributes:
        fitted: images whose activations are the kernels' centres.
        images: that the density was scored on.
        units: of h.
        variance: of the noise in each unit, in squared units of the activation.
        bandwidth: variance of a kernel in each unit, in the same.
        upper: nats.
        error: its standard error over images, in nats.
    """

    fitted: int
    images: int
    units: int
    variance: float
    bandwidth: float
    upper: float
    error: float

    caveat: ClassVar[str] = (
        "as loose as the density is poor: in more than a few dimensions no kernel is near an image that was not fitted"
        " to, and the bound can be far above the entropy of the images themselves"
    )


def noise_bounds(activations: Float[Tensor, "images *features"], variances: Sequence[float]) -> tuple[NoiseBounds, ...]:
    """Bounds of I(x; h + eps) by pairwise distances, one a variance; one pass over the pairs serves all.

        lower = -1/N sum_i log 1/N sum_j exp(-||h_i - h_j||^2 / (8 variance))
        upper = -1/N sum_i log 1/N sum_j exp(-||h_i - h_j||^2 / (2 variance))

    The entropy of the mixture h + eps is bounded by Bhattacharyya distances and by Kullback-Leibler divergences of its
    parts (Kolchinsky and Tracey, Estimating mixture entropy with pairwise distances, 2017); so do Saxe et al. (On the
    information bottleneck theory of deep learning, 2018). Parts of equal covariance have no better Chernoff bound.

    10,000 images of 800 units take some 3 s on one thread, and less than 100 MB beyond the activations.

    Args:
        activations: a row an image, flattened here; computed with in float64, on their device.
        variances: of the noise in each unit, each above 0.

    Raises:
        InputError: fewer than two images, no units, values that are not finite, or a variance that is not above 0.

    Example:
        >>> for found in noise_bounds(torch.eye(4), [1e-3, 1.0]):
        ...     print(f"{found.lower:.3f} {found.upper:.3f} {found.ceiling:.3f}")
        1.386 1.386 1.386
        0.181 0.643 1.386
    """
    for variance in variances:
        require_positive("variance", variance)
    h = rows_of(activations)
    images, units = h.shape
    # Every row is at distance 0 from itself: the sums are at least 1, and nothing needs to be scaled.
    sums = torch.zeros(len(variances), 2, images, dtype=torch.float64, device=h.device)
    for rows, columns, squared in pair_blocks(h):
        for variance, (lower, upper) in zip(variances, sums, strict=True):
            kernel = (squared / (-8 * variance)).exp_()
            _add(lower, rows, columns, kernel)
            _add(upper, rows, columns, kernel.square_().square_())
    bounds = (math.log(images) - sums.log().mean(2)).tolist()
    return tuple(
        NoiseBounds(images, units, float(variance), *bound) for variance, bound in zip(variances, bounds, strict=True)
    )


def density_bound(
    fitted: Float[Tensor, "fitted ..."],
    held_out: Float[Tensor, "images ..."],
    variance: float,
    *,
    bandwidth: float | None = None,
    generator: torch.Generator | None = None,
) -> DensityBound:
    """I(x; h + eps) <= -E log p*(h + eps) - H(eps) (equation 2), with the density p* estimated from other images.

        p*(t) = 1/N sum_j N(t; h_j, bandwidth I),    j the images fitted to

    Unlike `noise_bounds` it holds, on average, for all images there are, and log N is no ceiling to it.

    Args:
        fitted: activations that the kernels are centred on, a row an image.
        held_out: activations of other images, which the density is scored on.
        variance: of the noise in each unit.
        bandwidth: variance of a kernel in each unit; None: that of the noise. Choose it on images of neither set: what
            is best for `held_out` is too good to be a bound.
        generator: of the noise, one draw an image, on any device; None: torch's own of the activations' device.

    Raises:
        InputError: as for `noise_bounds`, the two sets have not as many units, or a generator that is none.
    """
    bandwidth = variance if bandwidth is None else bandwidth
    require_positive("variance", variance)
    require_positive("bandwidth", bandwidth)
    require_generator(generator)
    centres, h = rows_of(fitted), rows_of(held_out)
    units = h.shape[1]
    if centres.shape[1] != units:
        raise InputError(f"held-out activations have {units} units: {centres.shape[1]} were expected, as fitted to")
    mean, scores = mean_vector(centres), []
    for rows in row_blocks(h):
        noise = gaussians(h[rows].shape, generator, torch.float64, h.device)
        blurred = h[rows] + math.sqrt(variance) * noise
        score = torch.full_like(blurred[:, 0], -torch.inf)
        for columns in row_blocks(centres):
            squared = squared_distances(blurred, centres[columns].double(), mean)
            score = torch.logaddexp(score, squared.div_(-2 * bandwidth).logsumexp(1))
        scores.append(score)
    # -log p* - H(eps), of whose constants log 2 pi cancels.
    nats = math.log(len(centres)) + units / 2 * (math.log(bandwidth / variance) - 1) - torch.cat(scores)
    return DensityBound(
        fitted=len(centres),
        images=len(h),
        units=units,
        variance=float(variance),
        bandwidth=float(bandwidth),
        upper=float(nats.mean()),
        error=float(nats.std() / math.sqrt(len(nats))),
    )


def _add(sums: Tensor, rows: slice, columns: slice, block: Tensor) -> None:
    """Add a block's sums over pairs to both ends of each pair."""
    sums[rows] += block.sum(1)
    if rows != columns:
        sums[columns] += block.sum(0)
