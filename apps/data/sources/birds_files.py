"""The text files of CUB-200-2011 (Wah et al., 2011), as Caltech publishes them; each line begins with a number.

`images.txt` (number, path in `images`), `image_class_labels.txt` (number, class from 1), `classes.txt` (class, name),
`train_test_split.txt` (number, 1 for training and 0 for testing), `bounding_boxes.txt` (number, x, y, width, height in
pixels, from the left and from the top).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from apps.data.sources.finding import birds_missing
from priors.errors import InputError
from priors.files.regular import read_bytes

_NUMBER = re.compile("[0-9]{1,9}")
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels, from the left and from the top."""


@dataclass(frozen=True)
class Bird:
    """One photograph.

    Attributes:
        picture: its file, in the folder of the set, with "/" between the parts.
        label: of its class, from 0.
        training: whether it is one of the training images.
        box: x0, y0, x1, y1 of the bird, in pixels.
        where: that stands, for messages.
    """

    picture: str
    label: int
    training: bool
    box: Box
    where: str


@dataclass(frozen=True)
class _Line:
    where: str
    number: int
    fields: list[str]


def read_birds(folder: Path) -> tuple[list[Bird], tuple[str, ...]]:
    """All photographs, in the order of their numbers, and the names of the classes.

    Raises:
        InputError: a file is missing, a line is not what it should be, numbers of one file are not those of another, a
            class has no training or no test images, or two numbers have one file.
    """
    if missing := birds_missing(folder):
        raise InputError(
            f"{folder} has no {', '.join(missing)}: CUB-200-2011 was expected, unpacked as Caltech publishes it"
        )
    classes = _lines(folder / "classes.txt", "the number of a class and its name", 1)
    for number, line in enumerate(sorted(classes.values(), key=lambda line: line.number), 1):
        if line.number != number:
            raise InputError(f"{line.where}: class {line.number} where {number} was expected: number them without gaps")
    pictures = _lines(folder / "images.txt", "the number of an image and its path", 1)
    own = {
        name: _of(pictures, folder / name, what, count)
        for name, what, count in (
            ("image_class_labels.txt", "the number of an image and that of its class", 1),
            ("train_test_split.txt", "the number of an image and 1 (training) or 0 (testing)", 1),
            ("bounding_boxes.txt", "the number of an image, x, y, width and height", 4),
        )
    }
    labels, splits, boxes = own.values()
    known = {str(number): number - 1 for number in classes}
    birds = []
    for number in sorted(pictures):
        label, split, box = labels[number], splits[number], boxes[number]
        if label.fields[0] not in known:
            raise InputError(f"{label.where}: class {label.fields[0]}, expected 1 to {len(classes)} as in classes.txt")
        if split.fields[0] not in ("0", "1"):
            raise InputError(f"{split.where}: {split.fields[0]}, expected 1 (training) or 0 (testing)")
        picture = f"images/{pictures[number].fields[0]}"
        birds.append(Bird(picture, known[label.fields[0]], split.fields[0] == "1", _corners(box), box.where))
    _check_apart(birds, pictures)
    names = tuple(classes[number].fields[0] for number in sorted(classes))
    _check_filled(folder, birds, names)
    return birds, names


def _lines(path: Path, expected: str, count: int) -> dict[int, _Line]:
    """The lines of a file by their numbers.

    Args:
        path: of the file.
        expected: what a line is, in words.
        count: how many fields follow the number.
    """
    try:
        text = read_bytes(path, "part of the data set").decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is damaged: it is no text") from None
    found: dict[int, _Line] = {}
    for at, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        number, *fields = line.split()
        where = f"{path}, line {at}"
        if not _NUMBER.fullmatch(number) or len(fields) != count:
            raise InputError(f"{where}: {line.strip()[:80]!r}, expected {expected}")
        if int(number) in found:
            raise InputError(f"{where}: number {number} was there before: leave one out")
        found[int(number)] = _Line(where, int(number), fields)
    if not found:
        raise InputError(f"{path} is empty: lines with {expected} were expected")
    return found


def _of(pictures: dict[int, _Line], path: Path, expected: str, count: int) -> dict[int, _Line]:
    """The lines of a file that has one for each picture."""
    found = _lines(path, expected, count)
    if missing := sorted(pictures.keys() - found.keys()):
        raise InputError(f"{path} has no line for image {missing[0]}, which is {pictures[missing[0]].fields[0]}")
    if more := sorted(found.keys() - pictures.keys()):
        raise InputError(f"{found[more[0]].where}: image {more[0]} is not in images.txt")
    return found


def _corners(line: _Line) -> Box:
    try:
        x, y, width, height = map(float, line.fields)
    except ValueError:
        x, y, width, height = (math.nan,) * 4
    if not all(map(math.isfinite, (x, y, width, height))) or min(width, height) <= 0:
        raise InputError(
            f"{line.where}: {' '.join(line.fields)} is no box, expected x, y, width and height in pixels, the last two "
            "above 0"
        )
    return x, y, x + width, y + height


def _check_apart(birds: list[Bird], pictures: dict[int, _Line]) -> None:
    first: dict[str, int] = {}
    for bird, number in zip(birds, sorted(pictures), strict=True):
        if bird.picture in first:
            raise InputError(f"{pictures[number].where}: {bird.picture} is image {first[bird.picture]} already")
        first[bird.picture] = number


def _check_filled(folder: Path, birds: list[Bird], names: tuple[str, ...]) -> None:
    for training, split in ((True, "training"), (False, "test")):
        there = {bird.label for bird in birds if bird.training is training}
        if empty := sorted(set(range(len(names))) - there):
            raise InputError(
                f"{folder}: class {empty[0] + 1} ({names[empty[0]]}) has no {split} images, see train_test_split.txt"
            )
