"""Images in .tar shards, each read at its place when it is needed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from PIL import Image
from torch import Tensor

from apps.data.sources.decoding import opened_bytes
from apps.data.sources.finding import readable
from apps.data.sources.shard_index import ShardIndex
from apps.data.sources.stored_images import StoredImages
from priors.errors import InputError


@dataclass(frozen=True)
class ShardImages(StoredImages):
    """The images of some samples of shards.

    Attributes:
        shards: the .tar files.
        index: where each of their images is.
        image_shape: (channels, height, width) of a decoded image.
        rows: which of the samples, in order; None: all.
    """

    shards: tuple[Path, ...]
    index: ShardIndex = field(repr=False)
    image_shape: tuple[int, int, int]
    resized: bool = False
    side: int | None = None
    rows: Int64[np.ndarray, " n"] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.index) if self.rows is None else len(self.rows)

    @property
    def place(self) -> str:
        """The folder of the first shard."""
        return readable(str(self.shards[0].parent))

    def subset(self, index: Int64[Tensor, " m"]) -> "ShardImages":
        """The samples at positions `index`, in that order."""
        rows = index.numpy() if self.rows is None else self.rows[index.numpy()]
        return replace(self, rows=rows)

    def called(self, position: int) -> str:
        """The sample's name, and its shard."""
        row = self._row(position)
        return f"{self.index.keys[row]} in {readable(str(self.shards[self.index.shards[row]]))}"

    @contextmanager
    def opened(self, position: int) -> Iterator[Image.Image]:
        """The picture of a sample, with its header read.

        Raises:
            InputError: the shard is gone or was cut off, or the picture is damaged.
        """
        row, name = self._row(position), self.called(position)
        path, size = self.shards[self.index.shards[row]], int(self.index.sizes[row])
        try:
            with open(path, "rb") as shard:
                data = os.pread(shard.fileno(), size, int(self.index.offsets[row]))
        except OSError as error:
            raise InputError(f"{name} cannot be read ({error.strerror}): put the shard back") from None
        if len(data) != size:
            raise InputError(f"{name} is cut off: put the whole shard back")
        with opened_bytes(data, name) as image:
            yield image

    def fingerprint(self) -> bytes:
        """A digest of the samples' names and the sizes of their images, and of the shape they decode to and how."""
        hashed = blake2b(repr((self.image_shape, self.resized, self.side)).encode(), digest_size=16)
        rows = range(len(self.index)) if self.rows is None else self.rows.tolist()
        for row in rows:
            hashed.update(f"{self.index.keys[row]}\0{self.index.sizes[row]}\0".encode("utf-8", "surrogateescape"))
        return hashed.digest()

    def stamp(self) -> str:
        """A digest of the times at which the shards were written."""
        return blake2b(repr([os.stat(path).st_mtime_ns for path in self.shards]).encode(), digest_size=8).hexdigest()

    def _row(self, position: int) -> int:
        return position if self.rows is None else int(self.rows[position])
