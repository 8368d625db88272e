"""Rows of a sweep that the first process alone gets: too many to be held by each, and mapped to a file by that one."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import torch.distributed
from torch import Tensor

if TYPE_CHECKING:
    from accelerate import Accelerator

_MAPPED_FROM = 2**26
"""Bytes from which rows lie in a file that is mapped into memory."""

Rows = Mapping[int, Mapping[str, Tensor]]
"""By number of a batch and name, the rows of that batch."""


class FirstProcess:
    """Brings the rows of all batches to the first process, some batches of each process at a time.

    Args:
        total: images of the set.
        batch_size: of the sweep.
        turns: for each process, the batches that it has, turn after turn; all processes have as many turns.
        accelerator: the processes; None: this one alone.
    """

    def __init__(
        self, total: int, batch_size: int, turns: Sequence[Sequence[Sequence[int]]], accelerator: "Accelerator | None"
    ):
        self.total, self.batch_size, self.turns, self.accelerator = total, batch_size, turns, accelerator
        self.rank = 0 if accelerator is None else accelerator.process_index
        self.done = 0
        self.found: dict[str, Tensor] = {}
        self._layout: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}

    @property
    def left(self) -> bool:
        """Whether there are turns to come."""
        return self.done < len(self.turns[self.rank])

    def take(self, rows: Rows) -> None:
        """Give this process's batches of the next turn; every process calls this once a turn, also with none."""
        numbers = [turns[self.done] for turns in self.turns]
        if len(self.turns) == 1:
            self.hold(rows)
        else:
            self._exchange(rows, numbers)
        self.done += 1

    def hold(self, rows: Rows) -> None:
        """Put rows of this process where they belong."""
        for number, given in rows.items():
            self._put(number, given)

    def _exchange(self, rows: Rows, numbers: Sequence[Sequence[int]]) -> None:
        """Bring every process's batches of a turn to the first one, padded to the longest."""
        self._layout = self._layout or self._agreed(rows)
        lengths = [sum(map(self._size, own)) for own in numbers]
        own = numbers[self.rank]
        for name, (dtype, tail) in self._layout.items():
            packed = torch.zeros((max(lengths), *tail), dtype=dtype, device=self.accelerator.device)
            if own:
                packed[: lengths[self.rank]] = torch.cat([rows[number][name] for number in own]).to(packed.device)
            parts = [torch.empty_like(packed) for _ in numbers] if self.rank == 0 else None
            torch.distributed.gather(packed, parts, dst=0)
            for share, part in zip(numbers, parts or (), strict=False):
                start = 0
                for number in share:
                    self._put(number, {name: part[start : start + self._size(number)]})
                    start += self._size(number)

    def _agreed(self, rows: Rows) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """What the rows are, by name; the first process has some wherever any has.

        Raises:
            ValueError: not the same for all processes.
        """
        first = next(iter(rows.values()), None)
        own = first and {name: (values.dtype, tuple(values.shape[1:])) for name, values in first.items()}
        layouts: list = [None] * len(self.turns)
        torch.distributed.all_gather_object(layouts, own)
        if any(layout is not None and layout != layouts[0] for layout in layouts):
            raise ValueError(f"the processes got results of different kinds: {layouts}")
        return layouts[0]

    def _size(self, number: int) -> int:
        return min(self.batch_size, self.total - number * self.batch_size)

    def _put(self, number: int, given: Mapping[str, Tensor]) -> None:
        start = number * self.batch_size
        for name, values in given.items():
            if name not in self.found:
                self.found[name] = on_disk((self.total, *values.shape[1:]), values.dtype)
            self.found[name][start : start + len(values)] = values


def on_disk(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor of any numbers, in a temporary file that goes with it; in memory where it is small, or no disk has room.

    Example:
        >>> on_disk((3, 2), torch.float32).shape
        torch.Size([3, 2])
    """
    plain = torch.empty(0, dtype=dtype)
    count = torch.Size(shape).numel()
    size = count * plain.element_size()
    if size < _MAPPED_FROM or not hasattr(os, "posix_fallocate"):
        return torch.empty(*shape, dtype=dtype)
    try:
        with tempfile.NamedTemporaryFile(prefix="penult-") as file:  # its name goes at once, the file with the tensor
            os.posix_fallocate(file.fileno(), 0, size)  # a disk that is full later would end the process
            return torch.from_file(file.name, shared=True, size=count, dtype=dtype).view(*shape)
    except (OSError, RuntimeError):
        return torch.empty(*shape, dtype=dtype)
