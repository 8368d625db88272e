"""Training a classifier with cross-entropy, and with what regularises it beside."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from apps.classifiers.regularisation import Regularisation
from apps.command.config import Optimisation
from apps.data.mixing import Mixing
from apps.data.sweep import AT_A_TIME
from apps.models.accuracy import FOLLOWED, means, scores
from apps.models.layout import channels_last
from apps.training.task import Criterion, Phase, Task, build_optimizer
from priors import zoo
from priors.reading.taps import unwrapped
from priors.zoo import Classifier
from priors.zoo.wrapped import Wrapped


class Classification(Task):
    """Cross-entropy on labelled images, and regularisers.

    Args:
        classifier: trained in place.
        seed: of the run.
        evaluated: images that `validate` scores.
        selecting: whether those are held out, so that the best checkpoint may be chosen by them.
        label_smoothing: weight of the uniform distribution in the targets.
        mixing: of images, and of targets alike; None: they are not mixed.
        regularisation: of the classifier's layers; None: nothing but the cross-entropy.
        still: modules of it that stay in evaluation mode.
        head_scale: times the learning rate of the others that its final layer has.
    """

    def __init__(
        self,
        classifier: Classifier,
        seed: int,
        evaluated,
        selecting: bool,
        label_smoothing: float = 0.0,
        mixing: Mixing | None = None,
        regularisation: Regularisation | None = None,
        still: tuple[nn.Module, ...] = (),
        head_scale: float = 1.0,
    ):
        self.networks = {"model": classifier}
        self.frozen = {}
        self.seed, self.still = seed, still
        self._head_scale = head_scale
        self.criterion = Criterion("accuracy", larger=True) if selecting else None
        self.channels_last = channels_last(classifier)
        self.partial = isinstance(classifier, Wrapped)  # the user's own may have layers that take no part
        self._evaluated = evaluated
        self.validated = min(AT_A_TIME, len(evaluated))
        self._smoothing, self._mixing, self._regularisation = label_smoothing, mixing, regularisation
        self.mixes = mixing is not None

    def example(self, image_shape: tuple[int, int, int]) -> dict[str, tuple[Tensor, ...]]:
        """An image."""
        return {"model": (torch.zeros(1, *image_shape, device="meta"),)}

    def optimizer(self, turn: str, phase: Phase, config: Optimisation) -> optim.Optimizer:
        """The configured one; the final layer has a learning rate of its own where one was asked for."""
        network = self.networks["model"]
        head = () if self._head_scale == 1 else tuple(unwrapped(network).head.parameters())
        return build_optimizer((network,), config, head, self._head_scale)

    def compiled_by_block(self) -> tuple[nn.Module, ...]:
        """The classifier, unless its training pass is derived."""
        return () if self._derives else super().compiled_by_block()

    @property
    def not_compiled(self) -> str:
        """The classifier, where its training pass is derived."""
        why = "its training pass is derived for bias-jacobian, and compiled networks have none of their derivatives"
        return f"the classifier goes on as it is: {why}" if self._derives else ""

    @property
    def _derives(self) -> bool:
        return self._regularisation is not None and self._regularisation.derives_step

    def losses(self, turn: str, batch, step: int) -> dict[str, Tensor]:
        """The cross-entropy in nats, with the targets that belong to mixed images of mixed images; regularisers."""
        shown = None if self._mixing is None else self._mixing.of(batch, step)
        images = batch.images if shown is None else shown.images
        network, labels = self.networks["model"], batch.labels

        def output(logits: Tensor) -> Tensor:
            def of(labels: Tensor) -> Tensor:
                return logits.gather(1, labels[:, None]).squeeze(1)

            return of(labels) if shown is None else shown.mean(of)

        logits, more = (
            (network(images), {}) if self._regularisation is None else self._regularisation(network, images, output)
        )
        against = self.compiled.whole(self._against)
        if shown is None:
            return {"cross-entropy": against(logits, labels), **more}
        return {"cross-entropy": shown.mean(lambda own: against(logits, own)), **more}

    def _against(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), labels, label_smoothing=self._smoothing)

    def save(self, folder: Path, networks: dict[str, nn.Module]) -> None:
        """Write the classifier as the zoo does, so that `priors.zoo.load` reads a run's folder."""
        zoo.save(networks["model"], folder)

    def validate(self, model, sweep, step: int) -> dict[str, float]:
        """Accuracy and cross-entropy; called the test's where the test images stand in for held-out ones."""
        found = means(scores(model, sweep, self._evaluated), FOLLOWED)
        return found if self.criterion else {f"test {name}": value for name, value in found.items()}
