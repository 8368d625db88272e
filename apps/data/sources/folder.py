"""Data sets in folders of image files: `train/CLASS/*` and `test/CLASS/*`."""

import math
import os
from pathlib import Path

import torch

from apps.data.image_set import ImageSet
from apps.data.sources.image_files import ImageFiles, channels_of, opened
from priors.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_LOOKED_AT = 10_000


def read_folder(folder: Path, split: str, *, image_size: int | None, memory_limit: int) -> ImageSet:
    """Read one split of an image folder; classes are the names of the folders in alphabetical order.

    Images are RGB, or grey if all are; transparency is dropped. Files that do not end like an image are passed over.
    Where an `image_size` is given, the headers of at most 10,000 files are looked at beforehand, otherwise all of them.

    Raises:
        InputError: there is no such split, a class is empty, train and test have other classes, sizes differ and no
            `image_size` is given, or a file is damaged.
    """
    if image_size is not None and image_size < 1:
        raise InputError(f"image size {image_size} given: a positive number of pixels was expected")
    class_names = _classes(folder, split)
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        found = sorted(_files(folder, f"{split}/{name}"))
        if not found:
            raise InputError(
                f"class folder {folder / split / name} holds no images ({' '.join(IMAGE_SUFFIXES)}): fill it or remove "
                "it"
            )
        paths += found
        labels += [label] * len(found)
    files = ImageFiles(folder, tuple(paths), _common_shape(folder, paths, image_size), image_size is not None)
    channels, height, width = files.image_shape
    fits = len(files) * channels * height * width <= memory_limit
    return ImageSet(
        name=folder.resolve().name,
        split=split,
        images=files.read_all() if fits else files,
        labels=torch.tensor(labels, dtype=torch.int64),
        class_names=class_names,
        source=str(folder),
    )


def read_pictures(folder: Path, *, image_size: int | None, memory_limit: int) -> ImageSet:
    """Read all pictures in a folder, at any depth and in the order of their paths, without labels.

    Raises:
        InputError: there are none, sizes differ and no `image_size` is given, or a file is damaged.
    """
    paths = sorted(_files(folder, ""))
    if not paths:
        raise InputError(f"{folder} holds no images ({' '.join(IMAGE_SUFFIXES)}), at any depth")
    files = ImageFiles(folder, tuple(paths), _common_shape(folder, paths, image_size), image_size is not None)
    fits = len(files) * math.prod(files.image_shape) <= memory_limit
    images = files.read_all() if fits else files
    return ImageSet(
        name=folder.resolve().name,
        split="all",
        images=images,
        labels=torch.zeros(len(files), dtype=torch.int64),
        class_names=("unlabelled",),
        source=str(folder),
    )


def _classes(folder: Path, split: str) -> tuple[str, ...]:
    """The class folders of `split`, checked against those of the other split where that is there."""
    names = {
        part: tuple(
            sorted(entry.name for entry in os.scandir(folder / part) if entry.is_dir() and entry.name[0] != ".")
        )
        for part in ("train", "test")
        if (folder / part).is_dir()
    }
    if split not in names:
        raise InputError(f"no folder {folder / split}: expected {folder}/train/CLASS/* and {folder}/test/CLASS/*")
    if not names[split]:
        raise InputError(f"{folder / split} holds no class folders: images are expected in {folder / split}/CLASS/*")
    if len(set(names.values())) > 1:
        apart = sorted(set(names["train"]) ^ set(names["test"]))
        where = "train" if apart[0] in names["train"] else "test"
        raise InputError(
            f"{folder}/train and {folder}/test have other classes ({len(apart)} differ; {apart[0]!r} is only in "
            f"{where}): both need the same class folders"
        )
    return names[split]


def _files(folder: Path, part: str) -> list[str]:
    """The image files under `folder/part` at any depth, relative to `folder`, with "/" between the parts."""
    return [
        Path(parent, name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder / part)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES) and name[0] != "."
    ]


def _common_shape(folder: Path, paths: list[str], image_size: int | None) -> tuple[int, int, int]:
    """The (channels, height, width) that all images have, or are brought to."""
    step = 1 if image_size is None else -(-len(paths) // _LOOKED_AT)
    channels, first = 1, None
    for path in paths[::step]:
        with opened(folder / path) as image:
            channels = max(channels, channels_of(image, folder / path))
            first = first or image.size
            if image_size is None and image.size != first:
                raise InputError(
                    f"images in {folder} differ in size ({folder / paths[0]} is {first[1]}x{first[0]}, "
                    f"{folder / path} is {image.height}x{image.width}): give an image size (--image-size) for all"
                )
    return (channels, first[1], first[0]) if image_size is None else (channels, image_size, image_size)
