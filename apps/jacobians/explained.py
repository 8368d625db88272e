"""The number that is explained, as a module: what Captum is given."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from apps.jacobians.rectifiers import Guided
from priors.errors import InputError


class Explained(nn.Module):
    """From images and classes to one number an image: the logit of the class, or its margin over the others.

    Args:
        network: from images to logits.
        of: "logit" or "margin".
        guided: under which the network runs, if any.
    """

    def __init__(self, network: nn.Module, of: str = "logit", guided: Guided | None = None):
        super().__init__()
        self.network = network
        self._of, self._guided = of, guided

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """One number an image; images may be copies of those that classes are of, one after the other."""
        with self._guided or nullcontext():
            logits = self.network(images)
        if self._guided is not None:
            self._guided.check(logits)
        return chosen(logits, target, self._of)


def chosen(logits: Tensor, target: Tensor, of: str) -> Tensor:
    """The logit of a class for each image, or its margin over the largest other.

    Raises:
        InputError: another number of outputs than classes were given for, or an unknown kind.
    """
    logit = logits.gather(1, target[:, None])[:, 0]
    if of == "logit":
        return logit
    if of != "margin":
        raise InputError(f"{of!r} cannot be explained by Captum's methods: logit or margin was expected")
    others = logits.detach().scatter(1, target[:, None], -torch.inf).argmax(1, keepdim=True)
    return logit - logits.gather(1, others)[:, 0]
