"""What finished inversions give images, kept in their runs: each image is scored once."""

from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import Tensor

from analysis.inversion.reconstruction import squared_error
from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.inverting.inverted import Inverted, inverted_run
from apps.runs.run import Run
from apps.training.session import on_main, sweeping
from priors.errors import InputError
from priors.files.tensors import read_tensors, write_tensors

SWEPT = 100
"""Images a batch."""


def log_likelihoods(run: Run, images: ImageSet, accelerator: Accelerator) -> Tensor:
    """log p(x | h) of each image in nats, by all processes together.

    Raises:
        InputError: the run is damaged.
    """

    def nats(inverted: Inverted, batch: Batch) -> Tensor:
        return inverted.model.log_prob(batch.images, inverted.context(batch.images), check=False)

    return _scored(run, "log-likelihoods", images, accelerator, nats)


def squared_errors(run: Run, images: ImageSet, accelerator: Accelerator) -> Tensor:
    """|x - f(h)|^2 of each image, by all processes together.

    Raises:
        InputError: the run is damaged.
    """

    def errors(inverted: Inverted, batch: Batch) -> Tensor:
        return squared_error(batch.images, inverted.model(inverted.context(batch.images)))

    return _scored(run, "squared-errors", images, accelerator, errors)


def _scored(
    run: Run, name: str, images: ImageSet, accelerator: Accelerator, score: Callable[[Inverted, Batch], Tensor]
) -> Tensor:
    """Read from the run's folder, or worked out and written there; those of other images are replaced."""
    path = run.folder / f"{name}.safetensors"
    try:
        found, metadata = read_tensors(path, name)
    except InputError:
        found, metadata = {}, {}
    there = metadata.get("digest") == images.digest and name in found and found[name].shape == (len(images),)
    if bool(accelerator.gather(torch.tensor([there], device=accelerator.device)).all()):
        return found[name]
    inverted = inverted_run(run.folder).to(accelerator.device)
    swept = sweeping(accelerator, progress=True)(
        images, lambda batch: {name: score(inverted, batch)}, batch_size=SWEPT, description=run.folder.name
    )[name]
    on_main(accelerator, lambda: write_tensors(path, {name: swept}, {"digest": images.digest}))
    return swept
