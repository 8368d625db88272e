"""One pass over a data set that keeps a sum, not a row an image: what is held does not grow with the set."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from tqdm import tqdm

from apps.command.console import printable
from apps.data.batches import Batch, ordered
from apps.data.image_set import ImageSet
from priors.errors import InputError

if TYPE_CHECKING:
    from accelerate import Accelerator

Sum = TypeVar("Sum")


def fold(
    images: ImageSet,
    start: Sum,
    step: Callable[[Sum, Batch], Sum],
    *,
    batch_size: int = 500,
    accelerator: "Accelerator | None" = None,
    description: str = "",
) -> Sum:
    """Go over a set once, each process over its share of the batches, and give this process's sum.

    Args:
        images: the set.
        start: the sum of nothing.
        step: from a sum and a batch to the sum with it, called under inference mode. It should not ask the device for
            values, which would wait for it.
        batch_size: images a batch.
        accelerator: the processes to share the work with, and the device where batches are wanted; by default, those of
            the set.
        description: what the bar says.

    Raises:
        InputError: the set is empty.
    """
    if not len(images):
        raise InputError(f"{images.name} ({images.split}) holds no images")
    device = images.labels.device if accelerator is None else accelerator.device
    rank, world = (0, 1) if accelerator is None else (accelerator.process_index, accelerator.num_processes)
    own = range(-(-len(images) // batch_size))[rank::world]
    with tqdm(
        total=len(images),
        desc=printable(description or images.name),
        unit="image",
        disable=rank != 0 or not sys.stderr.isatty(),
        leave=False,
    ) as bar:
        for batch in ordered(images, batch_size, device=device, numbers=own):
            with torch.inference_mode():
                start = step(start, batch)
            bar.update(min(len(batch) * world, bar.total - bar.n))
    return start
