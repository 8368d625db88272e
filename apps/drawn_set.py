"""A labelled set of images that a generator draws."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from apps.figures import to_levels
from apps.generators.generator import Generator
from apps.image_set import ImageSet
from apps.sampling import BLOCK, draw_block
from priors.errors import InputError
from priors.storage import digest_of


def drawn_set(
    model: Generator, counts: Sequence[int], sweep: Callable, seed: int = 0, *, name: str, store: Path | None = None
) -> ImageSet:
    """The first images of each class that `penult sample` writes for a seed, class after class, on the CPU.

    Args:
        model: conditional, in evaluation mode, on the device of the sweep.
        counts: images of each class.
        sweep: `apps.sweep.sweep`, or one with its processes given: they share the drawing, and all get the set.
        seed: of the draws.
        name: of the generator.
        store: a folder that a stopped drawing goes on from; None for none.

    Raises:
        InputError: an image is not finite.
    """
    # Images share a stream by 64, so whole blocks are drawn, and what is too much of the last of a class is dropped.
    blocks = [(label, number) for label, count in enumerate(counts) for number in range(-(-count // BLOCK))]
    labels = torch.tensor([label for label, _ in blocks], dtype=torch.int64).repeat_interleave(BLOCK)
    numbers = torch.tensor([number * BLOCK for _, number in blocks], dtype=torch.int64)
    wanted = (numbers[:, None] + torch.arange(BLOCK)).flatten() < torch.tensor(counts)[labels]
    blank = ImageSet(name, "drawn", torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), labels, model.class_names)

    def of(batch) -> dict[str, Tensor]:
        images = draw_block(model, *blocks[batch.number], seed)
        return {"images": to_levels(images), "finite": images.isfinite().flatten(1).all(1)}

    kept = {} if store is None else {"store": store, "key": {"weights": digest_of(model.state_dict()), "seed": seed}}
    swept = sweep(blank, of, batch_size=BLOCK, description=f"images of {name}", **kept)
    wrong = int((~swept["finite"][wanted]).sum())
    if wrong:
        raise InputError(
            f"{wrong:,} of the {int(wanted.sum()):,} images that {name} draws are not finite: its training diverged"
        )
    return ImageSet(name, "drawn", swept["images"][wanted], labels[wanted], tuple(model.class_names))
