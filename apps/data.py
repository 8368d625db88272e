"""Batches of images on the device: any batch of an endless training stream by its number, or a whole set in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from apps.augment import Augmentation
from apps.datasets.image_files import ImageFiles
from apps.image_set import ImageSet
from apps.seeds import generator
from priors.errors import InputError


@dataclass(frozen=True)
class Batch:
    """Images with everything that is known of them, on one device.

    Attributes:
        images: float32 in [0, 1], (batch, channels, height, width).
        labels: int64, (batch,).
        index: int64, (batch,): the position of each image in its set.
        view: int64, (batch,): which augmentation each image got, see `apps.augment.Augmentation`; 0 without any.
        number: which batch this is, counted over all processes from 0.
    """

    images: Float[Tensor, "batch channels height width"]
    labels: Int64[Tensor, " batch"]
    index: Int64[Tensor, " batch"]
    view: Int64[Tensor, " batch"]
    number: int = 0

    def __len__(self) -> int:
        return len(self.labels)


class Batches:
    """The endless training stream: global batches cut from seeded permutations of the set, one after the other.

    Every batch is full; one that reaches over the end of an epoch goes on in the next; an epoch visits each image
    exactly once, over all processes. What `at(i)` gives depends on the seed, the set and i alone, so a run can go on
    anywhere, and neither order nor augmentation depends on the number of processes, of which each takes its slice.

    Orders and views are drawn once an epoch for the whole set and brought to the device then; the last two epochs are
    kept.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        seed: int,
        *,
        augmentation: Augmentation | None = None,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
        channels_last: bool = False,
        workers: int | None = None,
    ):
        """Move the set to the device, and draw nothing yet.

        Args:
            images: the training set; if its pixels are in memory they are moved to `device`.
            batch_size: images a batch, over all processes and micro-batches together.
            seed: of order and augmentation; the rank is never part of it.
            augmentation: what is done to the images at random; None for nothing.
            rank: which process this is.
            world_size: how many processes there are.
            device: where batches are wanted.
            channels_last: whether images are laid out channels last in memory.
            workers: processes that decode a set too large for memory; by default one a core, at most 8.

        Raises:
            InputError: the set is empty, or the batch size is not divisible by the number of processes.
        """
        if not len(images):
            raise InputError(f"{images.name} ({images.split}) holds no images to train on")
        if not 0 <= rank < world_size:
            raise InputError(f"rank {rank} of {world_size} processes: expected 0 to {world_size - 1}")
        self.images = images.to(device)
        self.batch_size, self.seed, self.augmentation = batch_size, seed, augmentation
        self.rank, self.world_size = rank, world_size
        self.device, self.channels_last = self.images.labels.device, channels_last
        self._share(1)
        self._epochs: dict[int, tuple[Tensor, Tensor]] = {}
        self._zero = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._decoded = _Lookahead(self, workers) if isinstance(self.images.images, ImageFiles) else None

    def at(self, number: int, micro: int = 0, accumulate: int = 1) -> Batch:
        """This process's slice of global batch `number`, or of its part `micro` where it is cut into `accumulate`.

        Raises:
            InputError: the batch size is not divisible by `world_size * accumulate`.
        """
        start, share = self._start(number, micro, accumulate)
        index, view = self._drawn(start, start + share)
        images = self.images
        if self._decoded is None:
            pixels = images.images.index_select(0, index)
        else:
            pixels = self._decoded.take((number, micro, accumulate)).to(self.device, non_blocking=True)
        return _batch(
            pixels, images.labels.index_select(0, index), index, view, number, self.augmentation, self.channels_last
        )

    def steps(self, epochs: float) -> int:
        """How many batches it takes to have gone through the set `epochs` times."""
        return -int(-epochs * len(self.images) // self.batch_size)

    def epochs(self, number: int) -> float:
        """How often the set has been gone through when batch `number` begins."""
        return number * self.batch_size / len(self.images)

    def _share(self, accumulate: int) -> int:
        """How many images a process takes of a micro-batch."""
        parts = self.world_size * accumulate
        if self.batch_size < 1 or accumulate < 1 or self.batch_size % parts:
            raise InputError(
                f"batch size {self.batch_size} given for {self.world_size} process(es) and {accumulate} accumulated "
                f"step(s): expected a positive multiple of {max(parts, 1)}"
            )
        return self.batch_size // parts

    def _start(self, number: int, micro: int, accumulate: int) -> tuple[int, int]:
        """Where this process's slice begins in the endless stream, and how long it is."""
        share = self._share(accumulate)
        if number < 0 or not 0 <= micro < accumulate:
            raise InputError(f"micro-batch {micro} of {accumulate} of batch {number}: no such batch")
        return number * self.batch_size + (micro * self.world_size + self.rank) * share, share

    def _drawn(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Positions in the set and views, for the places `start` to `stop` of the endless stream."""
        parts = []
        while start < stop:
            epoch, offset = divmod(start, len(self.images))
            length = min(stop - start, len(self.images) - offset)
            order, views = self._epoch(epoch)
            view = self._zero.expand(length) if self.augmentation is None else views[offset : offset + length]
            parts.append((order[offset : offset + length], view))
            start += length
        if len(parts) == 1:
            return parts[0]
        return torch.cat([order for order, _ in parts]), torch.cat([view for _, view in parts])

    def _epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """The order of an epoch and the view of each place in it, on the device."""
        if epoch not in self._epochs:
            count = len(self.images)
            order = torch.randperm(count, generator=generator("cpu", self.seed, "order", epoch))
            views = order[:0]
            if self.augmentation is not None:
                views = self.augmentation.draw(count, generator("cpu", self.seed, "augment", epoch))
            if self.device.type == "cuda":
                order, views = (drawn.pin_memory().to(self.device, non_blocking=True) for drawn in (order, views))
            else:
                order, views = order.to(self.device), views.to(self.device)
            while len(self._epochs) > 1:
                del self._epochs[min(self._epochs)]
            self._epochs[epoch] = order, views
        return self._epochs[epoch]


class _Lookahead:
    """Decodes the batches of a `Batches` ahead, while they are asked for in order; starts anew where they are not."""

    def __init__(self, batches: Batches, workers: int | None):
        self.batches, self.workers = batches, workers
        self.stream: Iterator[Tensor] = iter(())
        self.expected: tuple[int, int, int] | None = None

    def take(self, place: tuple[int, int, int]) -> Tensor:
        if place != self.expected:
            self.stream = self.batches.images.images.stream(
                self._positions(place), self.workers, pin_memory=self.batches.device.type == "cuda"
            )
        self.expected = _following(place)
        return next(self.stream)

    def _positions(self, place: tuple[int, int, int]) -> Iterator[list[int]]:
        while True:
            start, share = self.batches._start(*place)
            yield self.batches._drawn(start, start + share)[0].tolist()
            place = _following(place)


def _following(place: tuple[int, int, int]) -> tuple[int, int, int]:
    """The (batch, micro-batch, accumulate) after this one."""
    number, micro, accumulate = place
    return (number, micro + 1, accumulate) if micro + 1 < accumulate else (number + 1, 0, accumulate)


def ordered(
    images: ImageSet,
    batch_size: int,
    *,
    device: torch.device | str | None = None,
    numbers: Sequence[int] | None = None,
    channels_last: bool = False,
    workers: int | None = None,
) -> Iterator[Batch]:
    """Every image once, in order and as it is; the last batch may be smaller.

    Args:
        images: the set.
        batch_size: images a batch.
        device: where batches are wanted; by default where the set is.
        numbers: which of the batches are wanted (number i begins at image `i * batch_size`); by default all.
        channels_last: whether images are laid out channels last in memory.
        workers: processes that decode a set too large for memory; by default one a core, at most 8.

    Raises:
        InputError: the batch size is not positive.
    """
    if batch_size < 1:
        raise InputError(f"batch size {batch_size} given: a positive number was expected")
    device = images.labels.device if device is None else torch.device(device)
    numbers = range(-(-len(images) // batch_size)) if numbers is None else numbers
    return _ordered(images, batch_size, device, numbers, channels_last, workers)


def _ordered(images, batch_size, device, numbers, channels_last, workers) -> Iterator[Batch]:
    ranges = [(number * batch_size, min((number + 1) * batch_size, len(images))) for number in numbers]
    if isinstance(images.images, ImageFiles):
        stream = images.images.stream(
            (list(range(*ends)) for ends in ranges), workers, pin_memory=device.type == "cuda"
        )
    else:
        stream = (images.images[start:stop] for start, stop in ranges)
    for number, (start, stop), pixels in zip(numbers, ranges, stream, strict=True):
        index = torch.arange(start, stop, device=device)
        pixels = pixels.to(device, non_blocking=True)
        labels = images.labels[start:stop].to(device, non_blocking=True)
        yield _batch(pixels, labels, index, torch.zeros_like(index), number, None, channels_last)


def _batch(pixels, labels, index, view, number, augmentation, channels_last) -> Batch:
    if augmentation is None:
        pixels = pixels.to(torch.float32).div_(255)
    else:
        pixels = augmentation.apply(pixels, view)
    if channels_last:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    return Batch(pixels, labels, index, view, number)
