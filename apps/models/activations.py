"""What a classifier makes of a data set: penultimate activations, logits and labels, in one pass."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor

from apps.command.config import Data
from apps.data import sources
from apps.data.image_set import ImageSet
from apps.data.sizes import sizes_for
from apps.data.sources.catalogue import takes_size
from apps.data.sweep import AT_A_TIME, sweep
from apps.models import named
from apps.models.other_images import check_shape
from apps.runs.run import Run
from priors.errors import InputError
from priors.vmf.directions import in_parts
from priors.zoo import Classifier
from priors.zoo.network import ImageNetwork


@dataclass(frozen=True)
class Activations:
    """One row an image, on the CPU, in the order of the set."""

    penultimate: Float[Tensor, "n m"]
    """The head's input, unnormalised."""
    logits: Float[Tensor, "n classes"]
    labels: Int[Tensor, " n"]


def images_for(
    model: str,
    network: ImageNetwork,
    split: str,
    *,
    data: str | None = None,
    image_size: int | None = None,
    resize: int | None = None,
    root: Path | None = None,
    same_classes: bool = True,
    again: bool = False,
    first: int | None = None,
    classes: str | None = None,
) -> ImageSet:
    """The images to run a MODEL on: a named data set, or else the one that the run was trained on.

    Args:
        model: as on the command line.
        network: what it means.
        split: "train" or "test".
        data: name, .npz or folder; None for what the run was trained on.
        image_size: height and width that the pictures of an image folder are brought to; None as for the run.
        resize: shorter side of the pictures before the centre is cut out; None as for the run.
        root: folder of the data sets.
        same_classes: whether the set's classes must be the network's.
        again: whether images of the set were asked for before, so that nothing need be said of it once more.
        first: how many images are wanted, the first ones; None: all.
        classes: which of the set's are wanted; None as for the run. Where the network has all of the set's, images keep
            their labels.

    Raises:
        InputError: no data set is known, its classes are not the network's, or its images have another shape.
    """
    trained = named.trained_on(Run(model)) if named.is_run(model) else Data("")
    if not (data or trained.data):
        raise InputError(f"which images to run {model} on: give --data")
    name = data or named.trained_data(Run(model), None)
    sizes = sizes_for(trained, name, image_size, resize, classes)
    known = getattr(network, "class_names", None) or False
    images = sources.load(name, split, root=root, first=first, known=known, **sizes)
    if same_classes:
        made_of = None if again else network.provenance.get("data")
        named.check_classes(network.class_names, model, images, made_of, network.image_shape)
    check_shape(network.image_shape, model, images)
    return images


def folder_size(model: str, network: ImageNetwork, data: str | None, given: int | None) -> int | None:
    """The size that a set's pictures are brought to for a MODEL: what is given, or else a network's own.

    None for a run, which knows the size it was trained with, and where pictures have a size, or networks none.
    """
    if given is None and data and takes_size(data) and not named.is_run(model) and network.image_shape:
        return network.image_shape[1]
    return given


def device_of(accelerator: Accelerator | None) -> torch.device:
    """Where a process computes; on the CPU, without an accelerator."""
    return torch.device("cpu") if accelerator is None else accelerator.device


def activations(
    network: Classifier,
    images: ImageSet,
    accelerator: Accelerator | None = None,
    description: str = "activations",
    prepare: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = AT_A_TIME,
    first: bool = False,
) -> Activations | None:
    """Run every image through the network once; its logits are the head's of those activations.

    Args:
        network: moved to the accelerator's device.
        images: the set.
        accelerator: of this process.
        description: what the progress bar says.
        prepare: what is done to a batch of images in [0, 1] first, such as bringing them to the network's size.
        batch_size: images a batch.
        first: whether the first process alone is to have them, as for `sweep`; the others get None.

    Raises:
        InputError: an activation is not finite; on every process.
    """
    network = network.to(device_of(accelerator))
    spoilt = torch.zeros((), dtype=torch.int64, device=device_of(accelerator))

    def of(batch) -> dict[str, Tensor]:
        penultimate = network.penultimate(batch.images if prepare is None else prepare(batch.images))
        spoilt.add_((~penultimate.isfinite()).any(1).sum())
        return {"penultimate": penultimate, "logits": network.head(penultimate), "labels": batch.labels}

    where = {"accelerator": accelerator, "first": first}
    rows = sweep(images, of, batch_size=batch_size, description=description, **where)
    if int(spoilt if accelerator is None else accelerator.reduce(spoilt)):  # known to all, also who has no rows
        which = f"image {_spoilt(rows['penultimate'])}" if rows else "an image"
        raise InputError(
            f"the penultimate activations of {which} of {images.name} are not finite: the network has diverged, or its "
            "weights are not for these images"
        )
    return Activations(**rows) if rows else None


def _spoilt(rows: Tensor) -> int:
    """The first row with a number that is not finite."""
    return int(in_parts(lambda part: ~part.isfinite().all(1), rows).nonzero()[0])
