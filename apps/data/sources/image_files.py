"""Images that stay in their files and are decoded when they are needed."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from priors.errors import InputError


@dataclass(frozen=True)
class ImageFiles:
    """Image files that decode to one shape.

    Attributes:
        folder: what the paths are relative to.
        paths: the files, in order, with "/" between the parts.
        image_shape: (channels, height, width) of a decoded image; 1 channel is grey, 3 are RGB.
        resized: whether images of another size are brought to this one, then square (shorter side resized, centre cut
            out), rather than refused.
    """

    folder: Path
    paths: tuple[str, ...]
    image_shape: tuple[int, int, int]
    resized: bool

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, index: Int64[Tensor, " m"]) -> "ImageFiles":
        """The files at positions `index`, in that order."""
        return ImageFiles(self.folder, tuple(self.paths[i] for i in index.tolist()), self.image_shape, self.resized)

    def fingerprint(self) -> bytes:
        """A digest of the files' names and sizes in bytes, and of the shape they decode to."""
        hashed = blake2b(repr((self.image_shape, self.resized)).encode(), digest_size=16)
        for path in self.paths:
            hashed.update(f"{path}\0{os.path.getsize(self.folder / path)}\0".encode())
        return hashed.digest()

    def read(self, position: int) -> UInt8[Tensor, "channels height width"]:
        """Decode one image.

        Raises:
            InputError: the file is missing, damaged, or of another size or kind than the set; it is named.
        """
        path = self.folder / self.paths[position]
        channels, height, width = self.image_shape
        with opened(path) as image:
            try:
                if channels == 1 and channels_of(image, path) != 1:
                    raise InputError(
                        f"{path} is a colour image, but the others looked at are grey: convert it or the others"
                    )
                image = image.convert("L" if channels == 1 else "RGB")
            except (OSError, SyntaxError, ValueError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{path} is damaged, it cannot be decoded ({error}): replace or remove it") from None
        if image.size != (width, height):
            if not self.resized:
                raise InputError(
                    f"{path} is {image.height}x{image.width}, but the images of this set are {height}x{width}: "
                    "give an image size (--image-size) to bring all to one"
                )
            image = centre(image, height)
        pixels = np.array(image, dtype=np.uint8).reshape(height, width, channels)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()

    def read_all(self) -> UInt8[Tensor, "n channels height width"]:
        """Decode every image into one tensor."""
        images = torch.empty((len(self), *self.image_shape), dtype=torch.uint8)
        for position in range(len(self)):
            images[position] = self.read(position)
        return images

    def stream(
        self, batches: Iterable[list[int]], workers: int | None = None, pin_memory: bool = False
    ) -> Iterator[UInt8[Tensor, "batch channels height width"]]:
        """Decode batches of positions in worker processes, ahead of their use, in the order given.

        Args:
            batches: the positions of each batch; may be endless.
            workers: how many processes decode; 0 decodes in this one; by default one a core, at most 8.
            pin_memory: whether batches come in page-locked memory, from which a copy to a GPU needs no waiting.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        loader = DataLoader(
            _Decoded(self),
            batch_sampler=batches,
            num_workers=min(8, cores) if workers is None else workers,
            collate_fn=_stacked,
            pin_memory=pin_memory,
        )
        for images in loader:
            if isinstance(images, InputError):
                raise images
            yield images


def opened(path: Path) -> Image.Image:
    """Open an image file and read its header.

    Raises:
        InputError: it is missing or not an image.
    """
    try:
        return Image.open(path)
    except Image.DecompressionBombError:
        raise InputError(f"{path} has more pixels than an image is trusted to have: make it smaller") from None
    except (OSError, SyntaxError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        what = "is missing" if missing else "is damaged or not an image"
        raise InputError(f"{path} {what}: {'put it back' if missing else 'replace or remove it'}") from None


def channels_of(image: Image.Image, path: Path) -> int:
    """1 for grey images, 3 for all others; transparency is dropped.

    Raises:
        InputError: the pixels have more than 8 bits.
    """
    if image.mode.startswith(("I", "F")):
        raise InputError(f"{path} has pixels of more than 8 bits (mode {image.mode}): convert it to 8 bits")
    return 1 if image.mode in ("1", "L", "LA") else 3


def centre(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` and cut out the centre, rounding as torchvision's Resize and CenterCrop do."""
    short = min(image.size)
    width, height = (int(size * side / short) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


class _Decoded(Dataset):
    """The files as a map-style data set; a file that cannot be read is the error itself.

    An error raised in a worker would come out as a trace of that process.
    """

    def __init__(self, files: ImageFiles):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> Tensor | InputError:
        try:
            return self.files.read(position)
        except InputError as error:
            return error


def _stacked(images: list[Tensor | InputError]) -> Tensor | InputError:
    wrong = [image for image in images if isinstance(image, InputError)]
    return wrong[0] if wrong else torch.stack(images)
