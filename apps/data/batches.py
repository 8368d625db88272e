"""Batches of images on the device: any batch of an endless training stream by its number, or a whole set in order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from apps.data.augmenting import Augmenting
from apps.data.image_set import ImageSet
from apps.data.order import Order
from apps.data.pixels import unit
from apps.data.policies import Policy
from apps.data.resized_crop import ResizedCrop
from apps.data.shift import Shift
from apps.data.sources.stored_images import Cut, StoredImages
from apps.seeds import generator
from priors.errors import InputError


@dataclass(frozen=True)
class Batch:
    """Images with everything that is known of them, on one device.

    Attributes:
        images: float32 in [0, 1], (batch, channels, height, width).
        labels: int64, (batch,).
        index: int64, (batch,): the position of each image in its set.
        view: int64, (batch,): which augmentation each image got, see `apps.data.augment.Augmentation` and
            `apps.data.resized_crop.ResizedCrop`; 0 without any.
        number: which batch this is, counted over all processes from 0.
        last: image and label of the one that comes before the first of these in the whole batch, (1, channels, height,
            width) and (1,), or is the last of it where these are its beginning; None: the last of these.
        on_cpu: gives index and view in the CPU's memory, without waiting for the device; None where nobody has them.
    """

    images: Float[Tensor, "batch channels height width"]
    labels: Int64[Tensor, " batch"]
    index: Int64[Tensor, " batch"]
    view: Int64[Tensor, " batch"]
    number: int = 0
    on_cpu: Callable[[], tuple[Int64[Tensor, " batch"], Int64[Tensor, " batch"]]] | None = None
    last: tuple[Float[Tensor, "1 channels height width"], Int64[Tensor, " 1"]] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def before(self) -> tuple[Float[Tensor, "batch channels height width"], Int64[Tensor, " batch"]]:
        """For each image the one before it in the whole batch, and its label."""
        if self.last is None:
            return self.images.roll(1, 0), self.labels.roll(1, 0)
        image, label = self.last
        return torch.cat([image, self.images[:-1]]), torch.cat([label, self.labels[:-1]])


class Batches:
    """The endless training stream: global batches cut from seeded permutations of the set, one after the other.

    Every batch is full; one that reaches over the end of an epoch goes on in the next; an epoch visits each image
    exactly once, over all processes. What `at(i)` gives depends on the seed, the set and i alone, so a run can go on
    anywhere, and neither order nor augmentation depends on the number of processes, of which each takes its slice.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        seed: int,
        *,
        augmentation: Augmenting | None = None,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
        channels_last: bool = False,
        workers: int | None = None,
        shift: Shift | None = None,
        neighbours: bool = False,
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
            shift: what is done to the images before they are augmented, drawn anew for each batch; None for nothing.
            neighbours: whether a part of a batch is to have the image before its first as well, as mixing wants it.

        Raises:
            InputError: the set is empty, or the batch size is not divisible by the number of processes.
        """
        if not len(images):
            raise InputError(f"{images.name} ({images.split}) holds no images to train on")
        self.images = images.to(device)
        self.batch_size, self.channels_last = batch_size, channels_last
        self.augment = None if augmentation is None else augmentation.apply
        self.device, self.seed, self.shift, self.neighbours = self.images.labels.device, seed, shift, neighbours
        self.by_policy = isinstance(augmentation, Policy)
        drawing = partial(
            Order, len(images), batch_size, seed, augmentation=augmentation, rank=rank, world_size=world_size
        )
        self.order = drawing(device=self.device)
        self._decoded = None
        if isinstance(images.images, StoredImages):
            moves = augmentation.moves if self.by_policy else augmentation
            cut = augmentation.box if isinstance(moves, ResizedCrop) else None
            if cut is not None:
                self.augment = augmentation.mirror
            self._decoded = _Lookahead(images.images, drawing(), workers, self.device.type == "cuda", cut, neighbours)

    def at(self, number: int, micro: int = 0, accumulate: int = 1) -> Batch:
        """This process's slice of global batch `number`, or of its part `micro` where it is cut into `accumulate`.

        Raises:
            InputError: there is no such batch or part, or the batch size is not divisible by `world_size * accumulate`.
        """
        place = (number, micro, accumulate)
        index, view = self.order.at(*place, with_last=self.neighbours)
        images = self.images
        if self._decoded is None:
            pixels = images.images.index_select(0, index)
        else:
            pixels = self._decoded.take(place).to(self.device, non_blocking=True)
        if self.shift is not None:
            # Drawn for the whole batch, so that neither parts nor processes change what an image gets.
            draws = self.shift.draw(self.batch_size, generator("cpu", self.seed, "shift", number))
            own = self.order.places(micro, accumulate, with_last=self.neighbours)
            pixels = self.shift.apply(pixels, draws[own].to(self.device, non_blocking=True))
        labels = images.labels.index_select(0, index)
        augment = self.augment
        if self.by_policy:  # what is drawn is read on the CPU
            told = self.order.at(*place, on_cpu=True, with_last=self.neighbours)[1]
            augment = partial(augment, on_cpu=told)
        on_cpu = partial(self.order.at, *place, on_cpu=True)
        batch = _batch(pixels, labels, index, view, number, augment, self.channels_last, on_cpu)
        return _with_last(batch) if self.neighbours else batch


def _with_last(batch: Batch) -> Batch:
    """A batch whose last image is the one before its first."""
    last = batch.images[-1:], batch.labels[-1:]
    parts = {name: getattr(batch, name)[:-1] for name in ("images", "labels", "index", "view")}
    return replace(batch, **parts, last=last)


class _Lookahead:
    """Decodes batches ahead, as long as they are asked for in order; starts anew where they are not."""

    def __init__(
        self,
        files: StoredImages,
        order: Order,
        workers: int | None,
        pin_memory: bool,
        cut: Cut | None,
        with_last: bool = False,
    ):
        # The order is one of its own on the CPU: to read positions off a GPU would be to wait for it.
        self.files, self.order, self.workers, self.pin_memory, self.cut = files, order, workers, pin_memory, cut
        self.with_last = with_last
        self.stream: Iterator[Tensor] = iter(())
        self.expected: tuple[int, int, int] | None = None

    def take(self, place: tuple[int, int, int]) -> Tensor:
        if place != self.expected:
            self.stream = self.files.stream(
                _places(self.order, place, self.with_last), self.workers, self.pin_memory, self.cut
            )
        self.expected = None  # a stream that raises is at its end
        pixels = next(self.stream)
        self.expected = _following(place)
        return pixels


def _places(order: Order, place: tuple[int, int, int], with_last: bool) -> Iterator[list[tuple[int, int]]]:
    """The positions and views of a slice and of all that follow; no method: a dropped stream ends at once."""
    while True:
        index, view = order.at(*place, with_last=with_last)
        yield list(zip(index.tolist(), view.tolist(), strict=True))
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
    if isinstance(images.images, StoredImages):
        stream = images.images.stream(
            ([(position, 0) for position in range(*ends)] for ends in ranges), workers, pin_memory=device.type == "cuda"
        )
    else:
        stream = (images.images[start:stop] for start, stop in ranges)
    for number, (start, stop), pixels in zip(numbers, ranges, stream, strict=True):
        index = torch.arange(start, stop, device=device)
        pixels = pixels.to(device, non_blocking=True)
        labels = images.labels[start:stop].to(device, non_blocking=True)
        yield _batch(pixels, labels, index, torch.zeros_like(index), number, None, channels_last)


def _batch(pixels, labels, index, view, number, augment, channels_last, on_cpu=None) -> Batch:
    if augment is not None:
        pixels = augment(pixels, view)
    elif pixels.dtype == torch.uint8:
        pixels = unit(pixels)
    if channels_last:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    return Batch(pixels, labels, index, view, number, on_cpu)
