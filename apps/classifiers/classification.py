"""Training a classifier with cross-entropy."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from apps.data.sweep import AT_A_TIME
from apps.models.accuracy import FOLLOWED, means, scores
from apps.seeds import derive
from apps.training.task import Criterion, Task
from priors import zoo
from priors.zoo import Classifier


class Classification(Task):
    """Cross-entropy on labelled images.

    Args:
        classifier: trained in place.
        seed: of the run.
        evaluated: images that `validate` scores.
        selecting: whether those are held out, so that the best checkpoint may be chosen by them.
        label_smoothing: weight of the uniform distribution in the targets.
        mixup: parameter of the beta distribution by which images and targets are mixed; None: they are not.
    """

    def __init__(
        self,
        classifier: Classifier,
        seed: int,
        evaluated,
        selecting: bool,
        label_smoothing: float = 0.0,
        mixup: float | None = None,
    ):
        self.networks = {"model": classifier}
        self.frozen = {}
        self.seed = seed
        self.criterion = Criterion("accuracy", larger=True) if selecting else None
        self.channels_last = any(isinstance(module, nn.Conv2d) for module in classifier.modules())
        self._evaluated = evaluated
        self.validated = min(AT_A_TIME, len(evaluated))
        self._smoothing, self._mixup = label_smoothing, mixup

    def example(self, image_shape: tuple[int, int, int]) -> dict[str, tuple[Tensor, ...]]:
        """An image."""
        return {"model": (torch.zeros(1, *image_shape, device="meta"),)}

    def losses(self, turn: str, batch, step: int) -> dict[str, Tensor]:
        """The cross-entropy in nats, with the targets that belong to mixed images where they are mixed."""
        against = self.compiled.whole(self._against)
        if self._mixup is None:
            return {"cross-entropy": against(self.networks["model"](batch.images), batch.labels)}
        weight = mixup_weight(self._mixup, self.seed, step)
        logits = self.networks["model"](mixed(batch.images, weight))
        own, other = against(logits, batch.labels), against(logits, batch.labels.roll(1))
        return {"cross-entropy": weight * own + (1 - weight) * other}

    def _against(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), labels, label_smoothing=self._smoothing)

    def save(self, folder: Path, networks: dict[str, nn.Module]) -> None:
        """Write the classifier as the zoo does, so that `priors.zoo.load` reads a run's folder."""
        zoo.save(networks["model"], folder)

    def validate(self, model, sweep, step: int) -> dict[str, float]:
        """Accuracy and cross-entropy; called the test's where the test images stand in for held-out ones."""
        found = means(scores(model, sweep, self._evaluated), FOLLOWED)
        return found if self.criterion else {f"test {name}": value for name, value in found.items()}


def mixup_weight(alpha: float, seed: int, step: int) -> float:
    """The weight from Beta(alpha, alpha) by which mixup (Zhang et al. 2018, arXiv 1710.09412) mixes a step's batch.

    One for all parts and processes, drawn on the CPU: no device is waited for.
    """
    return float(np.random.default_rng(derive(seed, "mixup", step)).beta(alpha, alpha))


def mixed(images: Float[Tensor, "batch *image"], weight: float) -> Float[Tensor, "batch *image"]:
    """Each image with the one before it in the batch, the first with the last; `weight` is its own.

    The order of a batch is random already, so a neighbour is a random other image.
    """
    return torch.lerp(images.roll(1, 0), images, weight)
