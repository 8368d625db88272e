"""A labelled set of images: one split of one data set, on one device."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from apps.data.own_objects import OwnObjects
from apps.data.sources.finding import UPRIGHT
from apps.data.sources.kept_listing import bar
from apps.data.sources.stored_images import StoredImages
from apps.seeds import generator
from priors.errors import InputError

_STATISTICS_FROM = 10_000
_CHUNK = 4096


@dataclass(frozen=True)
class ImageSet:
    """Images with their labels; nothing in it is ever changed in place.

    Attributes:
        name: the data set.
        split: "train", "test" or what was cut from them, such as "train-validation".
        images: uint8, 0 ... 255, of shape (n, channels, height, width); or where those of a set too large for memory
            are stored.
        labels: int64, 0 ... classes - 1, of shape (n,).
        class_names: one a class, in the order of the labels.
        source: where it was read from, for people.
        objects: where the object of each picture is, where the data set says so.
    """

    name: str
    split: str
    images: UInt8[Tensor, "n channels height width"] | StoredImages
    labels: Int64[Tensor, " n"]
    class_names: tuple[str, ...]
    source: str = ""
    objects: OwnObjects | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.images.image_shape if isinstance(self.images, StoredImages) else tuple(self.images.shape[1:])

    @property
    def in_memory(self) -> bool:
        """Whether the pixels are held as one tensor, rather than decoded as they are needed."""
        return not isinstance(self.images, StoredImages)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that name the content (pixels, labels, class names), wherever it was read from.

        Pixels that stay in files are represented by the files' names and sizes, or by what else `fingerprint` is of;
        since these do not tell how the files are read, `UPRIGHT` follows.
        """
        hashed = blake2b(json.dumps([self.image_shape, self.class_names]).encode(), digest_size=8)
        hashed.update(self.labels.cpu().numpy().tobytes())
        if isinstance(self.images, StoredImages):
            hashed.update(self.images.fingerprint())
            return hashed.hexdigest() + UPRIGHT
        for chunk in self.images.split(_CHUNK):
            hashed.update(chunk.cpu().contiguous().numpy())
        return hashed.hexdigest()

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same set on `device`; pixels that stay in files are brought there batch by batch."""
        images = self.images if isinstance(self.images, StoredImages) else self.images.to(device)
        moved = replace(self, images=images, labels=self.labels.to(device))
        if "digest" in self.__dict__:
            moved.__dict__["digest"] = self.digest
        return moved

    def subset(self, index: Int64[Tensor, " m"] | Sequence[int], split: str | None = None) -> "ImageSet":
        """The images at positions `index`, in that order; `split` names the part.

        Raises:
            InputError: a position is outside the set.
        """
        index = torch.as_tensor(index, dtype=torch.int64)
        if index.numel() and not (0 <= int(index.min()) and int(index.max()) < len(self)):
            raise InputError(
                f"positions {int(index.min())} ... {int(index.max())} asked for in {len(self)} images of {self.name}"
            )
        images = (
            self.images.subset(index)
            if isinstance(self.images, StoredImages)
            else self.images[index.to(self.images.device)]
        )
        labels = self.labels[index.to(self.labels.device)]
        objects = None if self.objects is None else self.objects.subset(index)
        return replace(self, images=images, labels=labels, split=split or self.split, objects=objects)

    def image(self, number: int) -> UInt8[Tensor, "channels height width"]:
        """The image at that position, from the memory or its file.

        Raises:
            InputError: a position outside the set.
        """
        one = self.subset([number]).images
        return (one.read_all() if isinstance(one, StoredImages) else one)[0]


def split_validation(images: ImageSet, count: int, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Set `count` images aside at random: (the rest, the validation set), each in its original order.

    Depends on nothing but the number of images, `count` and `seed`.

    Raises:
        InputError: `count` leaves nothing on either side.
    """
    if not 0 < count < len(images):
        raise InputError(
            f"{count} of the {len(images)} images of {images.name} asked for as validation set: "
            f"give a number from 1 to {len(images) - 1}"
        )
    order = torch.randperm(len(images), generator=generator("cpu", seed, "validation"))
    kept, aside = order[count:].sort().values, order[:count].sort().values
    return images.subset(kept, f"{images.split}-rest"), images.subset(aside, f"{images.split}-validation")


def balanced_subset(images: ImageSet, count: int, seed: int = 0) -> ImageSet:
    """`count` images chosen at random, as many of each class as can be, in their original order.

    The numbers of two classes differ by one at most, where no class runs out. A smaller subset by the same seed is part
    of a larger one. Depends on nothing but the labels, `count` and `seed`.

    Raises:
        InputError: `count` is less than one a class, or more than there are.
    """
    if not images.classes <= count <= len(images):
        raise InputError(
            f"{count} of the {len(images)} images of {images.name} ({images.split}) asked for to train on: with "
            f"{images.classes} classes, give a number from {images.classes} to {len(images)}"
        )
    drawn = generator("cpu", seed, "balanced subset")
    order = torch.randperm(len(images), generator=drawn)
    labels = images.labels.cpu()[order]
    turn = torch.randperm(images.classes, generator=drawn)[labels]
    rank = torch.empty_like(order)  # of each image among those of its class
    for label in range(images.classes):
        members = (labels == label).nonzero().flatten()
        rank[members] = torch.arange(len(members))
    chosen = order[(rank * images.classes + turn).argsort()[:count]]
    return images.subset(chosen.sort().values, f"{images.split}-{count}")


def require_classes(images: ImageSet) -> None:
    """Make sure that there is something to tell apart.

    Raises:
        InputError: all images are of one class.
    """
    if len(images.class_names) < 2:
        raise InputError(f"{images.source} has one class, {images.class_names[0]!r}: at least two classes are needed")


def channel_statistics(images: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of pixels in [0, 1], over all pixels of the set.

    Taken from the exact histogram, so the result is the same on every device. Of a set that stays in files at most
    10,000 images, evenly spaced, are read, and of a large set what is found is kept beside it. A deviation is at least
    1/255, so that a constant channel can be divided by it.
    """
    channels = images.image_shape[0]
    if not isinstance(images.images, StoredImages):
        return _statistics(images.images.split(_CHUNK), channels)
    facts = images.images.facts
    if facts is None:
        return _statistics(_evenly(images.images), channels)

    def fits(value: object) -> bool:
        parts = value if isinstance(value, list) and len(value) == 2 else [None]
        return all(isinstance(part, list) and list(map(type, part)) == [float] * channels for part in parts)

    name = f"channel statistics of {images.digest}"
    found = facts.known(name, lambda: list(map(list, _statistics(_evenly(images.images), channels))), fits)
    return tuple(map(tuple, found))


def _evenly(files: StoredImages) -> Iterator[Tensor]:
    """At most 10,000 of the images, evenly spaced, with a bar."""
    some = range(0, len(files), -(-len(files) // _STATISTICS_FROM))
    return (files.read(position)[None] for position in bar(some, len(some), "channel statistics"))


def _statistics(chunks: Iterable[Tensor], channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel of some images."""
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for chunk in chunks:
        counts += torch.stack([chunk[:, i].flatten().bincount(minlength=256) for i in range(channels)]).cpu()
    levels = torch.arange(256, dtype=torch.float64) / 255
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = share @ levels
    variance = (share * (levels - mean[:, None]).square()).sum(1)
    return tuple(mean.tolist()), tuple(variance.sqrt().clamp_min(1 / 255).tolist())
