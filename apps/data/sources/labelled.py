"""Splits of images with labels, from wherever they are stored, made into a set: the names and shapes of all agree."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from apps.data.image_set import ImageSet
from apps.data.sources.stored_images import Brought, StoredImages, check_agreement, check_resize, held_pixels, look
from priors.errors import InputError

UNKNOWN = (3, 1, 1)
"""Shape of stored images before their headers are looked at."""


@dataclass(frozen=True)
class Labelled:
    """One split as it is stored.

    Attributes:
        images: whose shape is not known yet.
        labels: one an image: numbers from 0, or names of classes.
        class_names: one a class, in the order of the numbers; None where labels say all there is.
        called: what the split is called where it is stored, for messages.
    """

    images: StoredImages
    labels: Sequence[int] | Sequence[str]
    class_names: tuple[str, ...] | None
    called: str


def image_set(name: str, source: str, split: str, read: Callable[[str], Labelled | None], brought: Brought) -> ImageSet:
    """One split as a set, decoded where it fits into memory.

    Args:
        name: of the set.
        source: where it is, for people.
        split: "train" or "test".
        read: gives each of the two; None where there is none.
        brought: to which size, and how it is held.

    Raises:
        InputError: sizes or colours differ, classes have no one name, a label is none, or a split is not there.
    """
    check_resize(brought.image_size, brought.resize)
    own = _there(read(split), split, source)
    if not len(own.images):
        raise InputError(f"{source}: its split {own.called} holds no images")
    other = read("test") if split == "train" else None
    names = own.class_names or _names(own if split == "train" else _there(read("train"), "train", source), source)
    found = look(own.images, brought.image_size)
    if other is not None and len(other.images):
        tested = other.images, look(other.images, brought.image_size)
        check_agreement((own.images, found), tested, tuple(f"{source} {one.called}" for one in (own, other)))
        _numbered(other, names, source)
    labels = torch.from_numpy(_numbered(own, names, source))
    images = replace(own.images, image_shape=found.shape, resized=brought.image_size is not None, side=brought.resize)
    whole = len(images)
    if brought.first is not None and brought.first < whole:
        some = torch.arange(brought.first)
        images, labels = images.subset(some), labels[some]
    return ImageSet(
        name=name,
        split=split,
        images=held_pixels(images, brought.memory_limit, whole),
        labels=labels,
        class_names=names,
        source=source,
    )


def check_names(names: Sequence[str], source: str) -> tuple[str, ...]:
    """The names of classes, each of which is there once: scores are told by it.

    Raises:
        InputError: one is there twice.
    """
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise InputError(f"{source}: {count} classes are called {name!r}: give each a name of its own")
    return tuple(names)


def check_filled(images: ImageSet) -> None:
    """Make sure that each class has training images.

    Raises:
        InputError: one has none.
    """
    empty = (images.labels.bincount(minlength=images.classes) == 0).nonzero().flatten().tolist()
    if empty:
        name = images.class_names[empty[0]]
        more = "" if len(empty) == 1 else f", nor {len(empty) - 1} others"
        raise InputError(
            f"{images.source}: class {empty[0]} ({name}) has no training images{more}: choose those that have some "
            "(--classes)"
        )


def _there(found: Labelled | None, split: str, source: str) -> Labelled:
    if found is None:
        raise InputError(f"{source} has no {split} split: name one, {split}=...")
    return found


def _names(train: Labelled, source: str) -> tuple[str, ...]:
    """The classes of labels that say all there is: names in order, or as many numbers as there are."""
    if train.class_names:
        return train.class_names
    if len(train.labels) and isinstance(train.labels[0], str):
        return tuple(sorted(set(train.labels)))
    top = int(max(train.labels, default=-1))
    if top >= max(len(train.labels), 1):
        raise InputError(
            f"{source}: label {top} of {len(train.labels)} training images: number classes from 0, without gaps"
        )
    return tuple(map(str, range(top + 1)))


def _numbered(part: Labelled, names: tuple[str, ...], source: str) -> np.ndarray:
    """The labels of a split as numbers.

    Raises:
        InputError: one is outside the classes.
    """
    if len(part.labels) and isinstance(part.labels[0], str):
        number = {name: label for label, name in enumerate(names)}
        strange = next((label for label in part.labels if label not in number), None)
        if strange is not None:
            raise InputError(f"{source}: class {strange!r} of its split {part.called} is none of the training images'")
        return np.array([number[label] for label in part.labels], dtype=np.int64)
    # Numbers that only Python holds are outside as well.
    labels = np.array([min(max(int(label), -1), 2**62) for label in part.labels], dtype=np.int64)
    outside = np.flatnonzero((labels < 0) | (labels >= len(names)))
    if outside.size:
        which = int(outside[0])
        none = " (images without a class: name another split, test=...)" if (labels < 0).all() else ""
        raise InputError(
            f"{source}: label {part.labels[which]} of image {which} of its split {part.called}, expected 0 to "
            f"{len(names) - 1}{none}"
        )
    return labels
