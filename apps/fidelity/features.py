"""Features of images, taken once an image; of a generator's, by drawing them class by class."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from apps.data.image_set import ImageSet
from apps.fidelity.drawn_set import drawn_rows
from apps.fidelity.extractor import Extractor, run_extractor
from apps.figures import to_levels
from apps.models.generator import Generator
from apps.training.shares import everywhere
from priors.errors import InputError
from priors.files.tensors import digest_of
from priors.vmf.directions import in_parts


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
    images: ImageSet,
    extractor: Extractor,
    sweep: Callable,
    *,
    logits: bool = False,
    store: Path | None = None,
    first: bool = False,
) -> Features | None:
    """Features of images as they are given, in their order.

    Args:
        images: the set.
        extractor: moved to the device of the sweep.
        sweep: `apps.data.sweep.sweep`, or one with its processes given.
        logits: whether those are wanted too.
        store: a folder that a stopped sweep goes on from.
        first: whether the first process alone is to have them, as for `sweep`; the others get None.

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
    kept |= {"first": True} if first else {}
    swept = sweep(images, of, batch_size=extractor.batch_size, description=title, **kept)
    # Known to all, also who has no rows: else they would wait for the first, which stops.
    _check_finite(_spoilt(swept["features"]) if swept else None, extractor, images.name, everywhere if first else None)
    if not swept:
        return None
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
        sweep: `apps.data.sweep.sweep`, or one with its processes given.
        seed: of the draws.
        name: of the generator, for messages.
        store: a folder that a stopped sweep goes on from.

    Raises:
        InputError: images that the extractor does not take, or that are not finite.
    """
    extractor.check(tuple(model.image_shape), name)
    classes = len(model.class_names) if model.conditional else 1
    each = [-(-(count - index) // classes) for index in range(classes)]

    def of(images: Tensor) -> dict[str, Tensor]:
        extractor.network.to(images.device)
        features, logits = run_extractor(extractor, to_levels(images))
        return {"features": features, "logits": logits}

    rows, labels, numbers = drawn_rows(
        model,
        each,
        sweep,
        of,
        seed,
        name=name,
        description="features",
        batch_size=extractor.batch_size,
        store=store,
        key={"extractor": extractor.digest},
    )
    order = (numbers * classes + labels).argsort()
    _check_finite(_spoilt(rows["features"]), extractor, name)
    return Features(rows["features"][order], rows["logits"][order], name, "drawn", digest_of(model.state_dict()))


def _spoilt(features: Tensor) -> int | None:
    """The first row with a number that is not finite."""
    found = in_parts(lambda part: ~part.isfinite().all(1), features).nonzero()
    return int(found[0]) if len(found) else None


def _check_finite(row: int | None, extractor: Extractor, name: str, told: Callable | None = None) -> None:
    """Refuse features that are not finite, of this process, or of the first where they `told` all which row it is."""
    row = told(row)[0] if told else row
    if row is not None:
        raise InputError(
            f"the features that {extractor.name} has of image {row} of {name} are not finite: give another extractor"
        )
