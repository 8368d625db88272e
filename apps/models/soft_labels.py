"""A network's soft labels averaged over the images of each class, in one pass."""

import torch
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor, nn

from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.data.sweep import sweep
from apps.models.activations import device_of


def mean_soft_labels(
    network: nn.Module, images: ImageSet, temperature: float, accelerator: Accelerator | None = None
) -> Float[Tensor, "classes classes"]:
    """The mean over a class's images of the softmax of logits over the temperature, in float64, a row a class.

    Args:
        network: gives logits, and is not in training mode; moved to the accelerator's device.
        images: of the network's classes; sums are kept, never the logits.
        temperature: more than one brings classes closer.
        accelerator: the processes to share the work with; all call this, and all get the result.
    """
    device = device_of(accelerator)
    network, classes = network.to(device), len(images.class_names)
    total = torch.zeros(classes, classes, dtype=torch.float64, device=device)

    def of(batch: Batch) -> dict[str, Tensor]:
        add_soft_labels(total, network(batch.images), batch.labels, temperature)
        return {"labels": batch.labels}

    labels = sweep(images, of, accelerator=accelerator, description="soft labels")["labels"]
    return by_class(total, labels, accelerator)


def add_soft_labels(
    total: Float[Tensor, "classes classes"],
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    temperature: float,
) -> None:
    """Add each image's soft label to the row of its class, in place."""
    total.index_add_(0, labels, (logits.double() / temperature).softmax(1))


def by_class(
    total: Float[Tensor, "classes columns"], labels: Int[Tensor, " n"], accelerator: Accelerator | None
) -> Float[Tensor, "classes columns"]:
    """Means over all processes, on the CPU; NaN for a class without images.

    Args:
        total: sums of each class's rows on this process, such as `add_soft_labels` makes.
        labels: of all images, on the CPU.
        accelerator: the processes.
    """
    if accelerator is not None:
        total = accelerator.reduce(total, "sum")
    return total.cpu() / labels.bincount(minlength=len(total))[:, None]
