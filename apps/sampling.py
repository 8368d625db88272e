"""Images from a generator, block by block, into a picture, a folder or an archive."""

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from apps.figures import PICTURE_SUFFIXES, grid, to_bytes
from apps.generators.hvae import HypersphericalVAE
from apps.seeds import generator
from priors.errors import InputError, unknown
from priors.storage import write_bytes

BLOCK = 64
"""Images that share a stream: which pictures a seed gives must not hang on how many are asked for."""
MOST_IN_A_PICTURE = 10_000


def parse_labels(text: str | None, class_names: Sequence[str]) -> list[int]:
    """Labels from "0-9", "0,3,7", class names, or any mixture; None means all.

    Raises:
        InputError: a label out of range, an unknown class (the nearest is offered), or nothing at all.

    Example:
        >>> parse_labels("0-2,dog", ["cat", "dog", "cow", "emu"])
        [0, 1, 2, 1]
    """
    if text is None or text == "all":
        return list(range(len(class_names)))
    labels: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if part in class_names and not (span and span[2] is None and list(class_names) != [str(i) for i in range(len(class_names))]):
            labels.append(list(class_names).index(part))
        elif span:
            first, last = int(span[1]), int(span[2] or span[1])
            if first > last or last >= len(class_names):
                raise InputError(f"labels {part}: the model has the labels 0-{len(class_names) - 1}")
            labels += range(first, last + 1)
        else:
            raise unknown("class", part, class_names)
    if not labels:
        raise InputError(f"no labels in {text!r}: give some, such as 0-{len(class_names) - 1}")
    return labels


def draw(
    model: HypersphericalVAE, label: int | None, count: int, seed: int, concentration: float | None = None
) -> Iterator[Tensor]:
    """`count` images of one class (or of an unconditional model), in blocks (at most 64, C, H, W) in [0, 1]."""
    device = next(model.parameters()).device
    for block in range(-(-count // BLOCK)):
        labels = torch.full((BLOCK,), label or 0, device=device)
        stream = generator(device, seed, "sample", -1 if label is None else label, block)
        with torch.inference_mode():
            images = model.generate(labels, stream, concentration)
        yield images[: min(BLOCK, count - block * BLOCK)]


def draw_all(model: HypersphericalVAE, labels: Sequence[int] | None, n: int, seed: int, concentration: float | None = None) -> Tensor:
    """Rows of images (labels, n, C, H, W); of an unconditional model rows of up to 10."""
    if labels is not None:
        return torch.stack([torch.cat(list(draw(model, label, n, seed, concentration))) for label in labels]).clone()
    images = torch.cat(list(draw(model, None, n, seed, concentration)))
    columns = min(10, n)
    blank = images.new_ones((-n % columns, *images.shape[1:]))
    return torch.cat([images, blank]).unflatten(0, (-1, columns)).clone()


def write(
    model: HypersphericalVAE, labels: Sequence[int] | None, n: int, seed: int, out: Path, concentration: float | None = None
) -> int:
    """Draw `n` images a label and write them to `out`; returns how many.

    Raises:
        InputError: the ending is of no known format, or the folder exists and is not empty.
    """
    total = n * (1 if labels is None else len(labels))
    suffix = out.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        if total > MOST_IN_A_PICTURE:
            raise InputError(f"{total} images in one picture: give a folder or an .npz as --out")
        names = None if labels is None else [model.class_names[label] for label in labels]
        grid(out, [draw_all(model, labels, n, seed, concentration)], [""], names)
    elif suffix == ".npz":
        _write_archive(model, labels, n, seed, out, concentration)
    elif suffix == "":
        _write_folder(model, labels, n, seed, out, concentration)
    else:
        raise InputError(f"--out {out}: expected a picture ({', '.join(PICTURE_SUFFIXES)}), an .npz, or a folder (no ending)")
    return total


def _write_folder(model, labels, n, seed, out: Path, concentration) -> None:
    from PIL import Image

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out} exists and is not an empty folder: nothing was overwritten, choose another")
    for label in [None] if labels is None else dict.fromkeys(labels):
        folder = out if label is None else out / model.class_names[label].replace("/", "_")
        number = 0
        for block in draw(model, label, n, seed, concentration):
            for pixels in to_bytes(block):
                buffer = io.BytesIO()
                Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
                write_bytes(folder / f"{number:05d}.png", buffer.getvalue())
                number += 1


def _write_archive(model, labels, n, seed, out: Path, concentration) -> None:
    """Stream the images into an .npz in the layout of a data set's training half: memory holds one block at a time."""
    labels = list(labels) if labels is not None else None
    count = n * (1 if labels is None else len(labels))
    channels, height, width = model.image_shape
    shape = (count, height, width, channels) if channels > 1 else (count, height, width)
    beside = out.with_name(f".{out.name}.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            with archive.open("x.npy", "w", force_zip64=True) as file:
                header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for label in [None] if labels is None else labels:
                    for block in draw(model, label, n, seed, concentration):
                        file.write(to_bytes(block).tobytes())
            arrays = {} if labels is None else {"y": np.repeat(np.array(labels), n), "classes": np.array(model.class_names)}
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        beside.replace(out)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
