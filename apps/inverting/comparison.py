"""Samples of an inversion beside the nearest training images, in the representation (table 1 and figure 2)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.inversion.cross_entropy import Nearest, nearest, unit_distance
from apps.data.batches import ordered
from apps.data.image_set import ImageSet
from apps.inverting.inverted import Inverted
from apps.training.shares import shared

DRAWS = 10
"""Samples of each image in table 1."""
_SWEPT = 500


@dataclass(frozen=True)
class Distances:
    """Mean absolute differences a unit between the representations of test images and of others (table 1).

    Attributes:
        nearest: of the training image that is nearest in the representation (1NN).
        sample: of one sample (IM-S).
        closest: of the closest of ten samples (IM-NN).
        images: how many test images these are means of.
    """

    nearest: float
    sample: float
    closest: float
    images: int


@dataclass(frozen=True)
class Closest:
    """What is nearest to some test images in a representation (figure 2).

    Attributes:
        samples: (images, k, channels, height, width), of many samples, the nearest first.
        sample_distance: (images, k) mean absolute differences a unit.
        training: (images, k, channels, height, width), of the training images.
        training_distance: (images, k).
    """

    samples: Float[Tensor, "images k channels height width"]
    sample_distance: Float[Tensor, "images k"]
    training: Float[Tensor, "images k channels height width"]
    training_distance: Float[Tensor, "images k"]


def distances(
    inverted: Inverted, images: Tensor, training: ImageSet, seed: int, said: Callable[[int], object] = lambda done: None
) -> Distances:
    """Table 1 for one layer, by all processes together.

    Args:
        inverted: a density with a context.
        images: test images in [0, 1].
        training: what the nearest are looked for in.
        seed: of the draws.
        said: told of how many more images this process is done.
    """

    def apart(places: range) -> dict[str, Tensor]:
        some = images[places.start : places.stop]
        return _distances(inverted, some, training, seed, places.start, said)

    found = {name: float(rows.double().mean()) for name, rows in shared(len(images), apart).items()}
    return Distances(**found, images=len(images))


@torch.no_grad()
def _distances(
    inverted: Inverted, images: Tensor, training: ImageSet, seed: int, first: int, said: Callable[[int], object]
) -> dict[str, Tensor]:
    """What `Distances` has the means of, of each of some images; `first` is the place of the first one."""
    own = inverted.context(images)
    near = _nearest_training(inverted, own, training, 1)[1]
    sample, closest = [], []
    block = max(1, inverted.most(images.device) // DRAWS)
    for start in range(0, len(images), block):
        some = images[start : start + block]
        draws = inverted.draw(some, DRAWS, seed, "distances", first + start)
        found = inverted.context(draws.flatten(0, 1))
        apart = unit_distance(found, own[start : start + len(some)].repeat_interleave(DRAWS, 0)).view(-1, DRAWS)
        sample.append(apart[:, 0])
        closest.append(apart.amin(1))
        said(len(some))
    return {"nearest": near, "sample": torch.cat(sample), "closest": torch.cat(closest)}


def closest(inverted: Inverted, images: Tensor, training: ImageSet, k: int, draws: int, seed: int) -> Closest:
    """The nearest of many samples and of the training images, to each of some images, by all processes together.

    Args:
        inverted: a density with a context.
        images: test images in [0, 1].
        training: what the nearest are looked for in.
        k: how many to keep.
        draws: samples of each image; the paper has 1,024.
        seed: of the draws.
    """

    def near(places: range) -> dict[str, Tensor]:
        return _closest(inverted, images[places.start : places.stop], training, k, draws, seed, places.start)

    found = shared(len(images), near)
    chosen = training.subset(found.pop("index").flatten())
    pixels = torch.cat([batch.images for batch in ordered(chosen, _SWEPT)])
    return Closest(**found, training=pixels.unflatten(0, (len(images), k)).cpu())


@torch.no_grad()
def _closest(
    inverted: Inverted, images: Tensor, training: ImageSet, k: int, draws: int, seed: int, first: int
) -> dict[str, Tensor]:
    """What `Closest` has of each of some images, its training images by their places; `first` is the first's place."""
    own = inverted.context(images)
    index, apart = _nearest_training(inverted, own, training, k)
    kept, distance = [], []
    for number in range(len(images)):
        samples = inverted.draw(images[number : number + 1], draws, seed, "closest", first + number)[0]
        found = nearest(own[number : number + 1], inverted.context(samples), k)
        kept.append(samples[found.index[0]])
        distance.append(found.distance[0])
    return {
        "samples": torch.stack(kept),
        "sample_distance": torch.stack(distance),
        "index": index,
        "training_distance": apart,
    }


def _nearest_training(inverted: Inverted, own: Tensor, training: ImageSet, k: int) -> tuple[Tensor, Tensor]:
    """Positions and distances of the nearest training images in the representation."""
    near = Nearest(own, k)
    for batch in ordered(training, _SWEPT, device=own.device):
        near.add(inverted.context(batch.images))
    found = near.found()
    return found.index, found.distance
