"""CUB-200-2011 (Wah et al., 2011): birds in photographs, each with its box; and birds against any other pictures.

https://www.vision.caltech.edu/datasets/cub_200_2011/. The folder is read as it is published; nothing is downloaded.
What is taken of a photograph is its bird's box, the box about its middle 1.5 times as wide and as high, or all.

- A part ends at whole pixels, outwards, and at the photograph's edges.
- It is brought to a square whole, its sides by factors of their own: a bird is in it from beak to tail, and with 1.5
  the middle 4/9 of the square are the bird's box, but at the photograph's edges. To cut the centre out, as of whole
  pictures, would leave nothing beside a bird that is wide.
- Images come in turn from each class, by their numbers, so that the first ones are of many classes; they are in colour,
  also where the photograph is grey.

Birds are told from random pictures in two classes. Of these, as many as there are birds are taken, those whose path has
the smallest blake2b digest; the first of them are for training, as large a part as of the birds.
"""

import math
import os
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from heapq import nsmallest
from itertools import chain, zip_longest
from pathlib import Path

import torch

from apps.command.console import counted
from apps.data.image_set import ImageSet
from apps.data.own_objects import OwnObjects
from apps.data.sources.birds_files import Bird, Box, read_birds
from apps.data.sources.catalogue import BIRDS, DATASETS, RANDOM, DatasetInfo
from apps.data.sources.decoding import opened, size_of
from apps.data.sources.finding import IMAGE_SUFFIXES, pictures_under, readable
from apps.data.sources.image_files import ImageFiles
from apps.data.sources.kept_listing import bar
from apps.data.sources.stored_images import Brought, Crop, check_resize, held_pixels
from priors.errors import InputError
from priors.remarks import remark

_WITH_MARGIN = "cub-200-2011-1.5"
_CROPPED = "cub-200-2011"
_MASKS = "segmentations"

_SLACK = 1.0
"""Pixels that a box may stick out by rounding, before that is told."""


def read_named(info: DatasetInfo, split: str, root: Path, brought: Brought) -> ImageSet:
    """One split of a set of birds, by its name.

    Raises:
        InputError: its folders are not under `root`, or as for `read_folder_of_birds`.
    """
    for folder in info.folders:
        if not (root / folder).is_dir():
            what = "Caltech's CUB-200-2011" if folder == BIRDS else "a folder of any other pictures, or a link to one,"
            raise InputError(
                f"{info.name} is not downloaded: put {what} there as {root / folder}, or name another folder of data "
                "sets (--data-root)"
            )
    _check_sized(brought, info.name)
    if RANDOM in info.folders:
        return _against_random(info, split, root, brought)
    return _birds(info, info.name, split, root / BIRDS, f"--data {_WITH_MARGIN}", brought)


def read_folder_of_birds(folder: Path, split: str, brought: Brought) -> ImageSet:
    """One split of CUB-200-2011 in a folder of any name, cropped to the birds' boxes.

    Raises:
        InputError: files are missing or damaged, a box lies beside its picture, or no image size is given.
    """
    name = readable(folder.resolve().name)
    _check_sized(brought, name)
    wider = f"--data {_WITH_MARGIN} --data-root {folder.resolve().parent}"
    return _birds(DATASETS[_CROPPED], name, split, folder, wider, brought)


def _check_sized(brought: Brought, name: str) -> None:
    """Refuse what gives no images of one size."""
    if brought.image_size is None:
        raise InputError(f"the pictures of {name} differ in size: give --image-size, such as 224, for all")
    check_resize(brought.image_size, brought.resize)


def _files(brought: Brought, folder: Path, paths: Sequence[str], crops: Sequence[Crop | None] | None) -> ImageFiles:
    """The pictures."""
    shape = (3, brought.image_size, brought.image_size)
    crops = None if crops is None else tuple(crops)
    return ImageFiles(folder, tuple(paths), shape, resized=True, side=brought.resize, crops=crops)


def _birds(info: DatasetInfo, name: str, split: str, folder: Path, wider: str, brought: Brought) -> ImageSet:
    everything, class_names = read_birds(folder)
    of_split = _in_turn(everything, split)
    birds = of_split[: brought.first]
    boxes, sizes = _boxes(folder, birds)
    crops = None if info.box is None else [_part(*one, info.box) for one in zip(boxes, sizes, strict=True)]
    files = _files(brought, folder, [bird.picture for bird in birds], crops)
    masks = next((place / _MASKS for place in (folder, folder.parent) if (place / _MASKS).is_dir()), None)
    return ImageSet(
        name=name,
        split=split,
        images=held_pixels(files, brought.memory_limit, len(of_split)),
        labels=torch.tensor([bird.label for bird in birds], dtype=torch.int64),
        class_names=class_names,
        source=str(folder),
        objects=OwnObjects(files, tuple(boxes), tuple(sizes), masks, wider if info.box == 1 else None),
    )


