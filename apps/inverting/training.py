"""Training a density of images given a representation."""

import torch
from torch import Tensor, nn, optim

from analysis.densities.pixelcnn import PixelCNN
from analysis.densities.weight_norm import WeightNormConv
from analysis.inversion.cross_entropy import bits_per_dim
from apps.command.config import Optimisation
from apps.data.image_set import ImageSet
from apps.inverting.own_density import OwnDensity
from apps.inverting.scoring import SWEPT
from apps.models.layer_task import LayerTask
from apps.models.representation import Representation
from apps.runs.format import FORMAT
from apps.training.task import Criterion, Phase, Sweep

BETAS = (0.95, 0.9995)
"""Of Adam, as PixelCNN++'s authors have them."""


class DensityTraining(LayerTask):
    """Train p(x | h) by maximum likelihood (equation 4).

    Args:
        model: trained in place; a PixelCNN++'s convolutions start as the first batch decides.
        representation: h; None for an unconditional model.
        description: how to build the model again.
        held_out: images that choose the checkpoint, by their mean log-likelihood; None keeps the last.
        seed: of the run.
    """

    averaged = ("model",)

    def __init__(
        self,
        model: PixelCNN | OwnDensity,
        representation: Representation | None,
        description: dict,
        held_out: ImageSet | None,
        seed: int,
    ):
        super().__init__(model, representation, description, held_out, seed, alone=isinstance(model, OwnDensity))
        self.format = FORMAT
        self._distribution = model.distribution if isinstance(model, PixelCNN) else None
        self.criterion = None if held_out is None else Criterion("NCE", larger=True)

    @property
    def format(self) -> int:
        """Of the run: trainings before format 2 make weights of convolutions by kernels of their own."""
        return self._format

    @format.setter
    def format(self, number: int) -> None:
        self._format = number
        for layer in self.networks["model"].modules():
            if isinstance(layer, WeightNormConv):
                layer.fused = number >= 2

    def example(self, image_shape: tuple[int, int, int]) -> dict[str, tuple[Tensor | None, ...]]:
        """An image and a context, of a PixelCNN++; what another density keeps is not known."""
        image = torch.zeros(1, *image_shape, device="meta")
        return {} if self._distribution is None else {"model": (image, self.empty_context())}

    def start(self, batch) -> None:
        """Data-dependent initialisation, of a PixelCNN++."""
        if self._distribution is not None:
            self.networks["model"].initialise(batch.images, self.context(batch.images))

    def optimizer(self, turn: str, phase: Phase, config: Optimisation) -> optim.Optimizer:
        """Adam with the betas of PixelCNN++'s authors, unless another optimiser is asked for."""
        if config.optimizer not in ("adam", "adamw"):
            return super().optimizer(turn, phase, config)
        kind = optim.AdamW if config.optimizer == "adamw" else optim.Adam
        parameters = [parameter for parameter in self.networks["model"].parameters() if parameter.requires_grad]
        return kind(parameters, lr=config.lr, betas=BETAS, weight_decay=config.weight_decay, fused=True)

    def losses(self, turn: str, batch, step: int) -> dict[str, Tensor]:
        """Minus log p(x | h), in bits a sub-pixel."""
        outputs = self.networks["model"](batch.images, self.context(batch.images))
        if self._distribution is None:  # the log-likelihoods themselves
            nats = outputs.mean()
        else:
            log_prob = self.compiled.whole(self._distribution.log_prob)
            nats = log_prob(outputs, batch.images, check=False).flatten(1).sum(1).mean()
        return {"bits/dim": bits_per_dim(nats, batch.images.shape[1:])}

    def validate(self, model: nn.Module, sweep: Sweep, step: int) -> dict[str, float]:
        """Mean log-likelihood of held-out images, in nats and in bits a sub-pixel."""
        if self.held_out is None:
            return {}

        def of(batch) -> dict[str, Tensor]:
            return {"nats": model.log_prob(batch.images, self.context(batch.images), check=False)}

        nats = float(
            sweep(self.held_out, of, batch_size=SWEPT, channels_last=self.channels_last)["nats"].double().mean()
        )
        return {"NCE": nats, "bits/dim": bits_per_dim(nats, self.held_out.image_shape)}
