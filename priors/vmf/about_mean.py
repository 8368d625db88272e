"""What distributions that are symmetric about a mean direction share: all but the law of the cosine."""

from abc import abstractmethod
from numbers import Real
from operator import index

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import Distribution, constraints

from priors.checks.draws import require_generator
from priors.checks.draws import sample_shape as as_shape
from priors.errors import InputError
from priors.vmf.bessel import log_sphere_area
from priors.vmf.constants import transforming
from priors.vmf.sphere import FLOATS, require_unit, show, unit_sphere, validates
from priors.vmf.transport import Law, rsample


def _require_concentration(concentration: Tensor) -> None:
    if concentration.numel() == 0:
        return
    low, high = map(float, concentration.detach().aminmax())
    if not (low >= 0 and high < float("inf")):
        found = "NaN" if low != low else f"values between {low:.6g} and {high:.6g}"
        raise InputError(
            f"concentration has {found}: give finite numbers of at least 0, as by torch.nn.functional.softplus"
        )


class AboutMean(Distribution):
    """Distributions on the unit sphere in m >= 2 dimensions by a mean direction `loc` and a `concentration`.

    Of the cosine mu.x each of them says its `law`, with respect to which draws are transported, and its mean.

    Args:
        loc: mean directions mu, unit vectors, float32 or float64 (*batch_1, m).
        concentration: k >= 0, a number or a tensor of the same type (*batch_2).
        validate_args: whether to look at the numbers; see the distributions themselves.

    Raises:
        InputError: loc is not a batch of unit vectors in at least two dimensions, a concentration is negative,
            infinite or NaN, types differ or are not float32 or float64, devices differ, or shapes do not broadcast.
    """

    law: Law

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

    def expand(self, batch_shape, _instance=None) -> "AboutMean":
        """The same distributions, broadcast to a larger batch shape, without copying."""
        new = self._get_checked_instance(type(self), _instance)
        batch_shape = torch.Size(batch_shape)
        new.loc = self.loc.expand(batch_shape + self.event_shape)
        new.concentration = self.concentration.expand(batch_shape)
        super(AboutMean, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def _m(self) -> int:
        return index(self._event_shape[0])  # static, also where a compiler made the shape symbolic

    @property
    @abstractmethod
    def mean_resultant_length(self) -> Float[Tensor, "*batch"]:
        """E mu.x, the norm of the mean, in [0, 1)."""

    @abstractmethod
    def kl_to_uniform(self) -> Float[Tensor, "*batch"]:
        """KL to the uniform distribution, in nats."""

    @property
    def mean(self) -> Float[Tensor, "*batch m"]:
        """E x, the mean resultant length times mu, inside the ball: not itself a unit vector."""
        return self.mean_resultant_length.unsqueeze(-1) * self.loc

    @property
    def mode(self) -> Float[Tensor, "*batch m"]:
        """The direction of highest density, mu."""
        return self.loc

    def rsample(self, sample_shape=(), generator: torch.Generator | None = None) -> Float[Tensor, "*shape m"]:
        """Unit vectors (*sample_shape, *batch, m), reparameterised: differentiable in loc and concentration.

        Raises:
            InputError: a shape that is none (a number n means (n,)), or a generator that is none.
        """
        if not torch.compiler.is_compiling():
            require_generator(generator)
            sample_shape = as_shape(sample_shape)
        shape = torch.Size(sample_shape) + self._batch_shape
        return rsample(
            self.loc.expand(shape + self._event_shape), self.concentration.expand(shape), generator, self.law
        )

    def sample(self, sample_shape=(), generator: torch.Generator | None = None) -> Float[Tensor, "*shape m"]:
        """Unit vectors (*sample_shape, *batch, m), without gradient."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator)

    def entropy(self) -> Float[Tensor, "*batch"]:
        """Differential entropy with respect to the surface measure, in nats: log |S| - KL(self || uniform)."""
        return log_sphere_area(self._m) - self.kl_to_uniform()


def same_dimension(p: Distribution, q: Distribution) -> int:
    """The ambient dimension of both, or an error."""
    if p.event_shape != q.event_shape:
        raise InputError(
            f"divergence of spheres in {p.event_shape[0]} and {q.event_shape[0]} dimensions: give two of one"
        )
    return index(p.event_shape[0])


def versine(p: AboutMean, q: AboutMean) -> Float[Tensor, "*batch"]:
    """1 - cos of the angle between the mean directions, as |mu_p - mu_q|^2 / 2: nothing cancels."""
    if torch.compiler.is_compiling() or transforming():
        return 0.5 * (p.loc - q.loc).square().sum(-1)
    return _Versine.apply(p.loc, q.loc)


class _Versine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
        apart = a - b
        ctx.save_for_backward(a, b, apart)
        return (apart * apart).sum(-1).mul_(0.5)

    @staticmethod
    def backward(ctx, grad: Tensor):
        a, b, apart = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            apart = a - b
        by_a = grad.unsqueeze(-1) * apart
        by_b = (-by_a).sum_to_size(b.shape) if ctx.needs_input_grad[1] else None
        return by_a.sum_to_size(a.shape), by_b


def concentrations(p: AboutMean, q: AboutMean, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Those of both in one shape; what has it already is not expanded, which would be a step of the backward pass."""
    k, r = (k if k.shape == shape else k.expand(shape) for k in (p.concentration, q.concentration))
    return k, r


def broadcast_with(value: Tensor, q: Distribution) -> Tensor:
    """Divergences, one for each member of q's batch too."""
    shape = torch.broadcast_shapes(value.shape, q.batch_shape)
    return value if shape == value.shape else value.expand(shape)
