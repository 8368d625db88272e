"""Where the object of each picture is: masks and boxes, brought to a network's size exactly as the pictures are.

A mask is a picture of its own, of the size of the one it is for, black where the object is not. It is called like that
picture, whatever the two end in, and may lie in a folder like that picture's. A box is four numbers in a JSON file of
all: x0, y0, x1, y1 in pixels, from the left and from the top, of the picture as it is seen (turned as the camera was
held). Of what is returned some masks may be empty or full, since the centre is cut out of pictures: see `divided`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from apps.data.sources.decoding import centre, decoded, opened, placed, size_of
from apps.data.sources.finding import IMAGE_SUFFIXES, pictures_under
from priors.errors import InputError
from priors.files.json_files import read_json

_HALF = 128
"""Of 256 levels: a pixel is inside where the mask covers at least half of what it is made of."""
_SLACK = 1.0
"""Pixels that a box may stick out of its picture, by rounding; what sticks out is cut off."""


def read_masks(
    folder: Path, pictures: Sequence[Path], size: int, shorter: int | None = None
) -> Bool[Tensor, "n size size"]:
    """The masks of pictures, from a folder of masks, at any depth.

    Args:
        folder: of the masks.
        pictures: files, in order.
        size: height and width that pictures are brought to.
        shorter: their shorter side before the centre of that size is cut out; None: the size itself.

    Returns:
        True inside the object; n masks, one a picture.

    Raises:
        InputError: a picture without a mask or with two, one mask for two pictures, a mask of another size than its
            picture, or a file that is no picture.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: one with a mask for each picture was expected")
    files = _found(pictures, pictures_under(folder), f"mask in {folder}")
    masks = [_mask(picture, folder / file, size, shorter) for picture, file in zip(pictures, files, strict=True)]
    return torch.from_numpy(np.stack(masks))


def read_boxes(
    file: Path, pictures: Sequence[Path], size: int, shorter: int | None = None, grown: int | float = 1
) -> Bool[Tensor, "n size size"]:
    """The boxes of pictures as masks, from a JSON file `{"NAME": [x0, y0, x1, y1], ...}`.

    Args:
        file: of the boxes; a name is a picture's, with or without its ending and its folders.
        pictures: files, in order.
        size: height and width that pictures are brought to.
        shorter: their shorter side before the centre of that size is cut out; None: the size itself.
        grown: how many times as wide and as high as given a box is taken, about its middle; what is outside of the
            picture then is cut off.

    Returns:
        True where the middle of a pixel is inside the box; n masks, one a picture.

    Raises:
        InputError: a picture without a box or with two, one box for two pictures, four numbers that are no box, or a
            box that sticks out of its picture.
    """
    boxes = read_json(file, "file of boxes")
    if not isinstance(boxes, dict):
        raise InputError(f'{file} holds a {type(boxes).__name__}: {{"NAME": [x0, y0, x1, y1], ...}} was expected')
    names = _found(pictures, boxes, f"box in {file}")
    masks = []
    for picture, name in zip(pictures, names, strict=True):
        with opened(picture) as image:
            width, height = size_of(image, picture)
        box = box_within(boxes[name], f"{file}, {name!r}", width, height)
        masks.append(box_mask(box, width, height, size, shorter, grown))
    return torch.stack(masks)


def box_mask(
    box: Sequence[int | float],
    width: int,
    height: int,
    size: int,
    shorter: int | None = None,
    grown: int | float = 1,
    squared: bool = False,
) -> Bool[Tensor, "size size"]:
    """One box as a mask, see `read_boxes`.

    Args:
        box: x0, y0, x1, y1 in pixels of a picture.
        width: of the picture.
        height: of the picture.
        size: height and width that it is brought to.
        shorter: its shorter side before the centre of that size is cut out; None: the size itself.
        grown: how many times as wide and as high it is taken.
        squared: whether both its sides are brought to that.
    """
    wide, high, left, top = placed(width, height, size, shorter, squared)
    x0, y0, x1, y1 = box
    middles = torch.arange(size, dtype=torch.float64) + 0.5
    columns = _within((middles + left) * width / wide, x0, x1, grown)
    rows = _within((middles + top) * height / high, y0, y1, grown)
    return rows[:, None] & columns


