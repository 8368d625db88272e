"""Images of a generator, block by block, written as a picture, a folder or an archive."""

import os
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from apps.command.console import printable
from apps.figures import PICTURE_SUFFIXES, grid, to_bytes
from apps.models.drawing import draw, draw_all
from apps.models.generator import Generator
from apps.runs.outputs import check_file, check_folder, check_room
from priors.errors import InputError, unknown

MOST_IN_A_PICTURE = 10_000


def parse_labels(text: str | None, class_names: Sequence[str]) -> list[int]:
    """Labels from "0-9", "0,3,7", class names, or any mixture; None means all. Each label comes once.

    What is a class's name means that class; other numbers are labels, counted from 0.

    Raises:
        InputError: a label out of range, an unknown class (the nearest is offered), or nothing at all.

    Example:
        >>> parse_labels("0-2,emu", ["cat", "dog", "cow", "emu"])
        [0, 1, 2, 3]
    """
    names = list(class_names)
    if text is None or (text == "all" and "all" not in names):
        return list(range(len(names)))
    labels: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if part in names:
            labels.append(names.index(part))
        elif span:
            first, last = (names.index(end) if end in names else int(end) for end in (span[1], span[2] or span[1]))
            if first > last or last >= len(names):
                order = ", the smaller one first" if first > last else ""
                raise InputError(f"--labels {part}: expected labels from 0 to {len(names) - 1}{order}")
            labels += range(first, last + 1)
        else:
            raise unknown("class", part, names)
    if not labels:
        raise InputError(f"--labels {text!r} names none: give some, such as 0-{len(names) - 1}")
    return list(dict.fromkeys(labels))


def check(model: Generator, labels: Sequence[int] | None, n: int, out: Path, overwrite: bool = False) -> int:
    """Make sure that `n` images a label can be written to `out`, and say how many that makes.

    Raises:
        InputError: too many for a picture, an ending of no known format, a place that cannot be written, or something
            that is there already.
    """
    total = n * (1 if labels is None else len(labels))
    if out.suffix == "":
        check_folder(out)
        return total
    check_file(out, (*PICTURE_SUFFIXES, ".npz"), overwrite, "; or a folder, without an ending")
    if out.suffix.lower() != ".npz" and total > MOST_IN_A_PICTURE:
        raise InputError(f"{total:,} images in one picture: give a folder or an .npz as --out")
    check_room(out, total * prod(model.image_shape))
    return total


def write(
    model: Generator,
    labels: Sequence[int] | None,
    n: int,
    seed: int,
    out: Path,
    concentration: float | None = None,
    overwrite: bool = False,
) -> int:
    """Draw `n` images a label and write them to `out`; returns how many.

    A folder or an archive appears when it is complete; memory holds one block of images at a time.

    Raises:
        InputError: as for `check`.
    """
    total = check(model, labels, n, out, overwrite)
    if out.suffix == "":
        _write_folder(model, labels, n, seed, out, concentration)
    elif out.suffix.lower() == ".npz":
        _write_archive(model, labels, n, seed, out, concentration)
    else:
        names = None if labels is None else [model.class_names[label] for label in labels]
        grid(out, [draw_all(model, labels, n, seed, concentration)], [""], names)
    return total


def _blocks(model, labels, n, seed, concentration) -> Iterator[tuple[int | None, np.ndarray]]:
    """Each label with a block of its images (uint8, channels last), and a bar for who waits for them."""
    labels = [None] if labels is None else labels
    with tqdm(total=n * len(labels), unit="image", disable=None, leave=False) as bar:
        for label in labels:
            for block in draw(model, label, n, seed, concentration):
                yield label, to_bytes(block)
                bar.update(len(block))


def _write_folder(model, labels, n, seed, out: Path, concentration) -> None:
    """One PNG an image, in a folder a class; written beside, then renamed."""
    beside = out.with_name(f".{out.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        names = _folder_names(model.class_names)
        written: dict[int | None, int] = {}
        for label, block in _blocks(model, labels, n, seed, concentration):
            folder = beside if label is None else beside / names[label]
            folder.mkdir(exist_ok=True)
            for pixels in block:
                number = written.get(label, 0)
                Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(
                    folder / f"{number:05d}.png"
                )
                written[label] = number + 1
        beside.replace(out)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _folder_names(class_names: Sequence[str]) -> list[str]:
    """A folder's name for each class: the class's own, where a file system takes it; some tell no capitals from others.

    Example:
        >>> _folder_names(["cat", "T-shirt/top", ".."])
        ['cat', 'T-shirt_top', 'class-2']
    """
    names = [re.sub(r"[/\\\0:]", "_", printable(name)).strip().lstrip(".") for name in class_names]
    alike = Counter(name.casefold() for name in names)
    numbers = [f"class-{number}" for number in range(len(names))]
    found = [
        name if _fits(name) and alike[name.casefold()] == 1 else number
        for name, number in zip(names, numbers, strict=True)
    ]
    # A class may be called as another one's number.
    return found if len({name.casefold() for name in found}) == len(found) else numbers


def _fits(name: str) -> bool:
    """Whether a file system takes a name: most have 255 bytes, some have ASCII alone."""
    try:
        return 0 < len(os.fsencode(name)) <= 255
    except UnicodeEncodeError:
        return False


def _write_archive(model, labels, n, seed, out: Path, concentration) -> None:
    """Images as `x`, labels as `y` and class names as `classes`; written beside, then renamed."""
    count = n * (1 if labels is None else len(labels))
    channels, height, width = model.image_shape
    shape = (count, height, width, channels) if channels > 1 else (count, height, width)
    beside = out.with_name(f".{out.name}.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            with archive.open("x.npy", "w", force_zip64=True) as file:
                header = {
                    "descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)),
                    "fortran_order": False,
                    "shape": shape,
                }
                np.lib.format.write_array_header_1_0(file, header)
                for _, block in _blocks(model, labels, n, seed, concentration):
                    file.write(block.tobytes())
            arrays = (
                {} if labels is None else {"y": np.repeat(np.array(labels), n), "classes": np.array(model.class_names)}
            )
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        beside.replace(out)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
