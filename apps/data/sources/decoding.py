"""How pictures are decoded: which files are read, how they are turned, and what is cut out of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image

from priors.errors import InputError, reason
from priors.files.regular import open_regular

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's number. Pillow's `exif_transpose` also writes all other tags anew, and stops at damaged ones."""
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
"""What a file may hold, whatever it is called: Pillow reads others too, some by another program (Ghostscript)."""


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file and read its header; it is closed at the end.

    Raises:
        InputError: it is missing or not an image.
    """
    if not os.path.lexists(path):
        raise InputError(f"{path} is missing: put it back")
    with open_regular(path, "image") as file:
        yield _begun(file, path)


def opened_bytes(data: bytes, name: str) -> Image.Image:
    """The same of a file's bytes, which `name` tells people where to find.

    Raises:
        InputError: they are not an image.
    """
    return _begun(BytesIO(data), name)


def _begun(file: BinaryIO, name: Path | str) -> Image.Image:
    """An image whose header is read."""
    try:
        return Image.open(file, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise InputError(f"{name} has more pixels than an image is trusted to have: make it smaller") from None
    except (OSError, SyntaxError, ValueError):
        raise InputError(f"{name} is damaged or not an image ({', '.join(_FORMATS)}): replace or remove it") from None


def decoded(image: Image.Image, path: Path | str, channels: int) -> Image.Image:
    """The pixels of an opened file, grey (1 channel) or RGB (3), turned as the camera was held (EXIF orientation).

    Of a file with several pictures, such as an animation, it is the first. Transparency is dropped.

    Raises:
        InputError: the file is damaged, or as for `channels_of`.
    """
    channels_of(image, path)  # deeper pixels would be cut off
    try:
        image.load()  # formats with their tags behind the pixels know them from here on; TIFF is turned already
        image.info.pop("transparency", None)  # Pillow would warn of that of a palette
        pixels = image.convert("L" if channels == 1 else "RGB")
        turn = _TURNS.get(orientation(image))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is damaged, it cannot be decoded ({reason(error)}): replace or remove it") from None
    return pixels if turn is None else pixels.transpose(turn)


def size_of(image: Image.Image, path: Path | str) -> tuple[int, int]:
    """(width, height) that an opened file will have when it is turned; only those on their side are decoded for it."""
    return decoded(image, path, 3).size if orientation(image) >= 5 else image.size


def orientation(image: Image.Image) -> int:
    """How a picture is to be turned, 1 for not at all, by the tags that have been read; damaged tags say nothing."""
    try:
        # Of PNG, the method of its own decodes the whole file to find tags behind the pixels.
        found = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever the readers of tags let through
        return 1
    return found if isinstance(found, int) and found in _TURNS else 1


def channels_of(image: Image.Image, path: Path | str) -> int:
    """1 for grey images, 3 for all others; transparency is dropped.

    Raises:
        InputError: the pixels have more than 8 bits.
    """
    if image.mode.startswith(("I", "F")):
        raise InputError(
            f"{path} has pixels of more than 8 bits (mode {image.mode}): bring them to 0 ... 255 first (16 bits are "
            "divided by 257; a plain conversion cuts them off)"
        )
    return 1 if image.mode in ("1", "L", "LA") else 3


def placed(
    width: int, height: int, size: int, shorter: int | None = None, squared: bool = False
) -> tuple[int, int, int, int]:
    """How `centre` brings a picture of a width and a height to a size: (width, height) it is resized to, (left, top).

    The last two are where the part that is cut out begins. Numbers are rounded as torchvision's Resize and CenterCrop
    do.
    """
    side = shorter or size
    width, height = (side, side) if squared else (int(side * own / min(width, height)) for own in (width, height))
    return width, height, round((width - size) / 2), round((height - size) / 2)


def centre(image: Image.Image, size: int, shorter: int | None = None, squared: bool = False) -> Image.Image:
    """Resize the shorter side to `shorter`, or else to `size`, and cut out the centre of that size.

    Args:
        image: of any size.
        size: height and width of what is cut out.
        shorter: of what it is cut out of.
        squared: whether the longer side is resized to that as well, so that nothing but margins of a larger square is
            lost.
    """
    width, height, left, top = placed(*image.size, size, shorter, squared)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return image.crop((left, top, left + size, top + size))
