"""The unit sphere in m dimensions, S^(m-1), and the uniform distribution on it.

"Dimension" is always the ambient one, m.
"""

from operator import index

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from priors.checks.draws import gaussians, require_generator
from priors.checks.draws import sample_shape as as_shape
from priors.errors import InputError, shown
from priors.vmf import bessel

FLOATS = (torch.float32, torch.float64)
# How far a norm may be from one; generous to vectors that were normalised in float32.
_UNIT_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}


class _UnitSphere(Constraint):
    """Vectors of norm one."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (torch.linalg.vector_norm(value, dim=-1) - 1).abs() <= _UNIT_TOLERANCE.get(value.dtype, 1e-2)


unit_sphere = _UnitSphere()


def validates(asked: bool | None, tensor: Tensor) -> bool:
    """Whether to look at the numbers: by default only where that waits for no accelerator and breaks no graph."""
    if asked is not None:
        return asked
    return Distribution._validate_args and tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def require_unit(vectors: Tensor, what: str) -> None:
    """Refuse vectors that are not of norm one; waits for the device."""
    if vectors.numel() == 0:
        return
    low, high = map(float, torch.linalg.vector_norm(vectors.detach(), dim=-1).aminmax())
    tolerance = _UNIT_TOLERANCE[vectors.dtype]
    if not (abs(low - 1) <= tolerance and abs(high - 1) <= tolerance):
        raise InputError(
            f"{what} has norms between {low:.6g} and {high:.6g}: "
            f"give unit vectors, as by torch.nn.functional.normalize({what}, dim=-1)"
        )


def show(sizes) -> str:
    """A shape as Python writes it."""
    return "(" + ", ".join(map(str, sizes)) + ("," if len(sizes) == 1 else "") + ")"


def require_event(value: Tensor, m: int, validate: bool) -> None:
    """Refuse what is no batch of vectors in m dimensions and, if asked to look, of norm one."""
    if value.ndim == 0 or value.shape[-1] != m:
        raise InputError(
            f"value of shape {show(value.shape)}: its last dimension must be {m}, the distribution's ambient one"
        )
    if value.dtype not in FLOATS:
        raise InputError(f"value is {value.dtype}: give float32 or float64, for example value.float()")
    if validate:
        require_unit(value, "value")


def slerp(
    start: Float[Tensor, "*batch m"], end: Float[Tensor, "*batch_2 m_2"], fractions: Float[Tensor, " steps"]
) -> Float[Tensor, "*batch steps m"]:
    """Points on the great circle from `start` to `end`, the shorter way, at fractions of the angle between them.

    With t the unit tangent at `start` towards `end` and omega the angle: cos(f omega) start + sin(f omega) t, which
    keeps its digits where the two nearly meet, and where sin(omega), the usual divisor, vanishes. Equal ends give one
    point throughout. Antipodal ends have no shorter way: theirs goes by the coordinate axis that `start` is farthest
    from (of several, the first).

    Args:
        start: unit vectors.
        end: likewise, as many and of the same type.
        fractions: 0 is `start` and 1 is `end`, each returned as it was given.

    Raises:
        InputError: shapes or types that differ, or (on the CPU) vectors that are not of norm one.

    Example:
        >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.linspace(0, 1, 3))
        tensor([[1.0000, 0.0000],
                [0.7071, 0.7071],
                [0.0000, 1.0000]])
    """
    if start.shape != end.shape or start.dtype != end.dtype:
        raise InputError(
            f"a great circle from {start.dtype} {show(start.shape)} to {end.dtype} {show(end.shape)}: "
            "give as many starts as ends, of one type"
        )
    for what, vectors in (("start", start), ("end", end)):
        require_event(vectors, start.shape[-1], False)
        if validates(None, vectors):
            require_unit(vectors, what)
    angle = 2 * torch.atan2((end - start).norm(dim=-1), (end + start).norm(dim=-1))[..., None, None]
    axis = torch.nn.functional.one_hot(start.abs().argmin(-1), start.shape[-1]).to(start)
    towards = _across(start, end)
    # Rounding leaves of equal or antipodal ends a tangent that is noise, no longer than a few units in the last place.
    some = towards.norm(dim=-1, keepdim=True) > 8 * torch.finfo(start.dtype).eps
    tangent = torch.nn.functional.normalize(torch.where(some, towards, _across(start, axis)), dim=-1)
    tangent = torch.nn.functional.normalize(_across(start, tangent), dim=-1).unsqueeze(-2)
    f = fractions.to(start)[:, None]
    points = torch.cos(f * angle) * start.unsqueeze(-2) + torch.sin(f * angle) * tangent
    points = torch.where(f == 1, end.unsqueeze(-2), torch.nn.functional.normalize(points, dim=-1))
    return torch.where(f == 0, start.unsqueeze(-2), points)


def _across(start: Tensor, vectors: Tensor) -> Tensor:
    """What of `vectors` is at a right angle to `start`."""
    return vectors - (vectors * start).sum(-1, keepdim=True) * start


class HypersphericalUniform(Distribution):
    """Uniform distribution on the unit sphere in `dim` dimensions.

    Args:
        dim: the ambient dimension m >= 2: the sphere is S^(m-1).
        batch_shape: shape of a batch of identical distributions.
        dtype: of samples and log-densities; torch's default type if None.
        device: where they live; torch's default device if None.
        validate_args: whether `log_prob` looks at the norms of its argument; by default only on the CPU and outside
            torch.compile.

    Raises:
        InputError: dim is not an integer of at least 2, or dtype not float32 or float64.
    """

    arg_constraints = {}
    support = unit_sphere
    has_rsample = True

    def __init__(
        self,
        dim: int,
        batch_shape: tuple[int, ...] = (),
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        validate_args: bool | None = None,
    ):
        if not isinstance(dim, int) or isinstance(dim, bool) or dim < 2:
            raise InputError(f"dimension {shown(dim)}: give the ambient one, an integer of at least 2 (the circle)")
        self.dtype = dtype if dtype is not None else torch.get_default_dtype()
        self.device = device
        if self.dtype not in FLOATS:
            raise InputError(f"dtype {self.dtype}: give torch.float32 or torch.float64")
        super().__init__(torch.Size(batch_shape), torch.Size((dim,)), validate_args=False)
        self._asked = validate_args

    def expand(self, batch_shape, _instance=None) -> "HypersphericalUniform":
        """The same distribution with another batch shape."""
        new = self._get_checked_instance(HypersphericalUniform, _instance)
        new.dtype, new.device, new._asked = self.dtype, self.device, self._asked
        super(HypersphericalUniform, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        return new

    @property
    def mean(self) -> Float[Tensor, "*batch m"]:
        """E x = 0."""
        return torch.zeros(self._extended_shape(), dtype=self.dtype, device=self.device)

    @property
    def variance(self) -> Float[Tensor, "*batch m"]:
        """Variance of each coordinate, 1/m."""
        return torch.full(self._extended_shape(), 1 / self._event_shape[0], dtype=self.dtype, device=self.device)

    def rsample(self, sample_shape=(), generator: torch.Generator | None = None) -> Float[Tensor, "*shape m"]:
        """Unit vectors (*sample_shape, *batch, m)."""
        if not torch.compiler.is_compiling():
            require_generator(generator)
            sample_shape = as_shape(sample_shape)
        shape = self._extended_shape(torch.Size(sample_shape))
        gaussian = gaussians(shape, generator, self.dtype, self.device)
        return gaussian / torch.linalg.vector_norm(gaussian, dim=-1, keepdim=True)

    def sample(self, sample_shape=(), generator: torch.Generator | None = None) -> Float[Tensor, "*shape m"]:
        """Unit vectors (*sample_shape, *batch, m)."""
        return self.rsample(sample_shape, generator)

    def log_prob(self, value: Shaped[Tensor, "*shape m"]) -> Float[Tensor, "..."]:
        """Minus the logarithm of the sphere's area, in nats, wherever value is.

        Raises:
            InputError: value is not a batch of vectors in m dimensions, or (when checking) not of unit norm.
        """
        require_event(value, self._event_shape[0], validates(self._asked, value))
        shape = torch.broadcast_shapes(value.shape[:-1], self._batch_shape)
        return value.new_full(shape, -bessel.log_sphere_area(index(self._event_shape[0])))

    def entropy(self) -> Float[Tensor, "*batch"]:
        """Logarithm of the sphere's area, in nats."""
        area = bessel.log_sphere_area(index(self._event_shape[0]))
        return torch.full(self._batch_shape, area, dtype=self.dtype, device=self.device)
