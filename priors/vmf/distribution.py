"""The von Mises-Fisher distribution and the uniform distribution on the sphere, as torch distributions.

The density with respect to the surface measure of the unit sphere in m dimensions, S^(m-1), is

    p(x) = C_m(k) exp(k mu.x),        C_m(k) = k^(m/2-1) / ((2 pi)^(m/2) I_{m/2-1}(k)),

mu a unit vector (`loc`) and k >= 0 (`concentration`). "Dimension" is always the ambient one, m.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import register_kl

from priors.vmf import bessel
from priors.vmf.about_mean import AboutMean, broadcast_with, concentrations, same_dimension, versine
from priors.vmf.cosine import von_mises_fisher
from priors.vmf.divergence import kl_between
from priors.vmf.sphere import HypersphericalUniform, require_event


class VonMisesFisher(AboutMean):
    """Von Mises-Fisher distributions on the unit sphere in m >= 2 dimensions.

    A batch of mean directions and concentrations. Values are checked by default only on the CPU and outside
    torch.compile; `validate_args=True` always checks (and waits for the device), False never. Types and shapes are
    always checked. Gradients with respect to `loc` are those along the sphere; off it they are unspecified.

    Args:
        loc: mean directions mu, unit vectors, float32 or float64 (*batch_1, m).
        concentration: k >= 0, a number or a tensor of the same type (*batch_2); 0 is the uniform distribution. The
            two batch shapes broadcast.
        validate_args: see above.

    Raises:
        InputError: loc is not a batch of unit vectors in at least two dimensions, a concentration is negative,
            infinite or NaN, types differ or are not float32 or float64, devices differ, or shapes do not broadcast.

    Example:
        >>> loc = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, 2.0], [0.0, 3.0, 4.0]]), dim=-1)
        >>> posterior = VonMisesFisher(loc, 5.0)
        >>> posterior.rsample((4,)).shape
        torch.Size([4, 2, 3])
        >>> torch.distributions.kl_divergence(posterior, HypersphericalUniform(3))
        tensor([1.3031, 1.3031])
    """

    law = staticmethod(von_mises_fisher)

    @property
    def mean_resultant_length(self) -> Float[Tensor, "*batch"]:
        """A_m(k) = E mu.x, the norm of the mean, in [0, 1)."""
        return bessel.mean_resultant_length(self._m, self.concentration)

    @property
    def variance(self) -> Float[Tensor, "*batch m"]:
        """Variance of each coordinate, E x_i^2 - (E x_i)^2.

        The diagonal of the covariance A'(k) mu mu^T + A(k)/k (I - mu mu^T).
        """
        along = bessel.mean_resultant_slope(self._m, self.concentration).unsqueeze(-1)
        across = bessel.transverse_variance(self._m, self.concentration).unsqueeze(-1)
        square = self.loc * self.loc
        return torch.addcmul(along * square, across, 1 - square)

    def log_prob(self, value: Shaped[Tensor, "*shape m"]) -> Float[Tensor, "..."]:
        """Log-density with respect to the surface measure, in nats, accurate for any k in float32 too.

        Computed as (k + log C_m(k)) - k |x - mu|^2 / 2.

        Raises:
            InputError: value is not a batch of vectors in m dimensions, or (when checking) not of unit norm.
        """
        require_event(value, self._m, self._validate_args)
        square = (value - self.loc).square().sum(-1)
        peak = bessel.log_peak_ratio(self._m, self.concentration) - bessel.log_sphere_area(self._m)
        return peak - 0.5 * self.concentration * square

    def kl_to_uniform(self) -> Float[Tensor, "*batch"]:
        """KL to the uniform distribution, in nats."""
        return bessel.kl_to_uniform(self._m, self.concentration)


def log_densities(
    directions: Float[Tensor, "*batch m"], loc: Float[Tensor, "n m"], concentration: Float[Tensor, " n"]
) -> Float[Tensor, "*batch n"]:
    """log vMF of unit vectors under n distributions at once, in nats, by one matrix product.

    Its rounding is magnified by the concentration: where that is large, `VonMisesFisher.log_prob` is more accurate.
    """
    return concentration * (directions @ loc.T - 1) + log_peaks(loc.shape[1], concentration)


def log_peaks(m: int, concentration: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Log-densities at the mean directions, k + log C_m(k), in nats."""
    return bessel.log_peak_ratio(m, concentration) - bessel.log_sphere_area(m)


@register_kl(VonMisesFisher, HypersphericalUniform)
def _kl_vmf_uniform(p: VonMisesFisher, q: HypersphericalUniform) -> Tensor:
    same_dimension(p, q)
    return broadcast_with(p.kl_to_uniform(), q)


@register_kl(VonMisesFisher, VonMisesFisher)
def _kl_vmf_vmf(p: VonMisesFisher, q: VonMisesFisher) -> Tensor:
    """Divergence of the concentrations, plus k_q A(k_p) (1 - cos)."""
    m, apart = same_dimension(p, q), versine(p, q)
    return kl_between(m, *concentrations(p, q, apart.shape), apart)


@register_kl(HypersphericalUniform, VonMisesFisher)
def _kl_uniform_vmf(p: HypersphericalUniform, q: VonMisesFisher) -> Tensor:
    m = same_dimension(p, q)
    return broadcast_with(bessel.log_normaliser_ratio(m, q.concentration), p)


@register_kl(HypersphericalUniform, HypersphericalUniform)
def _kl_uniform_uniform(p: HypersphericalUniform, q: HypersphericalUniform) -> Tensor:
    same_dimension(p, q)
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    return torch.zeros(shape, dtype=p.dtype, device=p.device)
