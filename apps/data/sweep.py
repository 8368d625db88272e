"""One pass over a data set, by one process or many, that can be interrupted."""

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed
from torch import Tensor
from tqdm import tqdm

from apps.command.console import printable
from apps.data.batches import Batch, ordered
from apps.data.first_process import FirstProcess
from apps.data.image_set import ImageSet
from priors.errors import InputError
from priors.files.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from accelerate import Accelerator

AT_A_TIME = 500
"""Images a batch, unless another number is asked for."""
_SIDE = 64
"""Pixels along the side of the largest images of which a batch has so many by `fewer_if_large`."""
_SECONDS_A_PART = 30
_FLUSHED_EVERY = 64


def sweep(
    images: ImageSet,
    function: Callable[[Batch], Mapping[str, Tensor]],
    *,
    batch_size: int = AT_A_TIME,
    accelerator: "Accelerator | None" = None,
    device: torch.device | str | None = None,
    description: str = "",
    store: Path | None = None,
    key: Mapping | None = None,
    gradients: bool = False,
    progress: bool = True,
    channels_last: bool = False,
    workers: int | None = None,
    first: bool = False,
) -> dict[str, Tensor]:
    """Run `function` on every image of a set, and gather what it gives for each, in the order of the set.

    The set is cut into the same batches whatever the number of processes, and each process takes every so-manyth batch.
    So many processes give what one gives, to the bit, if `function` depends on the batch alone; one that draws noise
    seeds its generator by `batch.number`.

    Args:
        images: the set.
        function: from a batch to named tensors with one row for each of its images; called under inference mode.
        batch_size: images a batch.
        accelerator: the processes to share the work with; all of them call this, and all get the result.
        device: where batches are wanted; by default the accelerator's device, else where the set is.
        description: what the bar says.
        store: a folder in which finished parts are kept, about every 30 seconds and at the end. The same sweep again
            goes on from there; if it is complete, it only reads. All processes must see the same folder.
        key: what the result depends on apart from the set and the batch size (weights, function, seed), as JSON values.
            Needed with `store`: parts that were stored under another key are removed, not used.
        gradients: call `function` outside inference mode, for what needs gradients with regard to the images.
        progress: whether to show a bar; there is none where the output is not a terminal.
        channels_last: whether images are laid out channels last in memory.
        workers: processes that decode a set too large for memory; by default one a core, at most 8.
        first: whether the first process alone is to have the result, in temporary files that are mapped into memory;
            the others get nothing. For rows that are too many for all to hold.

    Returns:
        By name, a tensor on the CPU with one row for each image.

    Raises:
        InputError: the set is empty, or `store` is given without `key`, or holds something else.
        ValueError: `function` gives tensors that have not one row an image, or not the same names for every batch.
    """
    if not len(images):
        raise InputError(f"{images.name} ({images.split}) holds no images")
    if batch_size < 1:
        raise InputError(f"batch size {batch_size} given: a positive number was expected")
    if store is not None and key is None:
        raise InputError(f"results are to be kept in {store} without a key that says what they depend on: give one")
    if device is None:
        device = images.labels.device if accelerator is None else accelerator.device
    rank, world = (0, 1) if accelerator is None else (accelerator.process_index, accelerator.num_processes)
    parts = _Parts(Path(store), _identity(images, batch_size, key)) if store is not None else None
    result = _Rows(len(images), batch_size)
    done = parts.read(result, accelerator, rank == 0, first) if parts else []
    pending = sorted(set(range(-(-len(images) // batch_size))) - set(done))
    own = pending[rank::world]
    collected = FirstProcess(len(images), batch_size, _turns(pending, world), accelerator) if first else None
    if collected:
        collected.hold(result.settled)

    rows = _Rows(len(images), batch_size)
    since, waiting, passed = time.monotonic(), 0, 0
    with tqdm(
        total=len(images),
        initial=len(images) - sum(result.size(number) for number in pending),
        desc=printable(description or images.name),
        unit="image",
        disable=rank != 0 or not progress or not sys.stderr.isatty(),
        leave=False,
    ) as bar:
        for batch in ordered(
            images, batch_size, device=device, numbers=own, channels_last=channels_last, workers=workers
        ):
            with torch.inference_mode(not gradients):
                given = {name: values.detach() for name, values in function(batch).items()}
            rows.hold(batch.number, given)
            waiting, passed = waiting + 1, passed + 1
            late = parts is not None and time.monotonic() - since > _SECONDS_A_PART
            turn = collected is not None and passed % _FLUSHED_EVERY == 0
            if late or turn or waiting == _FLUSHED_EVERY:
                rows.settle()
                waiting = 0
            if late or (turn and parts is not None):
                parts.write(rows)
                since = time.monotonic()
            if turn:
                collected.take(rows.settled)
                rows.settled.clear()
            bar.update(min(len(batch) * world, bar.total - bar.n))
    rows.settle()
    if parts:
        parts.write(rows)
    if collected:
        if collected.left:
            collected.take(rows.settled)
        return collected.found
    if world > 1:
        _gather(rows, result, pending, accelerator)
    else:
        result.settled.update(rows.settled)
    return result.joined()


def _turns(pending: list[int], world: int) -> list[list[list[int]]]:
    """For each process the batches after which it settles rows; one that has fewer has an empty turn instead."""
    shares = [pending[rank::world] for rank in range(world)]
    starts = range(0, len(shares[0]), _FLUSHED_EVERY)
    return [[share[start : start + _FLUSHED_EVERY] for start in starts] for share in shares]


def fewer_if_large(images: ImageSet) -> int:
    """Images a batch that a network's layers can hold: `AT_A_TIME`, or as many pixels as those of 64x64 have.

    500 images of 224x224 would take a small network (EfficientNet-Lite0) some 8 GB.
    """
    return max(1, min(AT_A_TIME, AT_A_TIME * _SIDE**2 // math.prod(images.image_shape[1:])))


@dataclass
class _Rows:
    """Results by batch, for some of the batches."""

    total: int
    batch_size: int
    held: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    settled: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def size(self, number: int) -> int:
        """How many images batch `number` has."""
        return min(self.batch_size, self.total - number * self.batch_size)

    def hold(self, number: int, given: dict[str, Tensor]) -> None:
        """Keep the results of a batch where they are: to fetch them at once would be to wait for the device."""
        for name, values in given.items():
            if values.ndim == 0 or len(values) != self.size(number):
                raise ValueError(
                    f"{name!r} has shape {tuple(values.shape)} for a batch of {self.size(number)} images: "
                    "expected one row an image"
                )
        self.names = self.names or tuple(given)
        if set(given) != set(self.names):
            raise ValueError(
                f"batch {number} gave {sorted(given)}, others {sorted(self.names)}: expected the same names"
            )
        self.held[number] = given

    def settle(self) -> None:
        """Bring held results to the CPU, as ordinary tensors that own their memory."""
        for number, given in self.held.items():
            self.settled[number] = {name: values.to("cpu", copy=True) for name, values in given.items()}
        self.held.clear()

    def joined(self) -> dict[str, Tensor]:
        """All batches in order, as one tensor a name."""
        batches = [self.settled[number] for number in sorted(self.settled)]
        return {name: torch.cat([given[name] for given in batches]) for name in batches[0]}


def _identity(images: ImageSet, batch_size: int, key: Mapping) -> str:
    """What a stored part must have been computed for, as text."""
    own = {"digest": images.digest, "images": len(images), "batch_size": batch_size, "key": dict(key)}
    return json.dumps(own, sort_keys=True)


class _Parts:
    """Finished batches in a folder: safetensors files with the rows of some batches and the identity of the sweep."""

    def __init__(self, folder: Path, identity: str):
        self.folder, self.identity = folder, identity
        self.name = blake2b(identity.encode(), digest_size=8).hexdigest()
        self.written: set[int] = set()

    def read(self, result: _Rows, accelerator: "Accelerator | None", main: bool, first: bool) -> list[int]:
        """Put stored batches into `result` and say which; one process removes the parts of other sweeps.

        Where the first process alone is to have the rows, the others put none.
        """
        done = []
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file: results are kept in a folder, choose another place")
        for path in sorted(self.folder.glob("part-*.safetensors")):
            try:
                tensors, metadata = read_tensors(path, "part of a sweep")
            except InputError:
                metadata = {}
            if metadata.get("identity") == self.identity:
                for number, given in _unpacked(tensors).items():
                    done.append(number)
                    if main or not first:
                        result.settled[number] = given
        done = sorted(set(done))
        self.written.update(done)
        _same_everywhere(done, accelerator, self.folder)
        if main:
            for path in self.folder.glob("part-*.safetensors"):
                if not path.name.startswith(f"part-{self.name}-"):
                    path.unlink()
        return done

    def write(self, rows: _Rows) -> None:
        """Store the settled batches that are not stored yet; a part is named by its first batch."""
        new = {number: given for number, given in rows.settled.items() if number not in self.written}
        if new:
            path = self.folder / f"part-{self.name}-{min(new):08d}.safetensors"
            packed = {f"{number}/{name}": values for number, given in new.items() for name, values in given.items()}
            write_tensors(path, packed, {"identity": self.identity})
            self.written.update(new)


def _unpacked(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    rows: dict[int, dict[str, Tensor]] = {}
    for place, values in tensors.items():
        number, name = place.split("/", 1)
        rows.setdefault(int(number), {})[name] = values
    return rows


def _same_everywhere(done: list[int], accelerator: "Accelerator | None", folder: Path) -> None:
    """Stop if the processes see different folders: they would wait for each other for ever.

    It is also the barrier behind which all have read, before one of them writes.
    """
    if accelerator is None or accelerator.num_processes == 1:
        return
    seen: list = [None] * accelerator.num_processes
    torch.distributed.all_gather_object(seen, done)
    if any(other != done for other in seen):
        raise InputError(f"the processes see different contents of {folder}: give a folder that all of them share")


def _gather(own: _Rows, result: _Rows, pending: list[int], accelerator: "Accelerator") -> None:
    """Exchange the rows of the pending batches between all processes, into `result`.

    Every process packs its rows, batch after batch, and pads them to the length of the longest.
    """
    world = accelerator.num_processes
    shares = [pending[rank::world] for rank in range(world)]
    mine = [own.settled[number] for number in shares[accelerator.process_index]]
    layouts: list = [None] * world
    torch.distributed.all_gather_object(
        layouts, {name: (values.dtype, tuple(values.shape[1:])) for name, values in mine[0].items()} if mine else None
    )
    if any(layout is not None and layout != layouts[0] for layout in layouts):
        raise ValueError(f"the processes got results of different kinds: {layouts}")
    lengths = [sum(result.size(number) for number in share) for share in shares]
    for name, (dtype, tail) in (layouts[0] or {}).items():
        packed = torch.zeros((max(lengths), *tail), dtype=dtype, device=accelerator.device)
        if mine:
            packed[: lengths[accelerator.process_index]] = torch.cat([given[name] for given in mine]).to(packed.device)
        everywhere = accelerator.gather(packed[None]).cpu()
        for share, rows in zip(shares, everywhere, strict=True):
            start = 0
            for number in share:
                result.settled.setdefault(number, {})[name] = rows[start : start + result.size(number)]
                start += result.size(number)
