"""The posteriors that hyperspherical variational autoencoders can have: q(z|x) about the direction an encoder gives."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from priors import SphericalCauchy, VonMisesFisher
from priors.errors import unknown
from priors.spherical_cauchy import concentration_of_logit
from priors.vmf.about_mean import AboutMean


@dataclass(frozen=True)
class Posterior:
    """A family of distributions, and how an encoder's output becomes a member."""

    family: type[AboutMean]
    concentration: Callable[[int, Tensor], Tensor]
    """From the ambient dimension and any numbers."""

    def of(self, direction: Tensor, scale: Tensor) -> AboutMean:
        """The distributions of directions (*batch, m) of any length and numbers (*batch)."""
        concentration = self.concentration(direction.shape[-1], scale)
        return self.family(F.normalize(direction, dim=-1), concentration, validate_args=False)


def _one_and_more(m: int, scale: Tensor) -> Tensor:
    return 1 + F.softplus(scale)


POSTERIORS = {
    # kappa = 1 + softplus(.), as the S-VAE has it
    "vmf": Posterior(VonMisesFisher, _one_and_more),
    # rho = sigmoid(.), as the code of arXiv 2506.21278 has it
    "spherical-cauchy": Posterior(SphericalCauchy, concentration_of_logit),
}
"""By what `--posterior` calls them."""


def posterior_of(name: str) -> Posterior:
    """The posterior of a name.

    Raises:
        InputError: there is none.
    """
    if name not in POSTERIORS:
        raise unknown("posterior", name, POSTERIORS)
    return POSTERIORS[name]
