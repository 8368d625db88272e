"""A teacher's logits for every view of every training image, kept in a file and filled in as they come up.

Crops of 4 pixels of padding and flips have 162 views, so the whole of CIFAR-100 takes 1.6 GB in float16. Later runs
with the same teacher, images and augmentation find what earlier ones have filled in.
"""

import json
import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from apps.data.batches import Batch
from priors.errors import InputError
from priors.files import write_json


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
        path: the file; its first `images * views` bytes say what is filled in.
        size: of the file, in bytes.

    Raises:
        InputError: the folder is a file, or the file is of another size.
        OSError: the disk has no room for it.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], images: int, views: int, classes: int):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--cache-logits {folder} is a file: expected a folder, or a new one")
        folder.mkdir(parents=True, exist_ok=True)
        rows = images * views
        described = {**key, "images": images, "views": views, "classes": classes}
        name = blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=8).hexdigest()
        self.path, self.size = folder / f"logits-{name}.bin", rows * (1 + 2 * classes)
        write_json(folder / f"logits-{name}.json", described)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if (there := os.fstat(handle).st_size) not in (0, self.size):
                raise InputError(
                    f"{self.path} has {there:,} bytes, expected {self.size:,}: remove it, and it is made anew"
                )
            # Room is taken now: a disk that is full later would kill the process.
            os.posix_fallocate(handle, 0, self.size)
        finally:
            os.close(handle)
        self._views = views
        self._filled = torch.from_numpy(np.memmap(self.path, np.uint8, "r+", 0, (rows,)))
        self._logits = torch.from_numpy(np.memmap(self.path, np.float16, "r+", rows, (rows, classes)))

    def filled(self) -> float:
        """The part of the file that is filled in."""
        return float(self._filled.float().mean())

    def __call__(self, teacher: Callable[[Tensor], Tensor] | nn.Module, batch: Batch) -> Float[Tensor, "batch classes"]:
        """The teacher's logits for a batch, in float32 on its device."""
        rows = (batch.index * self._views + batch.view).cpu()
        missing = (self._filled[rows] == 0).nonzero().squeeze(1)
        if len(missing):
            images = batch.images[missing.to(batch.images.device)]
            self._logits[rows[missing]] = teacher(images).to(torch.float16).cpu()
            self._filled[rows[missing]] = 1  # last: what is filled in is there
        return self._logits[rows].to(batch.images.device, torch.float32)
