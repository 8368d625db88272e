"""Images that stay where they are stored, and are decoded when they are needed."""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from apps.command.launch import local_processes
from apps.data.sources.decoding import centre, channels_of, decoded, size_of
from apps.data.sources.kept_listing import bar
from priors.errors import InputError

if TYPE_CHECKING:
    from typing import Self

    from apps.data.sources.kept_listing import Facts

Part = Callable[[int, int], tuple[int, int, int, int]]
"""The part of a picture of a height and a width: its top, left, height and width."""
Cut = Callable[[int, int, int], tuple[int, int, int, int]]
"""The same of a view, a height and a width."""
Crop = tuple[int, int, int, int]
"""The part of a picture that stands for it: its left, top, right and bottom in pixels."""
_LOOKED_AT = 10_000


class StoredImages(ABC):
    """Images that decode to one shape, from wherever they lie: files, shards, a table, a data set of one's own.

    Each is a frozen dataclass with these fields and its own.

    Attributes:
        image_shape: (channels, height, width) of a decoded image; 1 channel is grey, 3 are RGB.
        resized: whether images of another size are brought to this one, then square (shorter side resized, centre cut
            out), rather than refused.
        side: what the shorter side is resized to before that; None: the side of the shape.
    """

    image_shape: tuple[int, int, int]
    resized: bool
    side: int | None

    @property
    @abstractmethod
    def place(self) -> str:
        """Where they are, for people."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def subset(self, index: Int64[Tensor, " m"]) -> "Self":
        """The images at positions `index`, in that order."""

    @abstractmethod
    def fingerprint(self) -> bytes:
        """A digest of what is stored, and of the shape it is decoded to and how; the same wherever it lies."""

    @abstractmethod
    def called(self, position: int) -> str:
        """What an image is called, for messages."""

    @abstractmethod
    def opened(self, position: int) -> AbstractContextManager[Image.Image]:
        """An image with its header read, whose pixels may be still to be decoded.

        Raises:
            InputError: it is missing, or not an image.
        """

    def stamp(self) -> str:
        """When what is stored was written, where the digest of a set cannot tell that it was changed."""
        return ""

    def crop(self, position: int) -> Crop | None:
        """The part of a picture that is taken first; None for all of it."""
        return None

    @property
    def squared(self) -> bool:
        """Whether pictures are brought to a square whole, their two sides by factors of their own."""
        return False

    @property
    def facts(self) -> "Facts | None":
        """Where facts of the images are kept, of a large set."""
        return None

    def read(self, position: int, part: Part | None = None) -> UInt8[Tensor, "channels height width"]:
        """Decode one image, or a part of the whole picture, which is brought to the shape of the images.

        Raises:
            InputError: the image is missing, damaged, or of another size or kind than the set; it is named.
        """
        name = self.called(position)
        channels, height, width = self.image_shape
        with self.opened(position) as image:
            if channels == 1 and channels_of(image, name) != 1:
                raise InputError(
                    f"{name} is a colour image, but the others looked at are grey: convert it or the others"
                )
            image = decoded(image, name, channels)
        crop = self.crop(position)
        if crop is not None:
            image = image.crop(crop)
        if part is not None:
            top, left, tall, wide = part(image.height, image.width)
            cut = image.crop((left, top, left + wide, top + tall))
            image = cut.resize((width, height), Image.Resampling.BILINEAR)
        elif image.size != (width, height) or self.side is not None:
            if not self.resized:
                raise InputError(
                    f"{name} is {image.height}x{image.width}, but the images of this set are {height}x{width}: "
                    "give an image size (--image-size) to bring all to one"
                )
            image = centre(image, height, self.side, squared=self.squared)
        pixels = np.array(image, dtype=np.uint8).reshape(height, width, channels)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()

    def read_all(self) -> UInt8[Tensor, "n channels height width"]:
        """Decode every image into one tensor."""
        images = torch.empty((len(self), *self.image_shape), dtype=torch.uint8)
        for position in bar(range(len(self)), len(self), "pictures"):
            images[position] = self.read(position)
        return images

    def stream(
        self,
        batches: Iterable[list[tuple[int, int]]],
        workers: int | None = None,
        pin_memory: bool = False,
        cut: Cut | None = None,
    ) -> Iterator[UInt8[Tensor, "batch channels height width"]]:
        """Decode batches of positions in worker processes, ahead of their use, in the order given.

        Args:
            batches: the position and the view of each image of a batch; may be endless.
            workers: how many processes decode; 0 decodes in this one; by default one a core, at most 8. The processes
                of a launch on this machine share the cores out.
            pin_memory: whether batches come in page-locked memory, from which a copy to a GPU needs no waiting.
            cut: gives the part of a picture that a view is; None: views do not matter.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = max(1, cores // local_processes())
        loader = DataLoader(
            _Decoded(self, cut),
            batch_sampler=batches,
            num_workers=min(8, share) if workers is None else workers,
            collate_fn=_stacked,
            pin_memory=pin_memory,
        )
        for images in loader:
            if isinstance(images, InputError):
                raise images
            yield images


class RowImages(StoredImages):
    """Images that are had by a number each, such as rows of a table.

    Attributes:
        source: where they are, for people.
        rows: numbers of those that are meant, in order.
    """

    source: str
    rows: Int64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def place(self) -> str:
        """The source."""
        return self.source

    def subset(self, index: Int64[Tensor, " m"]) -> "Self":
        """Those at positions `index`, in that order."""
        return replace(self, rows=self.rows[index.numpy()])


@dataclass(frozen=True)
class Brought:
    """How pictures are brought to a size, and held.

    Attributes:
        image_size: height and width; None: they are of one size.
        resize: the shorter side before the centre of that is cut out; None: the image size. Of parts that are brought
            to a square whole, the side of the square.
        memory_limit: bytes of decoded pixels of a split over which they are decoded as they are needed.
        first: how many of a split are wanted; None: all.
    """

    image_size: int | None
    resize: int | None
    memory_limit: int
    first: int | None = None


@dataclass(frozen=True)
class Look:
    """What the headers of a split's images say.

    Attributes:
        shape: (channels, height, width) that all images have, or are brought to.
        first: the first image, by its position.
        witness: the first in colour, where there is one; else the first.
    """

    shape: tuple[int, int, int]
    first: int
    witness: int


def look(images: StoredImages, image_size: int | None) -> Look:
    """The shape that images have, or are brought to, by their headers.

    Where an `image_size` is given, at most 10,000 are looked at, otherwise all of them.

    Raises:
        InputError: sizes differ and no `image_size` is given, or an image is damaged.
    """
    step = 1 if image_size is None else -(-len(images) // _LOOKED_AT)
    positions = range(0, len(images), step)
    coloured = size = None
    for position in bar(positions, len(positions), "headers of files"):
        name = images.called(position)
        with images.opened(position) as image:
            if channels_of(image, name) == 3:
                coloured = position if coloured is None else coloured
            if image_size is None:
                found = size_of(image, name)
                size = size or found
                if found != size:
                    raise InputError(
                        f"images in {images.place} differ in size ({images.called(0)} is {size[1]}x{size[0]}, {name} "
                        f"is {found[1]}x{found[0]}): give an image size (--image-size) for all"
                    )
    width, height = (image_size, image_size) if image_size is not None else size
    return Look((1 if coloured is None else 3, height, width), 0, coloured or 0)


def check_agreement(
    train: tuple[StoredImages, Look], test: tuple[StoredImages, Look], places: tuple[str, str] = ("train", "test")
) -> None:
    """Refuse test images that what is trained could not be shown.

    Args:
        train: the images, and what their headers say.
        test: likewise.
        places: what the two splits are called.

    Raises:
        InputError: they have another size or number of channels; an image of each split is named.
    """
    found, other = train[1], test[1]
    where = f"the images in {places[0]} and {places[1]}"
    if found.shape[1:] != other.shape[1:]:
        sizes = [f"{images.called(look.first)} is {look.shape[1]}x{look.shape[2]}" for images, look in (train, test)]
        raise InputError(f"{where} differ in size ({', '.join(sizes)}): give an image size (--image-size) for all")
    if found.shape[0] != other.shape[0]:
        grey, colour = (train, test) if found.shape[0] == 1 else (test, train)
        raise InputError(
            f"{where} differ in colour (all looked at like {grey[0].called(grey[1].first)} are grey, "
            f"{colour[0].called(colour[1].witness)} is not): make both grey or both RGB"
        )


def check_resize(image_size: int | None, resize: int | None) -> None:
    """Refuse a size that nothing can be cut out of."""
    if image_size is not None and image_size < 1:
        raise InputError(f"image size {image_size} given: a positive number of pixels was expected")
    if resize is not None and image_size is None:
        raise InputError(f"--resize {resize} without --image-size: say how much is to be cut out of the centre")
    if resize is not None and resize < image_size:
        raise InputError(f"--resize {resize}: nothing of {image_size}x{image_size} can be cut out of that")


def held_pixels(images: StoredImages, memory_limit: int, whole: int | None = None) -> Tensor | StoredImages:
    """The decoded pixels where they fit into memory.

    Args:
        images: to hold.
        memory_limit: in bytes.
        whole: how many images the limit is for, where these are some of them: a part is held as the whole is.
    """
    count = len(images) if whole is None else whole
    return images.read_all() if count * math.prod(images.image_shape) <= memory_limit else images


class _Decoded(Dataset):
    """The images as a map-style data set; one that cannot be read is the error itself.

    An error raised in a worker would come out as a trace of that process.
    """

    def __init__(self, images: StoredImages, cut: Cut | None):
        self.images, self.cut = images, cut

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: tuple[int, int]) -> Tensor | InputError:
        position, view = place
        try:
            return self.images.read(position, None if self.cut is None else partial(self.cut, view))
        except InputError as error:
            return error


def _stacked(images: list[Tensor | InputError]) -> Tensor | InputError:
    wrong = [image for image in images if isinstance(image, InputError)]
    return wrong[0] if wrong else torch.stack(images)
