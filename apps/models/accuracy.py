"""How well a classifier does on a set of images: every method that trains or tests one asks this."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from apps.data.sweep import AT_A_TIME
from priors.reading.dry_pass import undisturbed
from priors.reading.outputs import outputs_are
from priors.zoo import Classifier

FOLLOWED = ("accuracy", "cross-entropy")
"""What is followed through a training."""
FINAL = (*FOLLOWED, "top-5 accuracy")
"""What is said at the end, the last one where there are more than five classes."""


def scores(classifier: Classifier, sweep, images, batch_size: int = AT_A_TIME) -> dict[str, Tensor]:
    """For each image of a set: whether its class is found (1 or 0), the cross-entropy in nats, the predicted label.

    Of more than five classes also whether it is among the five with the largest logits ("top-5 accuracy", 1 or 0).
    """

    def of(batch) -> dict[str, Tensor]:
        logits = classifier(batch.images).float()
        predicted = logits.argmax(-1)
        found = {
            "accuracy": (predicted == batch.labels).float(),
            "cross-entropy": F.cross_entropy(logits, batch.labels, reduction="none"),
            "predicted": predicted,
        }
        if logits.shape[-1] > 5:
            found["top-5 accuracy"] = (logits.topk(5).indices == batch.labels[:, None]).any(-1).float()
        return found

    with torch.inference_mode():
        return sweep(images, of, batch_size=batch_size)


def means(scored: dict[str, Tensor], names: Sequence[str] = FINAL) -> dict[str, float]:
    """The mean over the images of each of the named scores that is there."""
    return {name: float(scored[name].mean()) for name in names if name in scored}


def logits_of_probabilities(classifier: Classifier, image_shape: tuple[int, int, int]) -> bool:
    """Have a classifier whose outputs are probabilities give their logarithms from now on; whether it is one.

    Those are logits of the same softmax. The probabilities themselves, taken for logits, would give another
    cross-entropy, never below log(1 + (classes - 1) / e).

    Args:
        classifier: it is run on an image of zeros.
        image_shape: (channels, height, width).
    """
    with undisturbed(classifier):
        given = classifier(classifier.mean.new_zeros(1, *image_shape))
    if outputs_are(given) != "probabilities":
        return False
    smallest = torch.finfo(given.dtype).tiny
    classifier.register_forward_hook(lambda module, images, found: found.clamp_min(smallest).log())
    return True


def by_class(values: Float[Tensor, " images"], images) -> dict[str, float]:
    """The mean of one number an image over each class, by its name; without the classes that have no images."""
    labels = images.labels.cpu()
    return {
        name: float(values[labels == label].mean())
        for label, name in enumerate(images.class_names)
        if bool((labels == label).any())
    }
