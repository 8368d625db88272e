"""What a density of images given a representation says of the information in it (Nash, Kushman and Williams 2019)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from priors.checks.floats import at_least_float32, require_floats
from priors.errors import InputError

MEANING = (
    "NCE: mean of log p(x|h) over held-out images (equation 11, negated). H(x) + NCE bounds I(x; h) from below, and "
    "H(x) is not known: it is the same for all layers of networks that see the same images. So a layer's NCE shows how "
    "much of an image this density can tell from it, at least; a difference of two NCEs, also from that of a model "
    "without context, compares two bounds and is itself none. Errors are of the sample of images, not of the trainings."
)
"""What may be said of the numbers, wherever they are printed."""


class ConditionalDensity(Protocol):
    """All that an inversion asks of a density; what else `analysis.densities.pixelcnn.PixelCNN` has makes it faster."""

    def log_prob(self, images: Tensor, context: Tensor | None) -> Float[Tensor, " batch"]:
        """log p(x | h) in nats, of images (batch, channels, height, width) in [0, 1]."""

    def sample(self, context: Tensor | int) -> Tensor:
        """An image with values k / 255 for each row of the context; without one, as many as are asked for."""


@dataclass(frozen=True)
class NegativeCrossEntropy:
    """-H*(x|h), equation 11.

    Attributes:
        nats: mean log-likelihood of an image.
        standard_error: of that mean over the images, in nats.
        images: how many.
        dimensions: sub-pixels of an image.
    """

    nats: float
    standard_error: float
    images: int
    dimensions: int

    @property
    def bits_per_dim(self) -> float:
        """The cross-entropy in bits a sub-pixel; less is more likely."""
        return bits_per_dim(self.nats, (self.dimensions,))


def bits_per_dim(nats: float | Tensor, image_shape: Sequence[int]) -> float | Tensor:
    """The cross-entropy in bits a sub-pixel, of a log-likelihood of whole images in nats; float32, or float64 of such.

    Raises:
        InputError: tensors of whole numbers.

    Example:
        >>> bits_per_dim(uniform_nats((1, 28, 28)), (1, 28, 28))
        8.0
    """
    nats = at_least_float32(nats, "log-likelihoods") if isinstance(nats, Tensor) else nats
    return -nats / (math.prod(image_shape) * math.log(2))


@dataclass(frozen=True)
class Difference:
    """A difference of two NCEs on the same images.

    Attributes:
        nats: the first minus the second.
        standard_error: of it, from the images' own differences.
    """

    nats: float
    standard_error: float


@dataclass(frozen=True)
class Increase:
    """A deeper layer that tells more of the images than one before it, which cannot be if it is computed from that.

    Attributes:
        shallower: the layer before.
        deeper: the layer computed from it.
        difference: NCE of the deeper minus the shallower.
    """

    shallower: str
    deeper: str
    difference: Difference

    def __str__(self) -> str:
        """In words, with what to do."""
        found = f"{self.difference.nats:.2f} +- {self.difference.standard_error:.2f} nats"
        return (
            f"NCE rises by {found} from {self.shallower} to {self.deeper}: if that is computed from {self.shallower} "
            "alone, a better density of this would have at least as much (data-processing inequality); train it "
            "further, or wider"
        )


def negative_cross_entropy(log_likelihoods: Float[Tensor, " images"], dimensions: int) -> NegativeCrossEntropy:
    """The mean of log p(x|h) over images, with its standard error.

    Args:
        log_likelihoods: nats, one an image, of images that were not trained on.
        dimensions: sub-pixels of an image.

    Raises:
        InputError: fewer than two images, or values that are not finite.
    """
    _require(log_likelihoods)
    variance, mean = torch.var_mean(log_likelihoods.double())
    count = len(log_likelihoods)
    return NegativeCrossEntropy(float(mean), math.sqrt(float(variance) / count), count, dimensions)


def paired_difference(first: Float[Tensor, " images"], second: Float[Tensor, " others"]) -> Difference:
    """How much more the first says of an image than the second, image by image.

    Raises:
        InputError: other images, fewer than two, or values that are not finite.
    """
    if first.shape != second.shape:
        raise InputError(f"log-likelihoods of {len(first)} and of {len(second)} images: the same images were expected")
    _require(first)
    _require(second)
    variance, mean = torch.var_mean(first.double() - second.double())
    return Difference(float(mean), math.sqrt(float(variance) / len(first)))


def increases(layers: Mapping[str, Float[Tensor, " images"]], errors: float = 2.0) -> tuple[Increase, ...]:
    """Layers whose NCE is higher than that of a layer before them, by more than so many standard errors.

    Args:
        layers: log-likelihoods of the same images, from the input on; each layer is computed from those before it.
        errors: how many standard errors of the paired difference an increase must pass.
    """
    found = []
    for number, (deeper, nats) in enumerate(layers.items()):
        before = {name: paired_difference(nats, layers[name]) for name in list(layers)[:number]}
        above = {name: one for name, one in before.items() if one.nats > errors * one.standard_error}
        if above:  # the one that it exceeds most
            worst = max(above, key=lambda name: above[name].nats)
            found.append(Increase(worst, deeper, above[worst]))
    return tuple(found)


def uniform_nats(image_shape: Sequence[int]) -> float:
    """log p of an image where all 256 values of each sub-pixel are as probable: what no context and no model give.

    Example:
        >>> round(uniform_nats((1, 28, 28)))
        -4347
    """
    return -math.prod(image_shape) * math.log(256)


def unit_distance(
    first: Float[Tensor, "batch *units"], second: Float[Tensor, "others *theirs"]
) -> Float[Tensor, " batch"]:
    """Mean absolute difference of two representations over their units (table 1); float32, or float64 of such.

    Raises:
        InputError: other shapes, or no floating-point numbers.
    """
    if first.shape != second.shape:
        raise InputError(f"representations of shape {tuple(first.shape)} and {tuple(second.shape)}: the same expected")
    first, second = (at_least_float32(units, "representations") for units in (first, second))
    return (first - second).abs().flatten(1).mean(1)


@dataclass(frozen=True)
class Neighbours:
    """The nearest of some representations to others.

    Attributes:
        index: (queries, k) positions among the candidates, the nearest first.
        distance: (queries, k) mean absolute differences over the units; float32, or float64 where any of both is.
    """

    index: Int64[Tensor, "queries k"]
    distance: Float[Tensor, "queries k"]


def nearest(
    queries: Float[Tensor, "queries *units"], candidates: Float[Tensor, "candidates *theirs"], k: int
) -> Neighbours:
    """The k candidates with the least `unit_distance` to each query.

    Raises:
        InputError: representations of different layers, fewer than k candidates, or no floating-point numbers.
    """
    queries, candidates = (at_least_float32(units, "representations").flatten(1) for units in (queries, candidates))
    dtype = torch.promote_types(queries.dtype, candidates.dtype)
    if queries.shape[1] != candidates.shape[1]:
        raise InputError(
            f"representations of {queries.shape[1]} and {candidates.shape[1]} units: those of one layer were expected"
        )
    if not 1 <= k <= len(candidates):
        raise InputError(f"the {k} nearest of {len(candidates)}: expected from 1 to {len(candidates)}")
    distance = torch.cdist(queries.to(dtype), candidates.to(dtype), p=1) / queries.shape[1]
    found = distance.topk(k, dim=1, largest=False)
    return Neighbours(found.indices, found.values)


class Nearest:
    """The same for candidates that come in parts, as those of a whole training set do.

    Args:
        queries: (queries, ...) representations.
        k: how many neighbours.
    """

    def __init__(self, queries: Float[Tensor, "queries *units"], k: int):
        self._queries, self._k, self._seen = queries.flatten(1), k, 0
        self._found: Neighbours | None = None

    def add(self, candidates: Float[Tensor, "candidates *units"]) -> None:
        """Look at some more candidates; their positions go on from those before."""
        part = nearest(self._queries, candidates, min(self._k, len(candidates)))
        index, distance = part.index + self._seen, part.distance
        self._seen += len(candidates)
        if self._found is not None:
            index = torch.cat([self._found.index, index], 1)
            distance = torch.cat([self._found.distance, distance], 1)
        kept = distance.topk(min(self._k, distance.shape[1]), dim=1, largest=False)
        self._found = Neighbours(index.gather(1, kept.indices), kept.values)

    def found(self) -> Neighbours:
        """The nearest of all that were added.

        Raises:
            InputError: fewer than k were.
        """
        if self._found is None or self._found.index.shape[1] < self._k:
            raise InputError(f"the {self._k} nearest of {self._seen}: fewer candidates than that")
        return self._found


def _require(log_likelihoods: Tensor) -> None:
    require_floats(log_likelihoods, "log-likelihoods")
    if len(log_likelihoods) < 2:
        raise InputError(f"log-likelihoods of {len(log_likelihoods)} image: a standard error needs 2 or more")
    if not bool(log_likelihoods.isfinite().all()):
        count = int((~log_likelihoods.isfinite()).sum())
        raise InputError(f"log-likelihoods of {count} of {len(log_likelihoods)} images are not finite")
