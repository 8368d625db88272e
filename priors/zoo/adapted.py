"""A network whose head is no `torch.nn.Linear`, told in two methods: what the head is given, and what it gives."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from priors.errors import InputError, reason
from priors.reading.affine_head import AffineHead
from priors.reading.heads import read_head


class Adapted(nn.Module, ABC):
    """A network that ends with a 1x1 convolution, cosines or any other function that is affine in its activations.

    A subclass says in `activations` what the penultimate activations are and in `logits` what the head makes of them,
    by the modules of the network that it is given, which is `network`. What it then is, is a module with a final
    linear layer called `head`: `priors.zoo.wrap`, `ClassifierPrior.from_classifier`, training and the command line
    (`import:package.module:factory`) take it like any other. Its weights are those of the network; what is trained by
    `head.weight` is them.

    Args:
        network: any module that holds the weights.
        width: m, how many penultimate activations an image has.

    Attributes:
        network: the module.
        head: the final layer; its `weight` and `bias` are what `logits` does.

    Raises:
        InputError: `logits` cannot be called with activations (N, m), gives no logits (N, classes), or something else
            than weight . a + bias.

    Example:
        >>> import torch
        >>> class Cosine(Adapted):
        ...     def activations(self, images):
        ...         return nn.functional.normalize(images.flatten(1))
        ...     def logits(self, activations):
        ...         return 16 * nn.functional.linear(activations, nn.functional.normalize(self.network.weight))
        >>> network = Cosine(nn.Linear(4, 3), width=4)
        >>> network(torch.rand(2, 1, 2, 2)).shape, network.head.weight.norm(dim=1).round().tolist()
        (torch.Size([2, 3]), [16.0, 16.0, 16.0])
    """

    def __init__(self, network: nn.Module, width: int):
        super().__init__()
        self.network = network
        kind = type(self).__name__
        try:
            self.head = AffineHead(self, "logits", width)
            read_head(self.head)  # refuses what is not affine
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:  # of the user's own code
            if isinstance(error, InputError):
                raise InputError(f"{kind}.logits: {error}") from None
            raise InputError(
                f"{kind}.logits cannot be called with activations of shape (N, {width}): {reason(error)}"
            ) from error

    @abstractmethod
    def activations(self, images: Tensor) -> Float[Tensor, "batch m"]:
        """The penultimate activations of images as the network takes them, one vector an image."""

    @abstractmethod
    def logits(self, activations: Float[Tensor, "batch m"]) -> Float[Tensor, "batch classes"]:
        """Logits, affine in the activations."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images.

        Raises:
            InputError: `activations` gives something else than a vector of the width for each image.
        """
        activations = self.activations(images)
        expected = (len(images), self.head.in_features)
        if activations.shape != expected:
            raise InputError(
                f"{type(self).__name__}.activations gives {tuple(activations.shape)} for {len(images)} images: "
                f"{expected}, as width says, was expected"
            )
        return self.head(activations)
