"""Images that a generator draws, shared by the processes: as a labelled set, or what a function makes of each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from apps.data.image_set import ImageSet
from apps.figures import to_levels
from apps.models.drawing import BLOCK, draw_block
from apps.models.generator import Generator
from priors.errors import InputError
from priors.files.tensors import digest_of


def drawn_set(
    model: Generator, counts: Sequence[int], sweep: Callable, seed: int = 0, *, name: str, store: Path | None = None
) -> ImageSet:
    """The first images of each class that `penult sample` writes for a seed, class after class, on the CPU.

    Args:
        model: conditional, in evaluation mode, on the device of the sweep.
        counts: images of each class.
        sweep: `apps.data.sweep.sweep`, or one with its processes given: they share the drawing, and all get the set.
        seed: of the draws.
        name: of the generator.
        store: a folder that a stopped drawing goes on from; None for none.

    Raises:
        InputError: an image is not finite.
    """

    def of(images: Tensor) -> dict[str, Tensor]:
        return {"images": to_levels(images)}

    rows, labels, _ = drawn_rows(model, counts, sweep, of, seed, name=name, description="images", store=store)
    return ImageSet(name, "drawn", rows["images"], labels, tuple(model.class_names))


def drawn_rows(
    model: Generator,
    counts: Sequence[int],
    sweep: Callable,
    function: Callable[[Tensor], Mapping[str, Tensor]],
    seed: int,
    *,
    name: str,
    description: str,
    batch_size: int = BLOCK,
    store: Path | None = None,
    key: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Tensor], Int64[Tensor, " drawn"], Int64[Tensor, " drawn"]]:
    """What a function makes of the first images of each class that `penult sample` draws for a seed.

    Args:
        model: in evaluation mode, on the device of the sweep.
        counts: images of each class; one number for an unconditional model.
        sweep: `apps.data.sweep.sweep`, or one with its processes given.
        function: from images (n, C, H, W) in [0, 1] to named tensors with one row each.
        seed: of the draws.
        name: of the generator.
        description: what is made of them, for the bar.
        batch_size: images that the function gets at a time, about.
        store: a folder that a stopped sweep goes on from; None for none.
        key: what the rows depend on beside the generator, the seed and the counts.

    Returns:
        The rows, class after class, on the CPU; the label of each; and its number within its class.

    Raises:
        InputError: an image is not finite.
    """
    # Images share a stream by 64, so whole blocks are drawn, and what is too much of the last of a class is dropped.
    blocks = [(label, number) for label, count in enumerate(counts) for number in range(-(-count // BLOCK))]
    labels = torch.tensor([label for label, _ in blocks], dtype=torch.int64).repeat_interleave(BLOCK)
    firsts = torch.tensor([number * BLOCK for _, number in blocks], dtype=torch.int64)
    numbers = (firsts[:, None] + torch.arange(BLOCK)).flatten()
    wanted = numbers < torch.tensor(counts)[labels]
    several = max(1, batch_size // BLOCK)
    size = several * BLOCK
    device = next(model.parameters()).device
    blank = torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8)
    stand_in = ImageSet(name, "drawn", blank, torch.zeros(len(labels), dtype=torch.int64, device=device), ("drawn",))

    def of(batch) -> dict[str, Tensor]:
        some = blocks[batch.number * several : (batch.number + 1) * several]
        images = torch.cat(
            [draw_block(model, label if model.conditional else None, number, seed) for label, number in some]
        )
        kept = wanted[batch.number * size : (batch.number + 1) * size].nonzero().squeeze(1)
        kept = kept.to(images.device, non_blocking=True)
        rows = {key: _spread(values, kept, len(images)) for key, values in function(images[kept]).items()}
        return rows | {"finite": images.isfinite().flatten(1).all(1)}

    made_of = {"weights": digest_of(model.state_dict()), "counts": list(counts), "seed": seed, **(key or {})}
    stored = {} if store is None else {"store": store, "key": made_of}
    swept = sweep(stand_in, of, batch_size=size, description=f"{description} of {name}", **stored)
    found = {key: values[wanted] for key, values in swept.items()}
    finite = found.pop("finite")
    if not bool(finite.all()):
        raise InputError(
            f"{int((~finite).sum()):,} of the {len(finite):,} images that {name} draws are not finite: its training "
            "diverged"
        )
    return found, labels[wanted], numbers[wanted]


def _spread(values: Tensor, places: Tensor, count: int) -> Tensor:
    """Rows at their places among `count`, zeros elsewhere."""
    return values.new_zeros((count, *values.shape[1:])).index_copy(0, places, values)