def divided(masks: Bool[Tensor, "n height width"]) -> Bool[Tensor, " n"]:
    """Which masks have something inside and something outside; of others no comparison of the two can be made."""
    flat = masks.flatten(1)
    return flat.any(1) & ~flat.all(1)


def _within(places: Tensor, start: int | float, end: int | float, grown: int | float) -> Tensor:
    middle, reach = (start + end) / 2, grown * (end - start) / 2
    return (places >= middle - reach) & (places < middle + reach)


def _mask(picture: Path, path: Path, size: int, shorter: int | None) -> np.ndarray:
    with opened(picture) as image:
        expected = size_of(image, picture)
    with opened(path) as image:
        mask = decoded(image, path, 1)
    if mask.size != expected:
        raise InputError(
            f"the mask {path} is {mask.height}x{mask.width} pixels, and its picture {picture} {expected[1]}x"
            f"{expected[0]}: give masks of the sizes of the pictures"
        )
    inside = mask.point(lambda level: 255 if level else 0)
    return np.array(centre(inside, size, shorter), dtype=np.uint8) >= _HALF


def box_within(given: Any, where: str, width: int, height: int) -> tuple[float, float, float, float]:
    """Four numbers, where they are a box in the picture: x0, y0, x1, y1; what sticks out by a pixel or less is cut off.

    Args:
        given: of a file.
        where: it stands, for messages.
        width: of the picture.
        height: of the picture.

    Raises:
        InputError: they are none, or it sticks out of the picture.
    """
    numbers = isinstance(given, list) and [isinstance(one, int | float) and one is not True for one in given]
    if not numbers or len(numbers) != 4 or not all(numbers) or not (given[0] < given[2] and given[1] < given[3]):
        raise InputError(f"{where}: {given} is no box; x0, y0, x1, y1 were expected, with x0 < x1 and y0 < y1")
    x0, y0, x1, y1 = given
    within = -_SLACK <= min(x0, y0) and x1 <= width + _SLACK and y1 <= height + _SLACK
    if not within or x0 >= width or y0 >= height or min(x1, y1) <= 0:
        raise InputError(
            f"{where}: the box {given} sticks out of its picture, which is {width} pixels wide and {height} high: "
            "x0, y0, x1, y1 in its pixels were expected"
        )
    return float(max(0, x0)), float(max(0, y0)), float(min(x1, width)), float(min(y1, height))


def _found(pictures: Sequence[Path], names: Iterable[str], what: str) -> list[str]:
    """Of each picture the name that is its own: its parts are the last ones of the picture's, as many as can be.

    Raises:
        InputError: a picture without one or with several, or two with the same.
    """
    known: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for name in names:
        parts = _parts(PurePath(name))
        known.setdefault(parts[-1] if parts else "", []).append((parts, name))
    found: dict[str, Path] = {}
    for picture in pictures:
        own = _parts(picture.absolute())
        fitting = [(len(parts), name) for parts, name in known.get(own[-1], ()) if own[-len(parts) :] == parts]
        best = [name for count, name in fitting if count == max(fitting)[0]]
        if not best:
            raise InputError(f"{picture} has no {what}: one called {own[-1]} was expected")
        if len(best) > 1:
            raise InputError(f"{picture} has more than one {what}: {best[0]} and {best[1]}; leave one out")
        if best[0] in found:
            raise InputError(
                f"{found[best[0]]} and {picture} have the same {what}, {best[0]}: call them, or their folders, apart"
            )
        found[best[0]] = picture
    return list(found)


def _parts(path: PurePath) -> tuple[str, ...]:
    """Folders and name without what a picture's name ends in."""
    *folders, name = path.parts or ("",)
    stem, dot, ending = name.rpartition(".")
    return (*folders, stem if stem and dot + ending.lower() in IMAGE_SUFFIXES else name)
