"""How well a classifier does on a set of images: every method that trains or tests one asks this."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from priors.zoo import Classifier


def scores(classifier: Classifier, sweep, images, batch_size: int = 500) -> dict[str, Tensor]:
    """For each image of a set: whether its class is found (1 or 0), the cross-entropy in nats, the predicted label."""

    def of(batch) -> dict[str, Tensor]:
        logits = classifier(batch.images).float()
        predicted = logits.argmax(-1)
        return {
            "accuracy": (predicted == batch.labels).float(),
            "cross-entropy": F.cross_entropy(logits, batch.labels, reduction="none"),
            "predicted": predicted,
        }

    with torch.inference_mode():
        return sweep(images, of, batch_size=batch_size)


def by_class(values: Float[Tensor, " images"], images) -> dict[str, float]:
    """The mean of one number an image over each class, by its name; without the classes that have no images."""
    labels = images.labels.cpu()
    return {
        name: float(values[labels == label].mean())
        for label, name in enumerate(images.class_names)
        if bool((labels == label).any())
    }
