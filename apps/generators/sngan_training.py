"""Training the SNGAN: the hinge loss, five turns of the discriminator to one of the generator, and its scores.

Lim and Ye 2017 and Miyato et al. 2018 for the loss; Mescheder et al. 2018 (arXiv 1801.04406) for the penalty R1, which
is taken every few steps as in StyleGAN2 (Karras et al. 2020).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from apps.command.config import Optimisation
from apps.generators.diff_augment import augment
from apps.generators.orthogonal import orthogonal_penalty, regularised
from apps.generators.sngan import SNGAN, Discriminator
from apps.seeds import derive, generator
from apps.training.task import Criterion, Phase, Sweep, Task


@dataclass(frozen=True)
class Objective:
    """What the two networks are trained by."""

    discriminator_turns: int = 5
    """Turns of the discriminator to one of the generator."""
    betas: tuple[float, float] = (0.0, 0.9)
    """Of Adam, for both networks."""
    labels: str = "real"
    """Of the fakes: "real", those of the batch of real images, or "uniform", drawn evenly."""
    fakes: int = 1
    """Batches of fakes in the generator's turn."""
    dequantise: bool = True
    """Whether noise of one grey level is added to the real images."""
    augmentations: tuple[str, ...] = ()
    """Policies of `diff_augment`, on all that the discriminator sees."""
    r1: float = 0.0
    """Weight of the penalty r1 / 2 |dD/dx|^2 on real images; 0: none."""
    r1_every: int = 16
    """Steps between penalties, which count as many times."""
    orthogonal: float = 0.0
    """Weight of the orthogonal regularisation of the generator; 0: none."""
    standing: int = 0
    """Batches of fakes from which batch norm takes its statistics before the generator is used; 0: moving averages."""


