"""The von Mises-Fisher distribution and the uniform distribution on the sphere, as torch distributions.

The density with respect to the surface measure of the unit sphere in m dimensions, S^(m-1), is

    p(x) = C_m(k) exp(k mu.x),        C_m(k) = k^(m/2-1) / ((2 pi)^(m/2) I_{m/2-1}(k)),

mu a unit vector (`loc`) and k >= 0 (`concentration`). "Dimension" is always the ambient one, m.
"""

from numbers import Real
from operator import index

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl

from priors.checks.draws import require_generator
from priors.checks.draws import sample_shape as as_shape
from priors.errors import InputError
from priors.vmf import bessel
from priors.vmf.divergence import kl_between
from priors.vmf.sphere import FLOATS, HypersphericalUniform, require_event, require_unit, show, unit_sphere, validates
from priors.vmf.transport import rsample


def _require_concentration(concentration: Tensor) -> None:
    if concentration.numel() == 0:
        return
    low, high = map(float, concentration.detach().aminmax())
    if not (low >= 0 and high < float("inf")):
        found = "NaN" if low != low else f"values between {low:.6g} and {high:.6g}"
        raise InputError(
            f"concentration has {found}: give finite numbers of at least 0, as by torch.nn.functional.softplus"
        )


class VonMisesFisher(Distribution):
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

    arg_constraints = {"loc": unit_sphere, "concentration": constraints.nonnegative}
    support = unit_sphere
    has_rsample = True

    def __init__(
        self,
        loc: Shaped[Tensor, "*batch_1 m"],
        concentration: Shaped[Tensor, "*batch_2"] | float | int,
        validate_args: bool | None = None,
    ):
        if not isinstance(loc, Tensor) or loc.dtype not in FLOATS:
            given = getattr(loc, "dtype", type(loc).__name__)
            raise InputError(f"loc is {given}: give a tensor of float32 or float64, as by loc.float()")
        if loc.ndim == 0 or loc.shape[-1] < 2:
            raise InputError(f"loc of shape {show(loc.shape)}: its last dimension, the ambient one, must be at least 2")
        if isinstance(concentration, Real):
            concentration = torch.full((), float(concentration), dtype=loc.dtype, device=loc.device)
        elif not isinstance(concentration, Tensor) or concentration.dtype != loc.dtype:
            given = getattr(concentration, "dtype", type(concentration).__name__)
            raise InputError(
                f"concentration is {given}, loc {loc.dtype}: give both one type, as by concentration.to(loc.dtype)"
            )
        if concentration.device != loc.device:
            raise InputError(
                f"concentration is on {concentration.device}, loc on {loc.device}: bring both to one device, as by "
                "concentration.to(loc.device)"
            )
        batch = loc.shape[:-1]
        if concentration.shape != batch:
            try:
                batch = torch.broadcast_shapes(batch, concentration.shape)
            except RuntimeError:
                raise InputError(
                    f"loc of shape {show(loc.shape)} and concentration of shape {show(concentration.shape)}: "
                    f"the concentration must broadcast with {show(batch)}, loc's shape without its last dimension"
                ) from None
        validate = validates(validate_args, loc)
        if validate:
            require_unit(loc, "loc")
            _require_concentration(concentration)
        self.loc = loc if loc.shape[:-1] == batch else loc.expand(*batch, -1)
        self.concentration = concentration if concentration.shape == batch else concentration.expand(batch)
        super().__init__(batch, loc.shape[-1:], validate_args=False)
        self._validate_args = validate

    def expand(self, batch_shape, _instance=None) -> "VonMisesFisher":
        """The same distributions, broadcast to a larger batch shape, without copying."""
        new = self._get_checked_instance(VonMisesFisher, _instance)
        batch_shape = torch.Size(batch_shape)
        new.loc = self.loc.expand(batch_shape + self.event_shape)
        new.concentration = self.concentration.expand(batch_shape)
        super(VonMisesFisher, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def _m(self) -> int:
        return index(self._event_shape[0])  # static, also where a compiler made the shape symbolic

    @property
    def mean_resultant_length(self) -> Float[Tensor, "*batch"]:
        """A_m(k) = E mu.x, the norm of the mean, in [0, 1)."""
        return bessel.mean_resultant_length(self._m, self.concentration)

    @property
    def mean(self) -> Float[Tensor, "*batch m"]:
        """E x = A_m(k) mu, inside the ball: not itself a unit vector."""
        return self.mean_resultant_length.unsqueeze(-1) * self.loc

    @property
    def mode(self) -> Float[Tensor, "*batch m"]:
        """The direction of highest density, mu."""
        return self.loc

    @property
    def variance(self) -> Float[Tensor, "*batch m"]:
        """Variance of each coordinate, E x_i^2 - (E x_i)^2.

        The diagonal of the covariance A'(k) mu mu^T + A(k)/k (I - mu mu^T).
        """
        along = bessel.mean_resultant_slope(self._m, self.concentration).unsqueeze(-1)
        across = bessel.transverse_variance(self._m, self.concentration).unsqueeze(-1)
        square = self.loc * self.loc
        return torch.addcmul(along * square, across, 1 - square)

    def rsample(self, sample_shape=(), generator: torch.Generator | None = None) -> Float[Tensor, "*shape m"]:
        """Unit vectors (*sample_shape, *batch, m), reparameterised: differentiable in loc and concentration.

        Raises:
            InputError: a shape that is none (a number n means (n,)), or a generator that is none.
        """
        if not torch.compiler.is_compiling():
            require_generator(generator)
            sample_shape = as_shape(sample_shape)
        shape = torch.Size(sample_shape) + self._batch_shape
        return rsample(self.loc.expand(shape + self._event_shape), self.concentration.expand(shape), generator)

    def sample(self, sample_shape=(), generator: torch.Generator | None = None) -> Float[Tensor, "*shape m"]:
        """Unit vectors (*sample_shape, *batch, m), without gradient."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator)

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

    def entropy(self) -> Float[Tensor, "*batch"]:
        """Differential entropy with respect to the surface measure, in nats: log |S| - KL(self || uniform)."""
        return bessel.log_sphere_area(self._m) - bessel.kl_to_uniform(self._m, self.concentration)


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


def _require_same_dimension(p: Distribution, q: Distribution) -> int:
    if p.event_shape != q.event_shape:
        raise InputError(
            f"divergence of spheres in {p.event_shape[0]} and {q.event_shape[0]} dimensions: give two of one"
        )
    return index(p.event_shape[0])


def _broadcast(value: Tensor, q: Distribution) -> Tensor:
    shape = torch.broadcast_shapes(value.shape, q.batch_shape)
    return value if shape == value.shape else value.expand(shape)


@register_kl(VonMisesFisher, HypersphericalUniform)
def _kl_vmf_uniform(p: VonMisesFisher, q: HypersphericalUniform) -> Tensor:
    m = _require_same_dimension(p, q)
    return _broadcast(bessel.kl_to_uniform(m, p.concentration), q)


@register_kl(VonMisesFisher, VonMisesFisher)
def _kl_vmf_vmf(p: VonMisesFisher, q: VonMisesFisher) -> Tensor:
    """Divergence of the concentrations, plus k_q A(k_p) (1 - cos), with 1 - cos = |mu_p - mu_q|^2 / 2: none cancels."""
    m = _require_same_dimension(p, q)
    versine = 0.5 * (p.loc - q.loc).square().sum(-1)
    return kl_between(m, p.concentration.expand(versine.shape), q.concentration.expand(versine.shape), versine)


@register_kl(HypersphericalUniform, VonMisesFisher)
def _kl_uniform_vmf(p: HypersphericalUniform, q: VonMisesFisher) -> Tensor:
    m = _require_same_dimension(p, q)
    return _broadcast(bessel.log_normaliser_ratio(m, q.concentration), p)


@register_kl(HypersphericalUniform, HypersphericalUniform)
def _kl_uniform_uniform(p: HypersphericalUniform, q: HypersphericalUniform) -> Tensor:
    _require_same_dimension(p, q)
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    return torch.zeros(shape, dtype=p.dtype, device=p.device)
