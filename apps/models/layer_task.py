"""Training what goes from a layer of a network back to images, and least squares for it."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from analysis.inversion.reconstruction import squared_error
from apps.data.image_set import ImageSet
from apps.models.registry import can_be_kept, keep
from apps.models.representation import Representation
from apps.models.represented import KEPT
from apps.training.task import Criterion, Sweep, Task
from priors.files.json_files import write_json
from priors.files.tensors import write_tensors
from priors.zoo.wrapped import Wrapped

_SWEPT = 100
"""Images a batch that a model is validated on."""


class LayerTask(Task):
    """A model of images that is given what a layer makes of them, and the network whose layer it is.

    Args:
        model: trained in place.
        representation: the layer; None for a model without one.
        description: how to build the model again.
        held_out: images that choose the checkpoint; None keeps the last.
        seed: of the run.
        alone: whether the model takes no other layout in memory than the usual one.
    """

    def __init__(
        self,
        model: nn.Module,
        representation: Representation | None,
        description: dict,
        held_out: ImageSet | None,
        seed: int,
        *,
        alone: bool = False,
    ):
        self.networks = {"model": model}
        ours = representation is None or not isinstance(representation.network, Wrapped)
        # A module of the user's own may take no other layout than the usual one.
        self.channels_last = ours and not alone
        self.frozen = {} if representation is None else {"network": representation.network}
        self.seed, self.description = seed, description
        self._representation, self.held_out = representation, held_out
        self.validated = 0 if held_out is None else min(_SWEPT, len(held_out))

    def context(self, images: Tensor) -> Tensor | None:
        """What the network makes of images; None without one."""
        return None if self._representation is None else self._representation(images)

    def while_compiled(self) -> AbstractContextManager:
        """The tap that contexts are read by."""
        return nullcontext() if self._representation is None else self._representation.tapped()

    def empty_context(self) -> Tensor | None:
        """A context on the meta device."""
        representation = self._representation
        return None if representation is None else torch.zeros(1, *representation.shape, device="meta")

    def save(self, folder: Path, networks: dict[str, nn.Module]) -> None:
        """Write the model, how to build it again, and the network that its contexts are of."""
        write_tensors(folder / "model.safetensors", networks["model"].state_dict())
        write_json(folder / "model.json", self.description)
        if self._representation is not None and can_be_kept(self._representation.network):
            keep(self._representation.network, folder / KEPT)


class ReconstructionTraining(LayerTask):
    """Train f(h) by least squares, |x - f(h)|^2.

    Args:
        model: trained in place.
        representation: h.
        description: how to build the model again.
        held_out: images that choose the checkpoint; None keeps the last.
        seed: of the run.
    """

    def __init__(
        self,
        model: nn.Module,
        representation: Representation,
        description: dict,
        held_out: ImageSet | None,
        seed: int,
    ):
        super().__init__(model, representation, description, held_out, seed)
        self.criterion = None if held_out is None else Criterion("squared error", larger=False)

    def example(self, image_shape: tuple[int, int, int]) -> dict[str, tuple[Tensor | None, ...]]:
        """A context."""
        return {"model": (self.empty_context(),)}

    def losses(self, turn: str, batch, step: int) -> dict[str, Tensor]:
        """|x - f(h)|^2, a mean over images of the sum over sub-pixels."""
        return {"squared error": squared_error(batch.images, self.networks["model"](self.context(batch.images))).mean()}

    def validate(self, model: nn.Module, sweep: Sweep, step: int) -> dict[str, float]:
        """The same of held-out images."""
        if self.held_out is None:
            return {}

        def of(batch) -> dict[str, Tensor]:
            return {"squared error": squared_error(batch.images, model(self.context(batch.images)))}

        return {
            "squared error": float(
                sweep(self.held_out, of, channels_last=self.channels_last)["squared error"].double().mean()
            )
        }
