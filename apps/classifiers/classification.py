"""Training a classifier with cross-entropy."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from apps.data.sweep import AT_A_TIME
from apps.models.accuracy import FOLLOWED, means, scores
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
    """

    def __init__(self, classifier: Classifier, seed: int, evaluated, selecting: bool, label_smoothing: float = 0.0):
        self.networks = {"model": classifier}
        self.frozen = {}
        self.seed = seed
        self.criterion = Criterion("accuracy", larger=True) if selecting else None
        self.channels_last = any(isinstance(module, nn.Conv2d) for module in classifier.modules())
        self._evaluated = evaluated
        self.validated = min(AT_A_TIME, len(evaluated))
        self._smoothing = label_smoothing

    def example(self, image_shape: tuple[int, int, int]) -> dict[str, tuple[Tensor, ...]]:
        """An image."""
        return {"model": (torch.zeros(1, *image_shape, device="meta"),)}

    def losses(self, turn: str, batch, step: int) -> dict[str, Tensor]:
        """The cross-entropy in nats."""
        logits = self.networks["model"](batch.images)
        return {"cross-entropy": F.cross_entropy(logits.float(), batch.labels, label_smoothing=self._smoothing)}

    def save(self, folder: Path, networks: dict[str, nn.Module]) -> None:
        """Write the classifier as the zoo does, so that `priors.zoo.load` reads a run's folder."""
        zoo.save(networks["model"], folder)

    def validate(self, model, sweep, step: int) -> dict[str, float]:
        """Accuracy and cross-entropy; called the test's where the test images stand in for held-out ones."""
        found = means(scores(model, sweep, self._evaluated), FOLLOWED)
        return found if self.criterion else {f"test {name}": value for name, value in found.items()}
