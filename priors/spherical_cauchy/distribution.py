"""The spherical Cauchy distribution, as a torch distribution.

The density with respect to the surface measure of the unit sphere in m dimensions, S^(m-1), n = m - 1, is

    p(x) = 1/|S| ((1 - rho^2) / (1 + rho^2 - 2 rho mu.x))^n = p(mu) (1 + (k/n) (1 - mu.x))^-n,

mu a unit vector (`loc`), 0 <= rho < 1 and k = 2 n rho / (1 - rho)^2 (`concentration`): the k of the von Mises-Fisher
distribution that bends as much at its mode. Farther off this one falls more slowly; at fixed k, as m grows, the two
become the same. It is the image of the uniform distribution under a Moebius transformation of the ball (Kato and
McCullagh, "Some properties of a Cauchy family on the sphere derived from the Moebius transformations", Bernoulli 2020;
as a latent distribution Sablica and Hornik, arXiv 2506.21278). "Dimension" is always the ambient one, m.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import register_kl

from priors.errors import InputError
from priors.spherical_cauchy import moments
from priors.spherical_cauchy.moebius import moved
from priors.vmf import bessel
from priors.vmf.about_mean import AboutMean, broadcast_with, concentrations, same_dimension, versine
from priors.vmf.distribution import VonMisesFisher
from priors.vmf.sphere import HypersphericalUniform, require_event


class SphericalCauchy(AboutMean):
    """Spherical Cauchy distributions on the unit sphere in m >= 2 dimensions.

    A batch of mean directions and concentrations, used as `VonMisesFisher` is. `kl_divergence` has a closed form to
    and from the uniform distribution, between two of these, and from these to a von Mises-Fisher distribution.

    Args:
        loc: mean directions mu, unit vectors, float32 or float64 (*batch_1, m).
        concentration: k >= 0, a number or a tensor of the same type (*batch_2); 0 is the uniform distribution. The
            two batch shapes broadcast. Of rho near 1 it loses nothing, see `concentration_of_logit`.
        validate_args: whether to look at the numbers; by default only on the CPU and outside torch.compile.

    Raises:
        InputError: loc is not a batch of unit vectors in at least two dimensions, a concentration is negative,
            infinite or NaN, types differ or are not float32 or float64, devices differ, or shapes do not broadcast.

    Example:
        >>> loc = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, 2.0], [0.0, 3.0, 4.0]]), dim=-1)
        >>> posterior = SphericalCauchy(loc, 5.0)
        >>> posterior.rsample((4,)).shape
        torch.Size([4, 2, 3])
        >>> torch.distributions.kl_divergence(posterior, HypersphericalUniform(3))
        tensor([0.5085, 0.5085])
    """

    law = staticmethod(moved)

    @property
    def rho(self) -> Float[Tensor, "*batch"]:
        """The length of the point of the ball that the centre is moved to, in [0, 1)."""
        root = (1 + self.concentration * (2 / (self._m - 1))).sqrt()
        return self.concentration * (2 / (self._m - 1)) / (1 + root) ** 2

    @property
    def mean_resultant_length(self) -> Float[Tensor, "*batch"]:
        """E mu.x, the norm of the mean, in [0, 1]."""
        return moments.mean_resultant_length(self._m, self.concentration)

    @property
    def variance(self) -> Float[Tensor, "*batch m"]:
        """Variance of each coordinate, E x_i^2 - (E x_i)^2."""
        spread = moments.spread(self._m, self.concentration).unsqueeze(-1)
        deficit = moments.mean_resultant_deficit(self._m, self.concentration).unsqueeze(-1)
        square = self.loc * self.loc
        # E t^2 - A^2 = (1 - A)(1 + A) - E[1 - t^2] along the mean direction; across it m - 1 directions share the rest.
        return square * (deficit * (2 - deficit) - spread) + (1 - square) * (spread / (self._m - 1))

    def log_prob(self, value: Shaped[Tensor, "*shape m"]) -> Float[Tensor, "..."]:
        """Log-density with respect to the surface measure, in nats, accurate for any k in float32 too.

        Computed as n [b - log1p(k |x - mu|^2 / 2n)] - log |S|, with b = log1p(2 k/n) / 2.

        Raises:
            InputError: value is not a batch of vectors in m dimensions, or (when checking) not of unit norm.
        """
        require_event(value, self._m, self._validate_args)
        square = (value - self.loc).square().sum(-1)
        n = self._m - 1
        peak = torch.log1p(self.concentration * (2 / n)) * (n / 2) - bessel.log_sphere_area(self._m)
        return peak - n * torch.log1p(self.concentration * (0.5 / n) * square)

    def kl_to_uniform(self) -> Float[Tensor, "*batch"]:
        """KL to the uniform distribution, in nats."""
        return moments.kl_to_uniform(self._m, self.concentration)


def concentration_of_logit(m: int, logit: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The concentration 2 n rho / (1 - rho)^2 of rho = sigmoid(logit), as encoders give it (arXiv 2506.21278's code).

    With e = exp(logit) it is 2 n e (1 + e), where rho itself would round to 1. Logits are held to at most 30.

    Args:
        m: ambient dimension.
        logit: of rho, any numbers.
    """
    e = logit.clamp_max(30).exp()
    return 2 * (m - 1) * e * (1 + e)


