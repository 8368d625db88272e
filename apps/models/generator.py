"""What every generator offers: sampling, scoring and drawing know no more of one than this."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from priors.model.classifier_prior import ClassifierPrior

GENERATOR = "a generator"
"""What kinds of model are called that are one; see `apps.models.registry`."""


class Generator(nn.Module, ABC):
    """A model that draws images, of a class where it is conditional.

    Attributes:
        variant: what the model is called on the command line.
        title: what it is called in tables.
        conditional: whether it draws images of a class.
        image_shape: (channels, height, width).
        class_names: of the labels, in order.
    """

    variant: str
    title: str
    conditional: bool = True
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]

    @abstractmethod
    def description(self) -> dict:
        """How to build this model again, JSON-able; the weights are apart."""

    def class_prior(self) -> ClassifierPrior | None:
        """What the latents of a class are drawn from, as it is now; None where they are the same for all classes."""
        return None

    @abstractmethod
    def generate(
        self,
        labels: Int[Tensor, " batch"] | Sequence[int | str],
        generator: torch.Generator | None = None,
        concentration: float | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """Images in [0, 1], one a label, without a graph of what they are made of.

        Args:
            labels: (N,), of the classes to draw, by number, or by numbers and names in a list, such as [3] * 8 or
                ["cat", "dog"]; an unconditional model draws as many images. On any device.
            generator: of the draws, on any device; None: torch's own.
            concentration: of the class prior instead of its own: larger means more typical images, less variety. Only
                where the latents come from a class prior.

        Raises:
            InputError: a label that is out of range or no class's name (the nearest is offered), labels of another
                shape, a generator that is none, or a concentration that is none or for nothing.
        """
