"""Which images are explained, and what they are called."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from apps.command.console import printable
from apps.data.image_set import ImageSet
from apps.data.picture import read_picture
from apps.data.sources.decoding import channels_of, opened, size_of
from apps.data.sources.finding import IMAGE_SUFFIXES
from apps.figures import short_names
from apps.jacobians.settings import SaliencySettings
from apps.models import named
from apps.models.activations import folder_size, images_for
from priors.errors import InputError, unknown
from priors.zoo import Classifier
from priors.zoo.network import same_classes

_COUNT = 8


@dataclass(frozen=True)
class Shown:
    """Images to explain.

    Attributes:
        images: all of one size; their labels are the set's, or all 0.
        names: one an image, for figures; no two alike.
        labelled: whether the labels are classes of the network.
    """

    images: ImageSet
    names: tuple[str, ...]
    labelled: bool


def shown(config: SaliencySettings, network: Classifier) -> Shown:
    """The pictures that were given, or test images.

    Raises:
        InputError: none were asked for, files that are no pictures, or of a size that is not the network's.
    """
    if config.pictures:
        if config.sizes.classes is not None:
            raise InputError(
                f"--classes {config.sizes.classes} is for a data set (--data): picture files have none; leave it out"
            )
        return _pictures(config, network)
    if config.data is None and not named.is_run(config.model):
        raise InputError(f"which images to explain {config.model} on: give picture files after it, or --data")
    size = folder_size(config.model, network, config.data, config.sizes.image_size)
    place = {"data": config.data, "image_size": size, "resize": config.sizes.resize, "root": config.place.data_root}
    place |= {"classes": config.sizes.classes}
    images = images_for(config.model, network, "test", same_classes=False, first=config.images or _COUNT, **place)
    labelled = same_classes(network.class_names, images.class_names)
    return Shown(images, tuple(f"{images.name} {number}" for number in range(len(images))), labelled)


def _pictures(config: SaliencySettings, network: Classifier) -> Shown:
    own, size, resize = network.image_shape, config.sizes.image_size, config.sizes.resize
    if own is not None and size not in (None, own[1]):
        raise InputError(
            f"--image-size {size}: {config.model} was trained on images of {own[1]}x{own[2]} pixels, and "
            "takes no others; leave it out"
        )
    shape = own or _shape(config.pictures, size)
    if resize is not None and resize < shape[1]:
        raise InputError(f"--resize {resize}: the centre of {shape[1]} pixels is cut out of it; give that at least")
    read = [read_picture(path, shape, resize, given="") for path in config.pictures]
    pixels = torch.stack(read).mul(255).round().byte()
    images = ImageSet("pictures", "given", pixels, torch.zeros(len(pixels), dtype=torch.int64), ("unlabelled",))
    return Shown(images, tuple(_apart(short_names([str(path) for path in config.pictures]))), False)


def _shape(paths: Sequence[Path], image_size: int | None) -> tuple[int, int, int]:
    """What pictures are brought to for a network that takes any size: RGB, and their own size where they have one."""
    sizes = {}
    for path in paths:
        with opened(path) as image:
            channels_of(image, path)
            sizes[size_of(image, path)] = path
    if image_size is None and (len(sizes) > 1 or len(set(*sizes)) > 1):
        (width, height), path = next(iter(sizes.items()))
        raise InputError(
            f"{path} is {height}x{width} pixels: the size that the network was trained on is not known, and pictures "
            "are brought to one square; give --image-size (224 for most networks of ImageNet)"
        )
    size = image_size or next(iter(sizes))[0]
    return 3, size, size


def _apart(names: Sequence[str]) -> list[str]:
    """Names with numbers behind those that are there already."""
    found: list[str] = []
    for name in names:
        count = sum(other == name for other in names[: len(found)])
        found.append(f"{name} ({count + 1})" if count else name)
    return found


def file_name(number: int, name: str) -> str:
    """A sheet's, which may stand in any folder."""
    name = printable(name)
    if name.lower().endswith(IMAGE_SUFFIXES):  # no other end is one of a file: data sets have names with a point, too
        name = Path(name).stem
    return f"sheet-{number + 1:02d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:60]}.png"


def class_of(given: str | None, network: Classifier) -> int | None:
    """The number of the class that was asked for, by name or number.

    Raises:
        InputError: there is none, the nearest is offered.
    """
    if given is None:
        return None
    if given in network.class_names:
        return network.class_names.index(given)
    if given.isdecimal() and int(given) < network.classes:
        return int(given)
    if given.isdecimal():
        raise InputError(f"--class {given}: the network has {network.classes} classes, 0 to {network.classes - 1}")
    raise unknown("class", given, network.class_names)
