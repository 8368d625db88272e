"""Images in a table's column (Arrow, by the datasets library), decoded as they are needed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64
from PIL import Image

from apps.data.sources.decoding import opened, opened_bytes
from apps.data.sources.stored_images import RowImages
from priors.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset

_HASHED = 1_000
"""Images whose bytes a fingerprint is of, evenly spaced; of the others it is the number of bytes."""
_AT_A_TIME = 10_000


@dataclass(frozen=True)
class TableImages(RowImages):
    """The images of some rows of a table.

    Attributes:
        table: rows of a column of encoded pictures, or of pixels.
        column: its name.
        source: where the table is, for people.
        rows: which of them, in order.
    """

    table: "Dataset" = field(repr=False)
    column: str
    source: str
    rows: Int64[np.ndarray, " n"] = field(repr=False)
    image_shape: tuple[int, int, int]
    resized: bool = False
    side: int | None = None

    def called(self, position: int) -> str:
        """The row and the column."""
        return f"row {self.rows[position]} of {self.source} ({self.column})"

    @contextmanager
    def opened(self, position: int) -> Iterator[Image.Image]:
        """The picture of a row, with its header read.

        Raises:
            InputError: there is none, or it is damaged.
        """
        name, value = self.called(position), self.table[int(self.rows[position])][self.column]
        if isinstance(value, dict) and value.get("bytes"):
            with opened_bytes(value["bytes"], name) as image:
                yield image
        elif isinstance(value, dict) and value.get("path"):
            with opened(Path(value["path"])) as image:
                yield image
        elif value is None or isinstance(value, dict):
            raise InputError(f"{name} holds no picture: fill or remove it")
        else:
            yield pixels_as_image(np.asarray(value), name)

    def fingerprint(self) -> bytes:
        """A digest of how many bytes each picture has, of all bytes of some, and of how they are decoded."""
        hashed = blake2b(repr((self.image_shape, self.resized, self.side)).encode(), digest_size=16)
        hashed.update(self._sizes().tobytes())
        for row in self.rows[:: max(1, -(-len(self.rows) // _HASHED))].tolist():
            value = self.table[row][self.column]
            if isinstance(value, dict):
                hashed.update(value.get("bytes") or b"")
            elif value is not None:
                hashed.update(np.ascontiguousarray(value).tobytes())
        return hashed.digest()

    def _sizes(self) -> Int64[np.ndarray, " n"]:
        """The number of bytes of each picture, or of its file; -1 where there are only pixels.

        Slices of the table are looked at where they lie: of pictures of many gigabytes nothing but their ends is read.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        sizes = np.full(len(self.table), -1, np.int64)
        table = self.table.with_format("arrow")
        for start in range(0, len(sizes), _AT_A_TIME):
            for part in table[start : start + _AT_A_TIME].column(self.column).chunks:
                if not pa.types.is_struct(part.type):
                    return sizes[self.rows]
                lengths = pc.fill_null(pc.binary_length(pc.struct_field(part, "bytes")), -1)
                sizes[start : start + len(part)] = lengths.to_numpy(zero_copy_only=False)
                start += len(part)
        for row in self.rows[sizes[self.rows] < 0].tolist():
            path = (self.table[row][self.column] or {}).get("path")
            sizes[row] = os.path.getsize(path) if path and os.path.exists(path) else -1
        return sizes[self.rows]


def pixels_as_image(pixels: np.ndarray, name: str) -> Image.Image:
    """Pixels as a picture: (height, width), (height, width, channels) or (channels, height, width), 1 or 3 channels.

    Args:
        pixels: whole numbers 0 ... 255, or fractions 0 ... 1, which are brought to the nearest of 256 levels.
        name: of the image, for messages.

    Raises:
        InputError: another shape, or other values.
    """
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3) and pixels.shape[0] in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or not pixels.size:
        raise InputError(
            f"{name} has pixels of shape {tuple(pixels.shape)}: expected (height, width), (height, width, channels) or "
            "(channels, height, width) with 1 or 3 channels"
        )
    if pixels.dtype.kind == "b" or pixels.dtype.kind not in "uif":
        raise InputError(f"{name} has pixels of type {pixels.dtype}: expected 0 ... 255, or fractions 0 ... 1")
    top = 1 if pixels.dtype.kind == "f" else 255
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= top):
        raise InputError(
            f"{name} has pixels from {low:.6g} to {high:.6g}: expected whole numbers 0 ... 255, or fractions 0 ... 1, "
            "not normalised: networks do that themselves"
        )
    levels = pixels if top == 255 else (255 * pixels.astype(np.float64)).round()
    return Image.fromarray(np.ascontiguousarray(levels.astype(np.uint8)))
