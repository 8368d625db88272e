"""Training an auto-encoder end to end, by the mean squared error of images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.discarding.auto_encoder import AutoEncoder
from apps.autoencoders.errors import ERROR, errors
from apps.autoencoders.kinds import described
from apps.data.image_set import ImageSet
from apps.data.sweep import AT_A_TIME
from apps.training.task import Criterion, Sweep, Task


class AutoEncoding(Task):
    """Least squares of images.

    Args:
        model: trained in place.
        seed: of the run.
        evaluated: images that `validate` scores.
        selecting: whether those are held out, so that the best checkpoint may be chosen by them.
    """

    def __init__(self, model: AutoEncoder, seed: int, evaluated: ImageSet, selecting: bool):
        self.networks, self.frozen = {"model": model}, {}
        self.seed, self.description = seed, described(model)
        self.criterion = Criterion(ERROR, larger=False) if selecting else None
        self.channels_last = True
        self._evaluated = evaluated
        self.validated = min(AT_A_TIME, len(evaluated))

    def example(self, image_shape: tuple[int, int, int]) -> dict[str, tuple[Tensor, ...]]:
        """An image."""
        return {"model": (torch.zeros(1, *image_shape, device="meta"),)}

    def losses(self, turn: str, batch, step: int) -> dict[str, Tensor]:
        """The mean over images and their values of (x' - x)^2."""
        return {ERROR: F.mse_loss(self.networks["model"](batch.images).float(), batch.images)}

    def validate(self, model: nn.Module, sweep: Sweep, step: int) -> dict[str, float]:
        """Error and PSNR; called the test's where the test images stand in for held-out ones."""
        found = {name: float(values.mean()) for name, values in errors(model, sweep, self._evaluated).items()}
        return found if self.criterion else {f"test {name}": value for name, value in found.items()}
