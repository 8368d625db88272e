"""The number that is explained, as a module: what Captum is given."""

from contextlib import nullcontext

from torch import Tensor, nn

from analysis.jacobians.outputs import Asked
from apps.jacobians.rectifiers import Guided
from priors.reading.taps import tap


class Explained(nn.Module):
    """From images and classes to one number an image, as `analysis.jacobians.decomposition.decompose` has it.

    Args:
        network: from images to logits.
        asked: what the number is.
        guided: under which the network runs, if any.
    """

    def __init__(self, network: nn.Module, asked: Asked, guided: Guided | None = None):
        super().__init__()
        self.network = network
        self._asked, self._guided = asked, guided

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """One number an image; images may be copies of those that classes are of, one after the other."""
        site = self._asked.tap
        with self._guided or nullcontext(), tap(self.network, [] if site is None else [site]) as taps:
            scores = self.network(images)
        if site is not None:
            scores = taps[site]
        if self._guided is not None:
            self._guided.check(scores)
        if site is not None:
            scores = self._asked.prior.log_prob(scores)
        return self._asked.chosen(scores, target)[0]