class SNGANTraining(Task):
    """Train a generator against a discriminator.

    Args:
        model: the generator, trained in place.
        discriminator: likewise.
        objective: what by.
        seed: of the run.
        observe: called at each validation with the averaged generator, the one in training, the step and the loop's
            sweep; returns metrics.
        criterion: which of those chooses the checkpoint; None keeps the last.
        batch_size: of the standing statistics.
    """

    channels_last = True
    averaged = ("model",)

    def __init__(
        self,
        model: SNGAN,
        discriminator: Discriminator,
        objective: Objective,
        seed: int,
        observe: Callable[[nn.Module, nn.Module, int, Sweep], dict[str, float]] | None = None,
        criterion: Criterion | None = None,
        batch_size: int = 64,
    ):
        self.networks = {"model": model, "discriminator": discriminator}
        self.frozen = {}
        self.seed = seed
        self.description = model.description()
        self.criterion = criterion
        self.objective = objective
        # In its own turn a network is called as the loop prepared it; in the other's it is frozen, and called bare.
        self._generator, self._discriminator = model, discriminator
        self._classes = len(model.class_names)
        self._observe = observe
        self._batch_size = batch_size
        self._streams: dict = {}

    def example(self, image_shape: tuple[int, int, int]) -> dict[str, tuple[Tensor, ...]]:
        """A latent and an image with their labels."""
        label = torch.zeros(1, dtype=torch.int64, device="meta")
        latent = torch.zeros(1, self._generator.latent.dim, device="meta")
        image = torch.zeros(1, *image_shape, device="meta")
        return {"model": (latent, label), "discriminator": (image, label)}

    def turns(self, step: int) -> tuple[str, ...]:
        """The discriminator's, then the generator's."""
        return ("discriminator",) * self.objective.discriminator_turns + ("generator",)

    def trained(self, turn: str) -> tuple[str, ...]:
        """One of the two."""
        return ("model",) if turn == "generator" else ("discriminator",)

    def optimizer(self, turn: str, phase: Phase, config: Optimisation) -> optim.Optimizer:
        """Adam with the objective's betas."""
        (name,) = self.trained(turn)
        parameters = [parameter for parameter in self.networks[name].parameters() if parameter.requires_grad]
        kind = optim.AdamW if config.optimizer == "adamw" else optim.Adam
        return kind(parameters, lr=config.lr, betas=self.objective.betas, weight_decay=config.weight_decay, fused=True)

    def losses(self, turn: str, batch, step: int) -> dict[str, Tensor]:
        """The hinge loss of the turn's network, and the discriminator's penalty where one is due."""
        if turn == "generator":
            return self._generator_loss(batch)
        real = self._pixels(batch)
        labels = self._labels(batch, 1)
        with torch.no_grad():
            fake = self._generator(self._latent(labels, batch), labels)
        seen = augment(torch.cat([real, fake]), self.objective.augmentations, self._stream("augment", batch))
        logits = self.networks["discriminator"](seen, torch.cat([batch.labels, labels]))
        of_real, of_fake = logits.chunk(2)
        losses = {"discriminator": F.relu(1 - of_real).mean() + F.relu(1 + of_fake).mean()}
        if self.objective.r1 and step % self.objective.r1_every == 0:
            losses["R1"] = self._penalty(real, batch) * self.objective.r1_every
        return losses

    def _generator_loss(self, batch) -> dict[str, Tensor]:
        labels = self._labels(batch, self.objective.fakes)
        fake = self.networks["model"](self._latent(labels, batch), labels)
        seen = augment(fake, self.objective.augmentations, self._stream("augment", batch))
        losses = {"generator": -self._discriminator(seen, labels).mean()}
        if self.objective.orthogonal:
            with torch.autocast(fake.device.type, enabled=False):
                losses["orthogonal"] = self.objective.orthogonal * orthogonal_penalty(regularised(self._generator))
        return losses

    def _penalty(self, real: Tensor, batch) -> Tensor:
        """r1 / 2 |dD/dx|^2 on real images, in float32."""
        with torch.autocast(real.device.type, enabled=False), self.compiled.eager():  # a second derivative follows
            real = real.detach().requires_grad_()
            seen = augment(real, self.objective.augmentations, self._stream("augment-r1", batch))
            # A second pass of this turn: bare, since prepared modules are for one forward pass a backward pass.
            logits = self._discriminator(seen, batch.labels)
            (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        return self.objective.r1 / 2 * slope.square().sum((1, 2, 3)).mean()

    def _pixels(self, batch) -> Tensor:
        """The real images in [-1, 1]; dequantised, each grey level is spread evenly over its 256th."""
        if not self.objective.dequantise:
            return batch.images * 2 - 1
        noise = torch.empty_like(batch.images).uniform_(generator=self._stream("dequantise", batch))
        return (batch.images * 255 + noise) / 128 - 1

    def _labels(self, batch, times: int) -> Tensor:
        """Of the fakes, `times` as many as the batch has images."""
        if self.objective.labels == "real":
            return batch.labels.repeat(times)
        shape = (times * len(batch.labels),)
        return torch.randint(self._classes, shape, generator=self._stream("labels", batch), device=batch.labels.device)

    def _latent(self, labels: Tensor, batch) -> Tensor:
        return self._generator.latent.sample(labels, self._stream("latent", batch))

    def _stream(self, purpose: str, batch) -> torch.Generator:
        """One generator a purpose, seeded anew for each batch drawn: no two turns, parts or processes share a draw."""
        if purpose not in self._streams:
            self._streams[purpose] = generator(batch.labels.device, purpose)
        return self._streams[purpose].manual_seed(derive(self.seed, purpose, batch.number, self.slice))

    def validate(self, model, sweep, step: int) -> dict[str, float]:
        """What the observer finds."""
        if self._observe is None:
            return {}
        kept = self._standing(model)
        return self._observe(kept, kept if model is self._generator else self._standing(self._generator), step, sweep)

    def _standing(self, model: nn.Module) -> nn.Module:
        """The generator to use: a copy with standing statistics where they are asked for."""
        if not self.objective.standing:
            return model
        model = copy.deepcopy(model)
        standing_statistics(model, self.objective.standing, self._batch_size, self.seed)
        return model

    def save(self, folder: Path, networks: dict[str, nn.Module]) -> None:
        """Write the weights, the generator's with standing statistics where they are asked for."""
        super().save(folder, networks | {"model": self._standing(networks["model"])})


@torch.no_grad()
def standing_statistics(model: SNGAN, batches: int, batch_size: int, seed: int) -> None:
    """Set batch norm's running statistics to those of fakes of evenly drawn classes (Brock et al. 2019, appendix A).

    They are this process's own, also where batch norm is synchronised: the weights are written by one process, with
    which no other would exchange anything, and all draw the same fakes anyhow.

    Args:
        model: changed in place; left in evaluation mode.
        batches: how many fakes are averaged over, in batches.
        batch_size: fakes at a time.
        seed: of the fakes.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
        if isinstance(norm, nn.SyncBatchNorm):
            norm.forward = partial(nn.BatchNorm2d.forward, norm)
    device = next(model.parameters()).device
    stream = generator("cpu", seed, "standing")  # the same ones on every device
    model.train()
    for _ in range(batches):
        labels = torch.randint(len(model.class_names), (batch_size,), generator=stream).to(device)
        model(model.latent.sample(labels, stream), labels)
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.__dict__.pop("forward", None)
