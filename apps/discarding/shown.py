"""Which images are measured, and where in each the object is."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from apps.command.console import counted
from apps.data.image_set import ImageSet
from apps.data.objects import divided, read_boxes, read_masks
from apps.data.sources import IN_MEMORY_BYTES
from apps.data.sources.finding import pictures_under
from apps.data.sources.folder import read_pictures
from apps.discarding.settings import DiscardSettings
from apps.models import named
from apps.models.activations import folder_size, images_for
from apps.models.other_images import check_shape
from apps.runs.evaluations import first_images
from priors.errors import InputError
from priors.zoo import Classifier


@dataclass(frozen=True)
class Objects:
    """Where the objects are.

    Attributes:
        masks: True inside; (n, height, width).
        known: which images have something inside and something outside; (n,).
        source: what was given: a folder of masks, or a file of boxes.
    """

    masks: Bool[Tensor, "n height width"]
    known: Bool[Tensor, " n"]
    source: str


@dataclass(frozen=True)
class Shown:
    """The images that are measured.

    Attributes:
        images: all of one size.
        names: one an image, for figures.
        objects: where they are; None where that is not asked for.
    """

    images: ImageSet
    names: tuple[str, ...]
    objects: Objects | None


def shown(config: DiscardSettings, network: Classifier) -> Shown:
    """Find the images, and the masks or boxes beside them.

    Raises:
        InputError: none were asked for, images of another size than the network's, or masks and boxes that do not go
            with them.
    """
    if config.folder is not None:
        return _pictures(config, network, config.folder)
    if config.data is None and not named.is_run(config.model):
        raise InputError(f"which images to run {config.model} on: give --data, or a folder of pictures by --images")
    size = folder_size(config.model, network, config.data, config.image_size)
    place = {"data": config.data, "image_size": size, "resize": config.resize, "root": config.place.data_root}
    whole = images_for(config.model, network, "test", same_classes=False, **place)
    images, _ = first_images(whole, config.count)
    return Shown(images, tuple(f"{whole.name} {number}" for number in range(len(images))), None)


def _pictures(config: DiscardSettings, network: Classifier, folder: Path) -> Shown:
    if not folder.is_dir():
        raise InputError(f"--images {folder} is no folder: one of pictures, or a number of test images, was expected")
    own = network.image_shape
    if own is not None and config.image_size not in (None, own[1]):
        raise InputError(
            f"--image-size {config.image_size}: {config.model} was trained on images of {own[1]}x{own[2]} pixels, and "
            "takes no others; leave it out"
        )
    size = config.image_size if own is None else own[1]
    colour = own is None or own[0] == 3
    images = read_pictures(folder, image_size=size, memory_limit=IN_MEMORY_BYTES, resize=config.resize, colour=colour)
    check_shape(own, config.model, images)
    paths = pictures_under(folder)
    return Shown(images, tuple(paths), _objects(config, images, [folder / path for path in paths]))


def _objects(config: DiscardSettings, images: ImageSet, pictures: list[Path]) -> Objects | None:
    if "concentration" not in config.measured:
        return None
    _, height, width = images.image_shape
    if height != width:
        raise InputError(f"images of {height}x{width} pixels: masks and boxes are of squares; give --image-size")
    if config.masks is not None:
        masks, source = read_masks(config.masks, pictures, height, config.resize), str(config.masks)
    else:
        masks, source = read_boxes(config.boxes, pictures, height, config.resize), str(config.boxes)
    known = divided(masks)
    if not bool(known.any()):
        covers = "nothing" if not bool(masks[0].any()) else "all"
        raise InputError(
            f"{source}: of all {counted(len(pictures), 'picture')} the object covers all or nothing, as {covers} of "
            f"{pictures[0]}: concentration compares what is inside with what is outside"
        )
    return Objects(masks, known, source)