def slope_by_logit(m: int, logit: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Derivative of `concentration_of_logit` in the logit: 2 n e (1 + 2 e), and 0 where logits are held."""
    e = logit.clamp_max(30).exp()
    return 2 * (m - 1) * e * (1 + 2 * e) * (logit <= 30)


@register_kl(SphericalCauchy, HypersphericalUniform)
def _kl_cauchy_uniform(p: SphericalCauchy, q: HypersphericalUniform) -> Tensor:
    same_dimension(p, q)
    return broadcast_with(p.kl_to_uniform(), q)


@register_kl(HypersphericalUniform, SphericalCauchy)
def _kl_uniform_cauchy(p: HypersphericalUniform, q: SphericalCauchy) -> Tensor:
    same_dimension(p, q)
    return broadcast_with(q.kl_to_uniform(), p)


@register_kl(SphericalCauchy, SphericalCauchy)
def _kl_cauchy_cauchy(p: SphericalCauchy, q: SphericalCauchy) -> Tensor:
    """By the hyperbolic distance of the two points of the ball: cosh(b_p - b_q) + sinh b_p sinh b_q (1 - cos)."""
    m = same_dimension(p, q)
    x, y = (one.concentration * (2 / (m - 1)) for one in (p, q))
    roots = (1 + x).sqrt(), (1 + y).sqrt()
    product = roots[0] * roots[1]
    apart = ((x - y) / (roots[0] + roots[1])).square() / product  # 2 [cosh(b_p - b_q) - 1]
    return moments.kl_by_distance(m, 0.25 * apart + 0.125 * (x / roots[0]) * (y / roots[1]) * versine(p, q))


@register_kl(SphericalCauchy, VonMisesFisher)
def _kl_cauchy_vmf(p: SphericalCauchy, q: VonMisesFisher) -> Tensor:
    """E_p log p - log C_m(k_q) - k_q A cos, with the concentration's part as k_q (1 - A) + k_q A (1 - cos)."""
    m, apart = same_dimension(p, q), versine(p, q)
    return moments.cross_to_vmf(m, *concentrations(p, q, apart.shape), apart) - bessel.log_peak_ratio(
        m, q.concentration
    )


@register_kl(VonMisesFisher, SphericalCauchy)
def _kl_vmf_cauchy(p: VonMisesFisher, q: SphericalCauchy) -> Tensor:
    raise InputError(
        "KL of a von Mises-Fisher distribution to a spherical Cauchy one has no closed form: those of a spherical "
        "Cauchy one to it, to the uniform one and to another of its kind have; or average p.log_prob - q.log_prob "
        "over draws of p"
    )
