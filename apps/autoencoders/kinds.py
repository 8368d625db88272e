"""The auto-encoders that runs hold, and how they are read again; see `apps.models.registry`."""

from typing import Any

import torch
from accelerate import Accelerator

from analysis.discarding.auto_encoder import AutoEncoder
from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.data.sweep import sweep
from apps.figures import to_levels
from apps.models.other_images import check_shape
from apps.models.registry import Kind, description_of
from apps.runs.run import Run
from priors import zoo
from priors.files.building import building
from priors.files.tensors import load_weights, read_tensors

AUTO_ENCODER = "an auto-encoder"
"""What the kind is called."""
NAME = "auto-encoder"
"""Of the kind, as `model.json` has it."""


def described(model: AutoEncoder) -> dict[str, Any]:
    """How to build an auto-encoder again, as `model.json` has it."""
    return {"model": NAME, "image_shape": list(model.image_shape), **model.architecture}


def read(run: Run) -> AutoEncoder:
    """The auto-encoder in a run's folder, on the CPU, in evaluation mode; torch's random state is left as it was.

    Raises:
        InputError: a description that none can be built from, or weights that are damaged or do not fit.
    """
    place, description = run.folder / "model.safetensors", description_of(run)
    weights, _ = read_tensors(place, "weights of an auto-encoder", finite=True)
    with (
        building(run.folder / "model.json", "auto-encoder", description, weights),
        torch.random.fork_rng(devices=[]),
    ):
        made = dict(description["encoder"])
        network = zoo.build(made.pop("name"), **made.pop("options"), **made)
        model = AutoEncoder.of(network, code=description["code"], width=description["width"])
    load_weights(model, weights, place)
    return model.eval()


def _drawn(run: Run, like: ImageSet, accelerator: Accelerator, seed: int) -> ImageSet:
    """What is made of each of a set's images."""
    model = read(run)
    check_shape(model.image_shape, str(run.folder), like)
    model = model.to(accelerator.device)

    def of(batch: Batch) -> dict[str, torch.Tensor]:
        return {"images": to_levels(model(batch.images))}

    made = sweep(like, of, accelerator=accelerator, description=f"images of {run.folder.name}")
    return ImageSet(run.folder.name, "drawn", made["images"], like.labels.cpu(), like.class_names)


KINDS = (Kind(NAME, AUTO_ENCODER, "train autoencoder", read, drawn=_drawn, layered=AutoEncoder, describe=described),)
