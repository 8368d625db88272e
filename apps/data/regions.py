"""Where the objects of images are, by what the command line says: files of the user's, or what the data set brings."""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from apps.command.pictures import OWN, PictureObjects
from apps.data.image_set import ImageSet
from apps.data.objects import read_boxes, read_masks
from priors.errors import InputError


def regions_of(
    objects: PictureObjects, images: ImageSet, pictures: Sequence[Path] = (), resize: int | None = None
) -> dict[str, Bool[Tensor, "n size size"]]:
    """True inside of the objects, by what says so, "mask" or "box"; nothing where neither is asked for.

    Args:
        objects: what is given.
        images: all of one size.
        pictures: the files that they are, where they are found by name.
        resize: shorter side of these before the centre was cut out; None: the size of the images.

    Raises:
        InputError: a data set that brings none, images that are no squares, or as for `read_masks`, `read_boxes` and
            `OwnObjects`.
    """
    if not objects.given:
        return {}
    _, height, width = images.image_shape
    if height != width:
        raise InputError(f"images of {height}x{width} pixels: masks and boxes are of squares; give --image-size")
    own = images.objects
    for flag in (flag for flag, path in objects.given.items() if path == OWN):
        if own is None:
            raise InputError(
                f"{flag} {OWN}: {images.name} does not say where its objects are, as cub-200-2011-1.5 does; give a "
                "folder of pictures, and masks or boxes of these"
            )
    found = {}
    if objects.masks == OWN:
        found["mask"] = own.from_masks()
    elif objects.masks is not None:
        found["mask"] = read_masks(objects.masks, pictures, height, resize)
    if objects.boxes == OWN:
        found["box"] = own.from_boxes()
    elif objects.boxes is not None:
        found["box"] = read_boxes(objects.boxes, pictures, height, resize)
    return found