def _against_random(info: DatasetInfo, split: str, root: Path, brought: Brought) -> ImageSet:
    """Birds and random pictures in turn; these are brought to a square whole as well, so that no shape tells them."""
    everything, _ = read_birds(root / BIRDS)
    of_split, random = _in_turn(everything, split), _random(root / RANDOM, everything)[split]
    birds = of_split[: brought.first]
    crops = [_part(*one, info.box) for one in zip(*_boxes(root / BIRDS, birds), strict=True)]
    pictures = [(f"{BIRDS}/{bird.picture}", crop, 0) for bird, crop in zip(birds, crops, strict=True)]
    others = [(f"{RANDOM}/{path}", None, 1) for path in random]
    both = filter(None, chain.from_iterable(zip_longest(pictures, others)))
    paths, crops, labels = zip(*list(both)[: brought.first], strict=True)
    return ImageSet(
        name=info.name,
        split=split,
        images=held_pixels(_files(brought, root, paths, crops), brought.memory_limit, len(of_split) + len(random)),
        labels=torch.tensor(labels, dtype=torch.int64),
        class_names=info.class_names,
        source=f"{root / BIRDS} and {root / RANDOM}",
    )


def _random(folder: Path, birds: Sequence[Bird]) -> dict[str, list[str]]:
    """The random pictures of each split, by the rule that stands above."""
    found = pictures_under(folder)
    if len(found) < 2:
        raise InputError(
            f"{folder} holds {counted(len(found), 'image')} ({' '.join(IMAGE_SUFFIXES)}), at any depth: one or "
            "more to train on and one or more to test on were expected"
        )
    digests = ((blake2b(os.fsencode(path), digest_size=8).digest(), path) for path in found)
    chosen = [path for _, path in nsmallest(len(birds), digests)]
    trained = round(len(chosen) * sum(bird.training for bird in birds) / len(birds))
    trained = min(max(trained, 1), len(chosen) - 1)
    return {"train": chosen[:trained], "test": chosen[trained:]}


def _in_turn(birds: Sequence[Bird], split: str) -> list[Bird]:
    """Those of a split: the first of each class, then the second of each, and so on."""
    of_class: Counter[int] = Counter()
    turns = []
    for bird in birds:
        if bird.training is (split == "train"):
            turns.append((of_class[bird.label], bird.label, bird))
            of_class[bird.label] += 1
    return [bird for _, _, bird in sorted(turns, key=lambda turn: turn[:2])]


def _boxes(folder: Path, birds: Sequence[Bird]) -> tuple[list[Box], list[tuple[int, int]]]:
    """The boxes of birds, and (width, height) of their pictures; what sticks out of a picture is cut off, and told.

    Raises:
        InputError: a picture is missing or none, or a box lies beside its picture.
    """
    boxes, sizes, cut = [], [], 0
    for bird in bar(birds, len(birds), "headers of files"):
        path = folder / bird.picture
        with opened(path) as image:
            size = size_of(image, path)
        (width, height), (x0, y0, x1, y1) = size, bird.box
        box = max(0.0, x0), max(0.0, y0), min(x1, float(width)), min(y1, float(height))
        if not (box[0] < box[2] and box[1] < box[3]):
            raise InputError(
                f"{bird.where}: the box {[x0, y0, x1, y1]} lies beside its picture {bird.picture}, which is {width} "
                f"pixels wide and {height} high"
            )
        cut += max(box[0] - x0, box[1] - y0, x1 - box[2], y1 - box[3]) > _SLACK
        boxes.append(box)
        sizes.append(size)
    if cut:
        remark(f"The box of {counted(cut, 'picture')} in {readable(str(folder))} sticks out, and is cut at the edge.")
    return boxes, sizes


def _part(box: Box, size: tuple[int, int], grown: float) -> Crop:
    """The whole pixels of a picture that a box covers, in part or all, when it is so many times as wide and as high."""
    (x0, y0, x1, y1), (width, height) = box, size
    more_x, more_y = (grown - 1) * (x1 - x0) / 2, (grown - 1) * (y1 - y0) / 2
    return (
        max(0, math.floor(x0 - more_x)),
        max(0, math.floor(y0 - more_y)),
        min(width, math.ceil(x1 + more_x)),
        min(height, math.ceil(y1 + more_y)),
    )
