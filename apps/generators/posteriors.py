"""The posteriors that hyperspherical variational autoencoders can have: q(z|x) about the direction an encoder gives."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from priors import SphericalCauchy, VonMisesFisher
from priors.errors import unknown
from priors.spherical_cauchy.distribution import concentration_of_logit, slope_by_logit
from priors.vmf.about_mean import AboutMean
from priors.vmf.constants import transforming


@dataclass(frozen=True)
class Posterior:
    """A family of distributions, and how an encoder's output becomes a member."""

    family: type[AboutMean]
    concentration: Callable[[int, Tensor], Tensor]
    """From the ambient dimension and any numbers."""
    slope: Callable[[int, Tensor], Tensor]
    """Its derivative in those numbers."""

    def of(self, parameters: Float[Tensor, "*batch one_more"]) -> AboutMean:
        """The distributions in m dimensions that m + 1 numbers each give: a direction of any length, and one of any."""
        simple = torch.compiler.is_compiling() or transforming()
        loc, concentration = _parts(self, parameters) if simple else _Parts.apply(parameters, self)
        return self.family(loc, concentration, validate_args=False)


def _parts(posterior: Posterior, parameters: Tensor) -> tuple[Tensor, Tensor]:
    m = parameters.shape[-1] - 1
    return F.normalize(parameters[..., :m], dim=-1), posterior.concentration(m, parameters[..., m])


class _Parts(torch.autograd.Function):
    """Mean directions and concentrations, with their gradients written beside each other: half of autograd's steps."""

    @staticmethod
    def forward(ctx, parameters: Tensor, posterior: Posterior) -> tuple[Tensor, Tensor]:
        m = parameters.shape[-1] - 1
        direction = parameters[..., :m]
        length = torch.linalg.vector_norm(direction, dim=-1, keepdim=True).clamp_min_(1e-12)  # as in `normalize`
        loc = direction / length
        ctx.posterior = posterior
        ctx.save_for_backward(parameters, loc, length)
        return loc, posterior.concentration(m, parameters[..., m])

    @staticmethod
    def backward(ctx, by_loc: Tensor, by_concentration: Tensor):
        parameters, loc, length = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            parts = _parts(ctx.posterior, parameters)
            return *torch.autograd.grad(parts, parameters, (by_loc, by_concentration), create_graph=True), None
        m = loc.shape[-1]
        grad = torch.empty_like(parameters)
        along = (by_loc * loc).sum(-1, keepdim=True)
        torch.addcmul(by_loc, loc, along, value=-1, out=grad[..., :m]).div_(length)
        torch.mul(by_concentration, ctx.posterior.slope(m, parameters[..., m]), out=grad[..., m])
        return grad, None


def _one_and_more(m: int, scale: Tensor) -> Tensor:
    return F.softplus(scale).add_(1)


def _slope_of_more(m: int, scale: Tensor) -> Tensor:
    return torch.sigmoid(scale)


POSTERIORS = {
    # kappa = 1 + softplus(.), as the S-VAE has it
    "vmf": Posterior(VonMisesFisher, _one_and_more, _slope_of_more),
    # rho = sigmoid(.), as the code of arXiv 2506.21278 has it
    "spherical-cauchy": Posterior(SphericalCauchy, concentration_of_logit, slope_by_logit),
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
