"""Arrays in an `.npz` file, read without unpickling; and what to do with pixels of another type than is read.

No torch is imported: looking at a header is instant.
"""

import lzma
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from priors.errors import InputError, reason
from priors.files.regular import open_regular

DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
"""What reading an archive raises where it is damaged, encrypted (RuntimeError), or packed in a way that Python does not
know (NotImplementedError, which is one)."""
UNREADABLE = (ValueError, SyntaxError, OverflowError, tokenize.TokenError)
"""What NumPy raises where an array's header is damaged."""
_ROUNDING = 1e-3
"""By how much pixels may miss the ends of [0, 1] or [-1, 1], as after a resizing."""


def is_npz(name: str | Path) -> bool:
    """Whether a file is called one of these."""
    return str(name).lower().endswith(".npz")


def header(archive: zipfile.ZipFile, path: Path, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array, without reading the array.

    Raises:
        InputError: it is not readable, or holds objects.
    """
    with archive.open(f"{name}.npy") as file:
        try:
            read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(file)
        except UNREADABLE as error:
            raise InputError(f"{path}: {name} is not a readable array ({reason(error)})") from None
    if dtype.hasobject:
        raise InputError(
            f"{path}: {name} holds Python objects, which are not read; save it as plain numbers or strings"
        )
    return shape, dtype


def counts(path: Path) -> tuple[int, int]:
    """How many training and test images a data set in a file has, by its headers.

    Raises:
        InputError: it is damaged, or holds something else.
    """
    try:
        with open_regular(path, "data set") as file, zipfile.ZipFile(file) as archive:
            train, test = (header(archive, path, f"x_{part}")[0][0] for part in ("train", "test"))
            return train, test
    except (*DAMAGED, KeyError, IndexError) as error:
        raise InputError(f"{path} is damaged or no data set ({reason(error)})") from None


def array(archive: zipfile.ZipFile, path: Path, name: str) -> np.ndarray:
    """Read one array; never objects.

    Raises:
        InputError: as for `header`.
    """
    header(archive, path, name)
    with archive.open(f"{name}.npy") as file:
        try:
            return npy.read_array(file, allow_pickle=False)
        except UNREADABLE as error:
            raise InputError(f"{path}: {name} is not a readable array ({reason(error)})") from None


def into_bytes(pixels: np.ndarray) -> str:
    """How pixels x that are not uint8 become it, by the range found: a piece of NumPy, or what to do first.

    Example:
        >>> into_bytes(np.array([0, 200]))
        "they are from 0 to 200: x.astype('uint8')"
        >>> into_bytes(np.array([0.0, 0.5]))
        "they are from 0 to 0.5: (255 * x).round().astype('uint8')"
    """
    kind = pixels.dtype.kind
    if kind not in "biuf" or not pixels.size:
        return "these are no numbers"
    if kind == "b":
        return "x.astype('uint8') * 255"
    if not np.isfinite(pixels).all():
        return f"it holds {'NaN' if np.isnan(pixels).any() else 'infinite values'}; mend them first"
    low, high = float(pixels.min()), float(pixels.max())
    return f"they are from {low:.6g} to {high:.6g}: {_by_range(pixels, low, high)}"


def _by_range(pixels: np.ndarray, low: float, high: float) -> str:
    whole = pixels.dtype.kind in "iu"
    unit = f".clip({'0' if low >= -_ROUNDING else '-1'}, 1)" if high > 1 or low < -1 else ""
    if whole and low >= 0 and high <= 65535:
        if high <= 1:
            return "x.astype('uint8') * 255"
        return "x.astype('uint8')" if high <= 255 else "(x / 257).round().astype('uint8'), where white is 65535"
    if not whole and low >= -_ROUNDING and high <= 1 + _ROUNDING:
        return f"(255 * x{unit if low >= 0 else '.clip(0, 1)'}).round().astype('uint8')"
    if not whole and low >= -1 - _ROUNDING and high <= 1 + _ROUNDING:
        return f"(127.5 * (x{unit} + 1)).round().astype('uint8')"
    if not whole and low >= 0 and high <= 255 and (high > 127 or (pixels == pixels.round()).all()):
        return "x.round().astype('uint8')"
    return "bring x_train and x_test alike to 0 ... 255 first, undoing any normalisation"
