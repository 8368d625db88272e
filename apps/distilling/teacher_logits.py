"""A teacher's logits for every view of every training image, kept in a file and filled in as they come up.

Crops of 4 pixels of padding and flips have 162 views, so the whole of CIFAR-100 takes 1.7 GB in float16. Later runs
with the same teacher, images and augmentation find what earlier ones have filled in. Each row has a checksum, and one
that is damaged is asked of the teacher again.
"""

import fcntl
import json
import os
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from apps.command.console import counted, say
from apps.data.batches import Batch
from priors.errors import InputError
from priors.files.json_files import write_json
from priors.files.regular import check_regular

_BLOCK = 1 << 16
"""Rows that are taken over at a time."""

Rows = TypeVar("Rows", Tensor, np.ndarray)


class TeacherLogits:
    """Gives a teacher's logits by image and view, and runs it for those that were never asked for.

    Logits are rounded to float16 also when they are new, so that a training sees the same numbers whether or not others
    went before it, up to what the size of a batch does to a network's last digits. Several processes on one machine may
    share the file.

    Args:
        folder: of the file, made where it does not exist.
        key: all that the logits depend on.
        images: how many there are.
        views: of each.
        classes: of the teacher.

    Attributes:
        path: the file; its first `4 * images * views` bytes are a checksum a row, 0 where the row is not filled in.
        size: of the file, in bytes.
        rows: of logits: one a view of each image.
        classes: numbers in each.

    Raises:
        InputError: the folder is a file, or the file is of another size, or a pipe or a device.
        OSError: the disk has no room for it.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], images: int, views: int, classes: int):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--cache-logits {folder} is a file: expected a folder, or a new one")
        folder.mkdir(parents=True, exist_ok=True)
        rows, before = images * views, {**key, "images": images, "views": views, "classes": classes}
        described = before | {"checksums": "crc32"}
        self.path, self.size = _place(folder, described), rows * (4 + 2 * classes)
        write_json(self.path.with_suffix(".json"), described)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            check_regular(self.path, "cache of logits", found := os.fstat(handle))
            if (there := found.st_size) not in (0, self.size):
                raise InputError(
                    f"{self.path} has {there:,} bytes, expected {self.size:,}: remove it, and it is made anew"
                )
            # Room is taken now: a disk that is full later would kill the process.
            os.posix_fallocate(handle, 0, self.size)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        weakref.finalize(self, os.close, handle)
        self.rows, self.classes = rows, classes
        self._views, self._remarked = views, False
        self._checksums = np.memmap(self.path, "<u4", "r+", 0, (rows,))
        self._logits = np.memmap(self.path, "<f2", "r+", 4 * rows, (rows, classes))
        self._take_over(_place(folder, before))

    def filled(self) -> float:
        """The part of the file that is filled in."""
        return np.count_nonzero(self._checksums) / len(self._checksums)

    def __call__(self, teacher: Callable[[Tensor], Tensor] | nn.Module, batch: Batch) -> Float[Tensor, "batch classes"]:
        """The teacher's logits for a batch, in float32 on its device.

        Raises:
            InputError: logits that are not finite in float16.
        """
        rows = self.rows_of(batch.index, batch.view).cpu().numpy()
        logits, missing = self.find(rows)
        if len(missing):
            images = batch.images[torch.from_numpy(missing).to(batch.images.device)]
            logits[missing] = self.put(rows[missing], teacher(images).to(torch.float16).cpu().numpy())
        return torch.from_numpy(logits).to(batch.images.device, torch.float32)

    def settle(self) -> None:
        """Nothing is left to be written: all went to the file at once."""

    def rows_of(self, index: Rows, view: Rows) -> Rows:
        """The row of each image in its view.

        Args:
            index: (batch,), positions of the images.
            view: (batch,).
        """
        return index * self._views + view

    def find(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the file holds.

        Args:
            rows: int64, (batch,).

        Returns:
            float16 logits, (batch, classes), and the places among `rows` of those that are missing or damaged.
        """
        stored = self._checksums[rows]  # first: another process that fills a row in meanwhile leaves it missing here
        logits = self._logits[rows]
        missing = np.flatnonzero(stored != _checksums(rows, logits))
        if len(missing):
            self._remark(int(np.count_nonzero(stored[missing])))
        return logits, missing

    def put(self, rows: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Fill rows in, and give what they hold: what another process has filled in meanwhile stays.

        Args:
            rows: int64, (batch,).
            logits: float16, (batch, classes).

        Raises:
            InputError: logits that are not finite.
        """
        if not np.isfinite(logits).all():
            raise InputError(
                "the teacher gives logits that are infinite, NaN or beyond 65,504, which float16 cannot keep: it "
                "has diverged, or leave --cache-logits out"
            )
        return self._put(rows, logits)

    def _put(self, rows: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Fill rows in, and give what they hold: what another process has filled in meanwhile stays.

        Two that write one row at once would leave the logits of the one with the checksum of the other.
        """
        with self._alone():
            missing = self._checksums[rows] != _checksums(rows, self._logits[rows])
            own = rows[missing]
            self._logits[own] = logits[missing]
            self._checksums[own] = _checksums(own, self._logits[own])  # last: what is filled in is there
            return self._logits[rows]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Within this, no other process writes rows."""
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _remark(self, damaged: int) -> None:
        """Say once that rows were damaged."""
        if damaged and not self._remarked:
            self._remarked = True
            rows, are = counted(damaged, "row"), "is" if damaged == 1 else "are"
            say(f"{self.path} is damaged: {rows} of a batch {are} asked of the teacher again, and so are others.")

    def _take_over(self, before: Path) -> None:
        """Take what a file of before has filled in, without checksums then, and remove it.

        It goes last, so that a kill loses nothing.
        """
        rows, classes = self._logits.shape
        if not before.is_file() or before.stat().st_size != rows * (1 + 2 * classes):
            return
        filled = np.memmap(before, np.uint8, "r", 0, (rows,))
        logits = np.memmap(before, "<f2", "r", rows, (rows, classes))
        for first in range(0, rows, _BLOCK):
            block = slice(first, first + _BLOCK)
            wanted = (filled[block] != 0) & (self._checksums[block] == 0) & np.isfinite(logits[block]).all(1)
            chosen = first + np.flatnonzero(wanted)
            self._put(chosen, logits[chosen])
        say(f"{before} has no checksums: what it holds is taken over as it is, into {self.path}.")
        for file in (before.with_suffix(".json"), before):
            file.unlink(missing_ok=True)


def _place(folder: Path, described: Mapping[str, Any]) -> Path:
    """The file of what is described."""
    name = blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=8).hexdigest()
    return folder / f"logits-{name}.bin"


def _checksums(rows: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """A checksum a row, of its logits and of its number; never 0."""
    data, size = logits.tobytes(), 2 * logits.shape[1]
    starts = range(0, len(data), size)
    found = (zlib.crc32(data[start : start + size], row) or 1 for start, row in zip(starts, rows.tolist(), strict=True))
    return np.fromiter(found, np.uint32, len(rows))
