"""Images that stay in their files and are decoded when they are needed."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

from jaxtyping import Int64
from PIL import Image
from torch import Tensor

from apps.data.sources.decoding import opened, orientation
from apps.data.sources.kept_listing import Facts, Listing
from apps.data.sources.stored_images import Crop, StoredImages


@dataclass(frozen=True)
class ImageFiles(StoredImages):
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

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def squared(self) -> bool:
        """Where there are crops."""
        return self.crops is not None

    @property
    def facts(self) -> Facts | None:
        """Those of the listing."""
        return None if self.listing is None else self.listing.facts

    def crop(self, position: int) -> Crop | None:
        """The part of a picture that is taken first; None for all of it."""
        return None if self.crops is None else self.crops[position]

    def called(self, position: int) -> str:
        """The file's path."""
        return str(self.folder / self.paths[position])

    def opened(self, position: int) -> AbstractContextManager[Image.Image]:
        """The file, with its header read; it is closed at the end.

        Raises:
            InputError: it is missing or not an image.
        """
        return opened(self.folder / self.paths[position])

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

    def stamp(self) -> str:
        """A digest of the times at which the files were written."""
        hashed = blake2b(digest_size=8)
        known = None if self.listing is None else self.listing.times.tolist()
        for time in known or (os.stat(self.folder / path).st_mtime_ns for path in self.paths):
            hashed.update(f"{time} ".encode())
        return hashed.hexdigest()

    def turned(self) -> str:
        """The first file that EXIF says to turn; empty where there is none. Opens every file, until one is found."""
        for path in self.paths:
            with opened(self.folder / path) as image:
                if orientation(image) != 1:
                    return path
        return ""
