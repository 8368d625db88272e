"""A network's penultimate activations averaged over the images of each class, in one pass."""

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.data.sweep import sweep
from apps.models.activations import device_of
from apps.models.soft_labels import by_class
from priors.model.final_layer import read_final_layer
from priors.zoo import Classifier


def mean_activations(
    network: Classifier, images: ImageSet, accelerator: Accelerator | None = None
) -> Float[Tensor, "classes m"]:
    """The mean over a class's images of the head's input, in float64, a row a class; NaN for one without images.

    Args:
        network: not in training mode; moved to the accelerator's device.
        images: of the network's classes; sums are kept, never the activations.
        accelerator: the processes to share the work with; all call this, and all get the result.
    """
    device = device_of(accelerator)
    network = network.to(device)
    total = torch.zeros(*read_final_layer(network)[0].shape, dtype=torch.float64, device=device)

    def of(batch: Batch) -> dict[str, Tensor]:
        total.index_add_(0, batch.labels, network.penultimate(batch.images).double())
        return {"labels": batch.labels}

    labels = sweep(images, of, accelerator=accelerator, description="mean activations")["labels"]
    return by_class(total, labels, accelerator)
