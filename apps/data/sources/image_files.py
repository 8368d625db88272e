"""Images that stay in their files and are decoded when they are needed."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import ExifTags, Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from apps.command.launch import local_processes
from apps.data.sources.kept_listing import Listing, bar
from priors.errors import InputError, reason
from priors.files.regular import open_regular

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's number. Pillow's `exif_transpose` also writes all other tags anew, and stops at damaged ones."""
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
"""What a file may hold, whatever it is called: Pillow reads others too, some by another program (Ghostscript)."""

Part = Callable[[int, int], tuple[int, int, int, int]]
"""The part of a picture of a height and a width: its top, left, height and width."""
Cut = Callable[[int, int, int], tuple[int, int, int, int]]
"""The same of a view, a height and a width."""
Crop = tuple[int, int, int, int]
"""The part of a picture that stands for it: its left, top, right and bottom in pixels."""


@dataclass(frozen=True)
class ImageFiles:
    """Image files that decode to one shape.

    Attributes:
        folder: what the paths are relative to.
        paths: the files, in order, with "/" between the parts.
        image_shape: (channels, height, width) of a decoded image; 1 channel is grey, 3 are RGB.
        resized: whether images of another size are brought to this one, then square (shorter side resized, centre cut
            out), rather than refused.
        side: what the shorter side is resized to before that; None: the side of the shape.
        crops: the part of each picture that is taken first, None for all of it. Each is brought to a square whole, its
            two sides by factors of their own, to the shorter side's size. None: pictures keep their shape.
        listing: of the same files, where their sizes and times are known already.
    """

    folder: Path
    paths: tuple[str, ...]
    image_shape: tuple[int, int, int]
    resized: bool
    side: int | None = None
    crops: tuple[Crop | None, ...] | None = field(default=None, repr=False)
    listing: Listing | None = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, index: Int64[Tensor, " m"]) -> "ImageFiles":
        """The files at positions `index`, in that order."""
        paths = tuple(self.paths[i] for i in index.tolist())
        return replace(
            self,
            paths=paths,
            crops=None if self.crops is None else tuple(self.crops[i] for i in index.tolist()),
            listing=None if self.listing is None else self.listing.subset(index.numpy(), paths),
        )

    def fingerprint(self) -> bytes:
        """A digest of the files' names and sizes in bytes, and of the shape they decode to and how."""
        told = (self.image_shape, self.resized) if self.side is None else (self.image_shape, self.resized, self.side)
        told = told if self.crops is None else (*told, "cropped", self.crops)
        hashed = blake2b(repr(told).encode(), digest_size=16)
        if self.listing is None:
            sizes = (os.path.getsize(self.folder / path) for path in self.paths)
        else:
            sizes = self.listing.sizes.tolist()
        for path, size in zip(self.paths, sizes, strict=True):  # a name may be no text: the file system has bytes
            hashed.update(os.fsencode(f"{path}\0{size}\0"))
        return hashed.digest()

    def read(self, position: int, part: Part | None = None) -> UInt8[Tensor, "channels height width"]:
        """Decode one image, or a part of the whole picture, which is brought to the shape of the images.

        Raises:
            InputError: the file is missing, damaged, or of another size or kind than the set; it is named.
        """
        path = self.folder / self.paths[position]
        channels, height, width = self.image_shape
        with opened(path) as image:
            if channels == 1 and channels_of(image, path) != 1:
                raise InputError(
                    f"{path} is a colour image, but the others looked at are grey: convert it or the others"
                )
            image = decoded(image, path, channels)
        if self.crops is not None and self.crops[position] is not None:
            image = image.crop(self.crops[position])
        if part is not None:
            top, left, tall, wide = part(image.height, image.width)
            cut = image.crop((left, top, left + wide, top + tall))
            image = cut.resize((width, height), Image.Resampling.BILINEAR)
        elif image.size != (width, height) or self.side is not None:
            if not self.resized:
                raise InputError(
                    f"{path} is {image.height}x{image.width}, but the images of this set are {height}x{width}: "
                    "give an image size (--image-size) to bring all to one"
                )
            image = centre(image, height, self.side, squared=self.crops is not None)
        pixels = np.array(image, dtype=np.uint8).reshape(height, width, channels)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()

    def turned(self) -> str:
        """The first file that EXIF says to turn; empty where there is none. Opens every file, until one is found."""
        for path in self.paths:
            with opened(self.folder / path) as image:
                if _orientation(image) != 1:
                    return path
        return ""

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


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file and read its header; it is closed at the end.

    Raises:
        InputError: it is missing or not an image.
    """
    if not os.path.lexists(path):
        raise InputError(f"{path} is missing: put it back")
    with open_regular(path, "image") as file:
        try:
            image = Image.open(file, formats=_FORMATS)
        except Image.DecompressionBombError:
            raise InputError(f"{path} has more pixels than an image is trusted to have: make it smaller") from None
        except (OSError, SyntaxError, ValueError):
            raise InputError(
                f"{path} is damaged or not an image ({', '.join(_FORMATS)}): replace or remove it"
            ) from None
        yield image


def decoded(image: Image.Image, path: Path, channels: int) -> Image.Image:
    """The pixels of an opened file, grey (1 channel) or RGB (3), turned as the camera was held (EXIF orientation).

    Of a file with several pictures, such as an animation, it is the first. Transparency is dropped.

    Raises:
        InputError: the file is damaged, or as for `channels_of`.
    """
    channels_of(image, path)  # deeper pixels would be cut off
    try:
        image.load()  # formats with their tags behind the pixels know them from here on; TIFF is turned already
        image.info.pop("transparency", None)  # Pillow would warn of that of a palette
        pixels = image.convert("L" if channels == 1 else "RGB")
        turn = _TURNS.get(_orientation(image))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is damaged, it cannot be decoded ({reason(error)}): replace or remove it") from None
    return pixels if turn is None else pixels.transpose(turn)


def size_of(image: Image.Image, path: Path) -> tuple[int, int]:
    """(width, height) that an opened file will have when it is turned; only those on their side are decoded for it."""
    return decoded(image, path, 3).size if _orientation(image) >= 5 else image.size


def _orientation(image: Image.Image) -> int:
    """How a picture is to be turned, 1 for not at all, by the tags that have been read; damaged tags say nothing."""
    try:
        # Of PNG, the method of its own decodes the whole file to find tags behind the pixels.
        found = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever the readers of tags let through
        return 1
    return found if isinstance(found, int) and found in _TURNS else 1


def channels_of(image: Image.Image, path: Path) -> int:
    """1 for grey images, 3 for all others; transparency is dropped.

    Raises:
        InputError: the pixels have more than 8 bits.
    """
    if image.mode.startswith(("I", "F")):
        raise InputError(
            f"{path} has pixels of more than 8 bits (mode {image.mode}): bring them to 0 ... 255 first (16 bits are "
            "divided by 257; a plain conversion cuts them off)"
        )
    return 1 if image.mode in ("1", "L", "LA") else 3


def placed(
    width: int, height: int, size: int, shorter: int | None = None, squared: bool = False
) -> tuple[int, int, int, int]:
    """How `centre` brings a picture of a width and a height to a size: (width, height) it is resized to, (left, top).

    The last two are where the part that is cut out begins. Numbers are rounded as torchvision's Resize and CenterCrop
    do.
    """
    side = shorter or size
    width, height = (side, side) if squared else (int(side * own / min(width, height)) for own in (width, height))
    return width, height, round((width - size) / 2), round((height - size) / 2)


def centre(image: Image.Image, size: int, shorter: int | None = None, squared: bool = False) -> Image.Image:
    """Resize the shorter side to `shorter`, or else to `size`, and cut out the centre of that size.

    Args:
        image: of any size.
        size: height and width of what is cut out.
        shorter: of what it is cut out of.
        squared: whether the longer side is resized to that as well, so that nothing but margins of a larger square is
            lost.
    """
    width, height, left, top = placed(*image.size, size, shorter, squared)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return image.crop((left, top, left + size, top + size))


class _Decoded(Dataset):
    """The files as a map-style data set; a file that cannot be read is the error itself.

    An error raised in a worker would come out as a trace of that process.
    """

    def __init__(self, files: ImageFiles, cut: Cut | None):
        self.files, self.cut = files, cut

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: tuple[int, int]) -> Tensor | InputError:
        position, view = place
        try:
            return self.files.read(position, None if self.cut is None else partial(self.cut, view))
        except InputError as error:
            return error


def _stacked(images: list[Tensor | InputError]) -> Tensor | InputError:
    wrong = [image for image in images if isinstance(image, InputError)]
    return wrong[0] if wrong else torch.stack(images)
