"""What saliency methods are given: the outputs to explain, with what several methods need found once."""

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float, Int
from torch import Tensor, nn

from analysis.jacobians.decomposition import decompose
from analysis.jacobians.outputs import asked
from analysis.jacobians.terms import Decomposition
from apps.jacobians.explained import Explained
from apps.jacobians.rectifiers import Guided
from priors import ClassifierPrior


@dataclass(frozen=True, eq=False)
class Subject:
    """A batch of images, and the number of each that is explained.

    Attributes:
        network: in evaluation mode, from images in [0, 1] to logits.
        images: on the network's device.
        target: the class of each image.
        of: what is explained, as `analysis.decompose` has it.
        prior: under which, of log-densities.
        seed: of what methods draw: every image gets the same draws, so that how images are batched changes nothing.
    """

    network: nn.Module
    images: Float[Tensor, "batch channels height width"]
    target: Int[Tensor, " batch"]
    of: str = "logit"
    prior: ClassifierPrior | None = None
    seed: int = 0

    @cached_property
    def decomposition(self) -> Decomposition:
        """With the maps of its terms; made when it is first asked for, and once.

        Raises:
            InputError: as for `analysis.decompose`.
        """
        return decompose(self.network, self.images, self.target, of=self.of, prior=self.prior, keep="maps")

    def explained(self, guided: Guided | None = None) -> Explained:
        """The number as a module, from images and classes.

        Args:
            guided: under which the network runs, if any.

        Raises:
            InputError: a prior of another network.
        """
        return Explained(self.network, asked(self.network, self.images, self.of, self.prior, None), guided)
