"""Features of images, taken once an image; of a generator's, by drawing them class by class."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from apps.fidelity.extractor import Extractor, run_extractor
from apps.figures import to_levels
from apps.generators.generator import Generator
from apps.image_set import ImageSet
from apps.sampling import BLOCK, draw_block
from priors.errors import InputError
from priors.storage import digest_of


@dataclass(frozen=True)
class Features:
    """What an extractor makes of images: one row each, on the CPU."""

    features: Float[Tensor, "n m"]
    logits: Float[Tensor, "n classes"] | None
    """None where they were not asked for: of real images nothing needs them."""
    name: str
    """Of the images."""
    split: str
    """Which of them."""
    digest: str
    """Of the images' content, or of the weights that drew them."""

    def __len__(self) -> int:
        return len(self.features)


def features_of(
    images: ImageSet, extractor: Extractor, sweep: Callable, *, logits: bool = False, store: Path | None = None
) -> Features:
    """Features of images as they are given, in their order.

    Args:
        images: the set.
        extractor: moved to the device of the sweep.
        sweep: `apps.sweep.sweep`, or one with its processes given.
        logits: whether those are wanted too.
        store: a folder that a stopped sweep goes on from.

    Raises:
        InputError: images that the extractor does not take, or features that are not finite.
    """
    extractor.check(images.image_shape, f"{images.name} ({images.split})")

    def of(batch) -> dict[str, Tensor]:
        extractor.network.to(batch.images.device)
        features, found = run_extractor(extractor, to_levels(batch.images))
        return {"features": features, "logits": found} if logits else {"features": features}

    kept = {} if store is None else {"store": store, "key": {"extractor": extractor.digest, "logits": logits}}
    title = f"features of {images.name}"
    swept = sweep(images, of, batch_size=extractor.batch_size, description=title, **kept)
    _check_finite(swept["features"], extractor, images.name)
    return Features(swept["features"], swept.get("logits"), images.name, images.split, images.digest)


def drawn_features(
    model: Generator,
    count: int,
    extractor: Extractor,
    sweep: Callable,
    seed: int = 0,
    *,
    name: str = "the generator",
    store: Path | None = None,
) -> Features:
    """Features and logits of `count` images that a generator draws, as many of each class as of any other.

    They are the images that `penult sample` writes for the seed, rounded to 8 bits alike, whatever the number of
    processes. The first image of every class comes first, then the second of every class: any stretch of them is
    balanced.

    Args:
        model: in evaluation mode, on the device of the sweep.
        count: images; where the classes do not divide it, the first ones have one more.
        extractor: moved to that device.
        sweep: `apps.sweep.sweep`, or one with its processes given.
        seed: of the draws.
        name: of the generator, for messages.
        store: a folder that a stopped sweep goes on from.

    Raises:
        InputError: images that the extractor does not take, or that are not finite.
    """
    extractor.check(tuple(model.image_shape), name)
    labels = list(range(len(model.class_names))) if model.conditional else [None]
    each = [-(-(count - index) // len(labels)) for index in range(len(labels))]
    # Images share a stream by 64, so whole blocks are drawn, and what is too much of the last of a class is dropped.
    blocks = [(index, number) for index, some in enumerate(each) for number in range(-(-some // BLOCK))]
    first = torch.tensor([number * BLOCK * len(labels) + index for index, number in blocks])
    place = (first[:, None] + torch.arange(BLOCK) * len(labels)).flatten()
    several = max(1, extractor.batch_size // BLOCK)
    size = several * BLOCK

    def of(batch) -> dict[str, Tensor]:
        some = blocks[batch.number * several : (batch.number + 1) * several]
        images = torch.cat([draw_block(model, labels[index], number, seed) for index, number in some])
        wanted = (place[batch.number * size : (batch.number + 1) * size] < count).nonzero().squeeze(1)
        wanted = wanted.to(images.device, non_blocking=True)
        extractor.network.to(images.device)
        features, logits = run_extractor(extractor, to_levels(images[wanted]))
        rows = {"features": features, "logits": logits}
        spread = {key: rows[key].new_zeros(len(images), rows[key].shape[1]) for key in rows}
        return {key: spread[key].index_copy(0, wanted, rows[key]) for key in rows} | {
            "finite": images.isfinite().flatten(1).all(1)
        }

    digest = digest_of(model.state_dict())
    key = {"extractor": extractor.digest, "weights": digest, "count": count, "seed": seed}
    kept = {} if store is None else {"store": store, "key": key}
    swept = sweep(_stand_in(name, len(place), model), of, batch_size=size, description=f"features of {name}", **kept)
    order = place.argsort()[:count]
    if not bool(swept["finite"][order].all()):
        wrong = int((~swept["finite"][order]).sum())
        raise InputError(f"{wrong:,} of the {count:,} images that {name} draws are not finite: its training diverged")
    _check_finite(swept["features"], extractor, name)
    return Features(swept["features"][order], swept["logits"][order], name, "drawn", digest)


def _stand_in(name: str, count: int, model: Generator) -> ImageSet:
    """A set to sweep over that has no pixels yet."""
    labels = torch.zeros(count, dtype=torch.int64, device=next(model.parameters()).device)
    return ImageSet(name, "drawn", torch.zeros(count, 1, 1, 1, dtype=torch.uint8), labels, ("drawn",))


def _check_finite(features: Tensor, extractor: Extractor, name: str) -> None:
    if not bool(features.isfinite().all()):
        row = int((~features.isfinite()).any(1).nonzero()[0])
        raise InputError(
            f"the features that {extractor.name} has of image {row} of {name} are not finite: give another extractor"
        )
