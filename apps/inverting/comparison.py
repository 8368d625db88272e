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


@torch.no_grad()
def distances(
    inverted: Inverted, images: Tensor, training: ImageSet, seed: int, said: Callable[[int], object] = lambda done: None
) -> Distances:
    """Table 1 for one layer.

    Args:
        inverted: a density with a context.
        images: test images in [0, 1].
        training: what the nearest are looked for in.
        seed: of the draws.
        said: told of how many more images it is done.
    """
    own = inverted.context(images)
    index_distance = _nearest_training(inverted, own, training, 1)[1]
    first, closest = [], []
    block = max(1, inverted.most(images.device) // DRAWS)
    for start in range(0, len(images), block):
        some = images[start : start + block]
        draws = inverted.draw(some, DRAWS, seed, "distances", start)
        found = inverted.context(draws.flatten(0, 1))
        apart = unit_distance(found, own[start : start + len(some)].repeat_interleave(DRAWS, 0)).view(-1, DRAWS)
        first.append(apart[:, 0])
        closest.append(apart.amin(1))
        said(len(some))
    return Distances(
        float(index_distance.double().mean()),
        float(torch.cat(first).double().mean()),
        float(torch.cat(closest).double().mean()),
        len(images),
    )


@torch.no_grad()
def closest(inverted: Inverted, images: Tensor, training: ImageSet, k: int, draws: int, seed: int) -> Closest:
    """The nearest of many samples and of the training images, to each of some images.

    Args:
        inverted: a density with a context.
        images: test images in [0, 1].
        training: what the nearest are looked for in.
        k: how many to keep.
        draws: samples of each image; the paper has 1,024.
        seed: of the draws.
    """
    own = inverted.context(images)
    index, apart = _nearest_training(inverted, own, training, k)
    chosen = training.subset(index.flatten().cpu())
    near = torch.cat([batch.images for batch in ordered(chosen, _SWEPT)])
    kept, distance = [], []
    for number in range(len(images)):
        samples = inverted.draw(images[number : number + 1], draws, seed, "closest", number)[0]
        found = nearest(own[number : number + 1], inverted.context(samples), k)
        kept.append(samples[found.index[0]])
        distance.append(found.distance[0])
    return Closest(
        torch.stack(kept).cpu(),
        torch.stack(distance).cpu(),
        near.unflatten(0, (len(images), k)).cpu(),
        apart.cpu(),
    )


def _nearest_training(inverted: Inverted, own: Tensor, training: ImageSet, k: int) -> tuple[Tensor, Tensor]:
    """Positions and distances of the nearest training images in the representation."""
    near = Nearest(own, k)
    for batch in ordered(training, _SWEPT, device=own.device):
        near.add(inverted.context(batch.images))
    found = near.found()
    return found.index, found.distance
