"""Where the object of each picture of a data set is, where the set says so itself: by its boxes, or by its masks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int64
from PIL import Image
from torch import Tensor

from apps.data.objects import box_mask
from apps.data.sources.decoding import centre, decoded, opened
from apps.data.sources.image_files import ImageFiles
from apps.data.sources.stored_images import Crop
from priors.errors import InputError

_HALF = 128
"""Of 256 levels."""


@dataclass(frozen=True)
class OwnObjects:
    """The objects of a set's pictures, in their order.

    Attributes:
        files: the pictures, and how they are brought to a size.
        boxes: x0, y0, x1, y1 of each object in pixels of its picture, before anything is cropped.
        sizes: (width, height) of the pictures.
        folder: of masks, with the pictures' own paths below `images`; None where there are none.
        wider: what to say for the same pictures with something around the objects, where they are cropped to these.
    """

    files: ImageFiles
    boxes: tuple[tuple[float, float, float, float], ...]
    sizes: tuple[tuple[int, int], ...]
    folder: Path | None = None
    wider: str | None = None

    def subset(self, index: Int64[Tensor, " m"]) -> "OwnObjects":
        """Those of the pictures at positions `index`, in that order."""
        files, places = self.files.subset(index), index.tolist()
        boxes, sizes = (tuple(of[i] for i in places) for of in (self.boxes, self.sizes))
        return replace(self, files=files, boxes=boxes, sizes=sizes)

    @property
    def without_outside(self) -> str | None:
        """Why boxes cannot be used, and what to do, where the images are the boxes themselves."""
        if self.wider is None:
            return None
        return (
            f"these images of {self.files.folder} are the objects' boxes themselves, and what is inside is compared "
            f"with what is outside: give {self.wider}, which crops to 1.5 times the box"
        )

    def from_boxes(self) -> Bool[Tensor, "n height width"]:
        """True where the middle of a pixel of an image is inside the box.

        Raises:
            InputError: the images are the boxes themselves.
        """
        if self.without_outside is not None:
            raise InputError(self.without_outside)
        masks = []
        for (left, top, right, bottom), (x0, y0, x1, y1) in zip(self._parts(), self.boxes, strict=True):
            box = x0 - left, y0 - top, x1 - left, y1 - top
            masks.append(box_mask(box, right - left, bottom - top, *self._sides, squared=self._squared))
        return torch.stack(masks)

    def from_masks(self) -> Bool[Tensor, "n height width"]:
        """True where at least half of what a pixel of an image is made of is inside the mask.

        A level of a mask says how many of several people saw the object there; half of them are enough.

        Raises:
            InputError: there are no masks, or that of a picture is missing, damaged or of another size.
        """
        if self.folder is None:
            raise InputError(
                f"{self.files.folder} has no folder segmentations, nor is one beside it: Caltech publishes it apart; "
                "unpack it there, or take the boxes (--boxes auto)"
            )
        masks = []
        for picture, size, part in zip(self.files.paths, self.sizes, self._parts(), strict=True):
            path = (self.folder / picture.partition("/")[2]).with_suffix(".png")
            with opened(path) as image:
                mask = decoded(image, path, 1)
            if mask.size != size:
                raise InputError(
                    f"the mask {path} is {mask.height}x{mask.width} pixels, and its picture {self.files.folder}/"
                    f"{picture} {size[1]}x{size[0]}: masks of the sizes of the pictures were expected"
                )
            inside = mask.point(lambda level: 255 if level >= _HALF else 0).crop(part)
            masks.append(self._brought(inside) >= _HALF)
        return torch.from_numpy(np.stack(masks))

    @property
    def _sides(self) -> tuple[int, int | None]:
        return self.files.image_shape[1], self.files.side

    @property
    def _squared(self) -> bool:
        return self.files.crops is not None

    def _parts(self) -> Iterator[Crop]:
        """What is taken of each picture."""
        crops = self.files.crops or (None,) * len(self.files)
        return (crop or (0, 0, *size) for crop, size in zip(crops, self.sizes, strict=True))

    def _brought(self, inside: Image.Image) -> np.ndarray:
        return np.array(centre(inside, *self._sides, squared=self._squared), dtype=np.uint8)
