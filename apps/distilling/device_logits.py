"""A teacher's cached logits on a GPU: held there where they fit, so that a step neither waits nor copies for them."""

from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from apps.data.batches import Batch
from apps.distilling.teacher_logits import TeacherLogits
from apps.training.free_memory import available_bytes

_SHARE = 4
"""The table takes at most the fourth part of what is free when training begins; the rest is left for the step."""
_AHEAD = 16
"""Batches of new logits that may be on their way to the CPU."""


class DeviceLogits:
    """Gives what `TeacherLogits` gives, on a GPU.

    Which rows a batch needs is known on the CPU, and so is which of them are there. What the file holds is brought once
    to a table on the GPU; where that has no room for one, in each batch. New logits are used at once, and reach the
    file when their copy has arrived, which no step waits for.

    Args:
        file: where logits are kept.
        device: of the batches.
    """

    def __init__(self, file: TeacherLogits, device: torch.device):
        self._file, self._device = file, device
        self._table = self._there = None
        if 2 * file.rows * file.classes <= available_bytes(device) // _SHARE:
            self._table = torch.empty(file.rows, file.classes, dtype=torch.float16, device=device)
            self._there = np.zeros(file.rows, bool)
        self._arriving: deque[tuple[torch.cuda.Event, np.ndarray, Tensor]] = deque()

    @property
    def held(self) -> bool:
        """Whether the GPU has a table of them."""
        return self._table is not None

    def __call__(self, teacher: Callable[[Tensor], Tensor] | nn.Module, batch: Batch) -> Float[Tensor, "batch classes"]:
        """The teacher's logits for a batch, in float32 on its device.

        Raises:
            InputError: logits of one of the last batches were not finite in float16.
        """
        self._write(lambda: len(self._arriving) > _AHEAD or self._arriving[0][0].query())
        index, view = (batch.index, batch.view) if batch.on_cpu is None else batch.on_cpu()
        rows = self._file.rows_of(index.cpu().numpy(), view.cpu().numpy())
        if self._table is None:
            logits, missing = self._file.find(rows)
            found = self._brought(logits)
            if len(missing):
                found.index_copy_(0, self._brought(missing), self._asked(teacher, batch, rows, missing))
            return found.float()
        absent = np.flatnonzero(~self._there[rows])
        if len(absent):
            self._fill(teacher, batch, rows, absent)
        return self._table.index_select(0, self._file.rows_of(batch.index, batch.view)).float()

    def settle(self) -> None:
        """Wait until the file has all of them.

        Raises:
            InputError: some were not finite in float16.
        """
        self._write(lambda: True)

    def _fill(self, teacher, batch: Batch, rows: np.ndarray, absent: np.ndarray) -> None:
        """Bring rows to the table: those at these places of a batch."""
        logits, missing = self._file.find(rows[absent])
        known = np.delete(np.arange(len(absent)), missing)
        if len(known):
            self._table.index_copy_(0, self._brought(rows[absent[known]]), self._brought(logits[known]))
        if len(missing):
            places = absent[missing]
            self._table.index_copy_(0, self._brought(rows[places]), self._asked(teacher, batch, rows, places))
        self._there[rows] = True

    def _asked(self, teacher, batch: Batch, rows: np.ndarray, places: np.ndarray) -> Float[Tensor, "places classes"]:
        """The teacher's logits for the images at some places of a batch, which go to the file as well."""
        images, count = batch.images, len(places)
        if count < len(batch):
            # In quarters of a batch, filled up with images that are there: few sizes, for each of which a GPU looks for
            # its fastest way to convolve.
            quarter = -(-len(batch) // 4)
            padded = min(len(batch), -(-count // quarter) * quarter)
            images = images.index_select(0, self._brought(np.resize(places, padded)))
        logits = teacher(images)[:count].to(torch.float16)
        copied, event = logits.to("cpu", non_blocking=True), torch.cuda.Event()
        event.record()
        self._arriving.append((event, rows[places], copied))
        return logits

    def _write(self, wanted: Callable[[], bool]) -> None:
        """Write what has arrived to the file, the oldest first, as long as `wanted()` says so."""
        while self._arriving and wanted():
            event, rows, logits = self._arriving.popleft()
            event.synchronize()
            self._file.put(rows, logits.numpy())

    def _brought(self, values: np.ndarray) -> Tensor:
        """Numbers of the CPU's on the device, without waiting for it."""
        return torch.from_numpy(values).pin_memory().to(self._device, non_blocking=True)
