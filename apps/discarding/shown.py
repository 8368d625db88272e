"""Which images are measured, and where in each the object is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from apps.command.console import counted
from apps.data.image_set import ImageSet
from apps.data.objects import divided
from apps.data.regions import regions_of
from apps.data.sources import IN_MEMORY_BYTES
from apps.data.sources.finding import pictures_under
from apps.data.sources.folder import read_pictures
from apps.discarding.settings import DiscardSettings
from apps.models import named
from apps.models.activations import folder_size, images_for
from apps.models.other_images import check_shape
from priors.errors import InputError
from priors.zoo.network import ImageNetwork


@dataclass(frozen=True)
class Objects:
    """Where the objects are.

    Attributes:
        masks: True inside; (n, height, width).
        known: which images have something inside and something outside; (n,).
    """

    masks: Bool[Tensor, "n height width"]
    known: Bool[Tensor, " n"]


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


def shown(config: DiscardSettings, network: ImageNetwork) -> Shown:
    """Find the images, and the masks or boxes beside them.

    Raises:
        InputError: none were asked for, images of another size than the network's, or masks and boxes that do not go
            with them.
    """
    if config.folder is not None:
        if config.sizes.classes is not None:
            raise InputError(
                f"--classes {config.sizes.classes} is for a data set (--data): pictures in a folder have none; leave "
                "it out"
            )
        return _pictures(config, network, config.folder)
    if config.data is None and not named.is_run(config.model):
        raise InputError(f"which images to run {config.model} on: give --data, or a folder of pictures by --images")
    size = folder_size(config.model, network, config.data, config.sizes.image_size)
    place = {"data": config.data, "image_size": size, "resize": config.sizes.resize, "root": config.place.data_root}
    place |= {"classes": config.sizes.classes}
    images = images_for(config.model, network, "test", same_classes=False, first=config.count, **place)
    names = tuple(f"{images.name} {number}" for number in range(len(images)))
    return Shown(images, names, _objects(config, images, names))


def _pictures(config: DiscardSettings, network: ImageNetwork, folder: Path) -> Shown:
    if not folder.is_dir():
        raise InputError(f"--images {folder} is no folder: one of pictures, or a number of test images, was expected")
    own, asked, resize = network.image_shape, config.sizes.image_size, config.sizes.resize
    if own is not None and asked not in (None, own[1]):
        raise InputError(
            f"--image-size {asked}: {config.model} was trained on images of {own[1]}x{own[2]} pixels, and takes no "
            "others; leave it out"
        )
    size = asked if own is None else own[1]
    colour = own is None or own[0] == 3
    images = read_pictures(folder, image_size=size, memory_limit=IN_MEMORY_BYTES, resize=resize, colour=colour)
    check_shape(own, config.model, images)
    paths = pictures_under(folder)
    return Shown(images, tuple(paths), _objects(config, images, paths, [folder / path for path in paths]))


def _objects(
    config: DiscardSettings, images: ImageSet, names: Sequence[str], pictures: Sequence[Path] = ()
) -> Objects | None:
    """Where objects are, by files beside those of pictures, or as the data set says."""
    if "concentration" not in config.measured:
        return None
    if not config.objects.given and images.objects is None:
        raise InputError(
            "--metrics concentration compares what is inside of objects with what is outside, and "
            f"{images.name} does not say where these are: give --masks or --boxes, or leave it out"
        )
    (masks,) = regions_of(config.located, images, pictures, config.sizes.resize).values()
    known = divided(masks)
    if not bool(known.any()):
        covers = "nothing" if not bool(masks[0].any()) else "all"
        raise InputError(
            f"of all {counted(len(names), 'picture')} the object covers all or nothing, as {covers} of {names[0]}, by "
            f"{' '.join(map(str, *config.located.given.items()))}: concentration compares what is inside with what is "
            "outside"
        )
    return Objects(masks, known)
