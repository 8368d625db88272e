"""Training the hyperspherical autoencoders: the bound, its warm-up, its validation."""

import math

import torch
from torch import Tensor, optim

from apps.command.config import Optimisation
from apps.data.binarise import binarise
from apps.data.sweep import AT_A_TIME
from apps.generators.hyperspherical_vae import HypersphericalVAE
from apps.seeds import derive, generator
from apps.training.task import Criterion, Phase, Task, build_optimizer
from priors.checks.draws import gaussians
from priors.checks.floats import at_least_float32
from priors.reading.taps import unwrapped


class HVAETraining(Task):
    """Maximise the evidence lower bound (equations 10 to 12) on images binarised afresh each batch.

    Args:
        model: trained in place.
        seed: of the run.
        validation: images whose bound chooses the checkpoint; None keeps the last.
        warmup_steps: steps over which the weight of the divergence rises linearly to 1.
        label_term: whether the bound holds log p(i), as equations 11 and 12 have it; a constant that moves no gradient.
    """

    def __init__(self, model: HypersphericalVAE, seed: int, validation, warmup_steps: int = 0, label_term: bool = True):
        self.networks = {"model": model}
        self.frozen = {}
        self.seed = seed
        self.description = model.description()
        self.criterion = None if validation is None else Criterion("elbo", larger=True, from_step=warmup_steps)
        self._validation = validation
        self.validated = 0 if validation is None else min(AT_A_TIME, len(validation))
        self._warmup_steps, self._dim = warmup_steps, model.dim
        conditional = label_term and model.conditional
        self._log_label = -math.log(len(model.class_names)) if conditional else 0.0
        self._streams: dict = {}

    def example(self, image_shape: tuple[int, int, int]) -> dict[str, tuple[Tensor, ...]]:
        """An image and its label."""
        label = torch.zeros(1, dtype=torch.int64, device="meta")
        return {"model": (torch.zeros(1, *image_shape, device="meta"), label)}

    def optimizer(self, turn: str, phase: Phase, config: Optimisation) -> optim.Optimizer:
        """The configured one; a learnt prior has no weight decay."""
        network = self.networks["model"]
        return build_optimizer((network,), config, unwrapped(network).undecayed(), decayed=False)

    def losses(self, turn: str, batch, step: int) -> dict[str, Tensor]:
        """The distortion -log p(x|z) and the divergence at the weight its warm-up has reached, in nats an image."""
        images = binarise(batch.images, self._stream("binarise", step, batch.images.device))
        # Drawn here: what is compiled takes no generator.
        shape, stream = (len(images), self._dim), self._stream("latent", step, images.device)
        draws = gaussians(shape, stream, at_least_float32(images).dtype, images.device)
        bound = self.networks["model"](images, batch.labels, draws)
        weight = min(1.0, (step + 1) / self._warmup_steps) if self._warmup_steps else 1.0
        divergence = bound.divergence.mean()
        losses = {
            "distortion": -bound.reconstruction.mean(),
            "weighted divergence": divergence if weight == 1 else weight * divergence,
        }
        if self._log_label:
            losses["label"] = divergence.new_full((), -self._log_label)
        return losses

    def _stream(self, purpose: str, step: int, device):
        """One generator a purpose, seeded anew each step: resuming needs no state, and no two parts share a draw."""
        if purpose not in self._streams:
            self._streams[purpose] = generator(device, purpose)
        return self._streams[purpose].manual_seed(derive(self.seed, purpose, step, self.slice))

    def validate(self, model, sweep, step: int) -> dict[str, float]:
        """The bound and its parts in nats an image, at full weight, on images binarised with a fixed seed."""
        if self._validation is None:
            return {}

        def of(batch) -> dict[str, Tensor]:
            images = binarise(batch.images, generator("cpu", self.seed, "validation", batch.number))
            bound = model(images, batch.labels, generator("cpu", self.seed, "validation-latent", batch.number))
            return {"reconstruction": bound.reconstruction, "divergence": bound.divergence}

        parts = {name: float(values.mean()) for name, values in sweep(self._validation, of).items()}
        label = {"log p(i)": self._log_label} if self._log_label else {}
        return {"elbo": parts["reconstruction"] - parts["divergence"] + self._log_label, **parts, **label}
