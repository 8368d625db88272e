"""What penult analyse invert trains, and how it is read again; see `apps.models.registry`."""

import torch
from accelerate import Accelerator
from torch import Tensor

from analysis.inversion.reconstruction import UpConvolution
from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.data.sweep import AT_A_TIME, sweep
from apps.figures import to_levels
from apps.inverting.inverted import DECODER, DENSITY, Inverted, inverted_run
from apps.models.other_images import check_shape
from apps.models.registry import Kind
from apps.models.sample_settings import SampleSettings
from apps.runs.run import Run

INVERSION = "an inversion of a network"
"""What both kinds are called."""


def _read(run: Run) -> Inverted:
    return inverted_run(run.folder)


def _sample(config: SampleSettings, device: torch.device) -> int:
    """Draw and write; see `sample`."""
    from apps.inverting.sample import sample  # the plotting library is slow to load: only where it is asked for

    return sample(config, device)


def _drawn(run: Run, like: ImageSet, accelerator: Accelerator, seed: int) -> ImageSet:
    """An image for each of a set's: a draw, or a decoder's mean."""
    inverted = inverted_run(run.folder)
    check_shape(inverted.model.image_shape, str(run.folder), like)
    decodes = isinstance(inverted.model, UpConvolution)
    inverted = inverted.to(accelerator.device)
    size = AT_A_TIME if decodes else inverted.most(accelerator.device)

    def of(batch: Batch) -> dict[str, Tensor]:
        if decodes:
            return {"images": to_levels(inverted.model(inverted.context(batch.images)))}
        return {"images": to_levels(inverted.draw(batch.images, 1, seed, first=batch.number * size)[:, 0])}

    made = sweep(like, of, batch_size=size, accelerator=accelerator, description=f"images of {run.folder.name}")
    return ImageSet(run.folder.name, "drawn", made["images"], like.labels.cpu(), like.class_names)


KINDS = tuple(
    Kind(name, INVERSION, "analyse invert", _read, _sample, _drawn, scored_by="penult analyse invert")
    for name in (DENSITY, DECODER)
)
