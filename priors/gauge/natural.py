"""The directions that a classifier's weights determine up to one vector: its natural parameters, by maximum likelihood.

A softmax does not change when one vector c is added to all rows of the final layer, nor does what it decides when all
are scaled. So the classes' von Mises-Fisher distributions have the natural parameters

    eta_i = s w_i + c,  s >= 0,

mean direction and concentration being the direction and the norm of eta_i, and m + 1 numbers that no posterior tells.
Activations tell them. With n_i directions of class i, whose mean is R_i, the log-likelihood is

    l(s, c) = sum_i n_i [eta_i . R_i + log C_m(||eta_i||)],

which is concave, since -log C_m(||eta||) is the log-partition function of an exponential family (Wainwright and Jordan
2008, proposition 3.1). The gradient for eta_i is n_i [R_i - A(kappa_i) mu_i], and the Hessian
-n_i [A'(kappa_i) mu_i mu_i^T + A(kappa_i) / kappa_i (I - mu_i mu_i^T)].
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.errors import InputError
from priors.vmf import bessel
from priors.vmf.maximum_likelihood import solve_concentration

_STEPS = 200
_SETTLED = 1e-12
"""Newton's method ends where its step changes the natural parameters by less than this, relative to the largest."""
_LARGEST = 1e12
"""Concentration beyond which the likelihood is taken to grow without end."""
_DENSE = 512
"""Dimensions up to which Newton's system is written out; beyond, conjugate gradients take fewer operations."""


@dataclass(frozen=True)
class NaturalParameters:
    """eta_i = scale w_i + shift, in float64.

    Attributes:
        scale: s, at least 0; 0 where the classes' mean directions differ as their weights nowhere do.
        shift: (m,) c.
        eta: (classes, m), also of classes without images.
        log_likelihood: of all directions, in nats, as densities on the unit sphere.
        steps: of Newton's method.
    """

    scale: float
    shift: Float[Tensor, " m"]
    eta: Float[Tensor, "classes m"]
    log_likelihood: float
    steps: int


def fit_natural_parameters(
    weight: Float[Tensor, "classes m"], count: Int[Tensor, " classes"], mean: Float[Tensor, "classes m"]
) -> NaturalParameters:
    """Scale and shift of largest likelihood, by Newton's method in float64.

    A step costs O(classes m) operations for each of its conjugate gradients, and there are few of either.

    Args:
        weight: the final layer's, in the space of the directions, m >= 2.
        count: directions of each class; 0 is fine, if two classes of different rows have some.
        mean: their mean, inside the unit ball; any finite numbers where there are none.

    Raises:
        InputError: fewer than two classes of different rows with directions, or a likelihood without a maximum, as that
            of directions that do not spread at all.
    """
    weight, mean = weight.double(), mean.double()
    seen = count > 0
    share = count.double() / count.sum().clamp_min(1)
    average = share @ weight
    rows = weight - average
    spread = (share @ rows.square().sum(1)).sqrt()
    if not bool(spread > 1e-12 * weight.square().sum(1).amax().sqrt()):
        raise InputError(
            f"fitted directions need images of two classes or more whose weights differ: {int(seen.sum())} have images"
        )
    rows = rows / spread
    problem = _Problem(rows[seen], share[seen], mean[seen])
    theta, steps = _maximise(problem)
    if theta[0] < 0:
        theta = torch.cat([theta.new_zeros(1), _pooled(problem)])
    scale = theta[0] / spread
    log_density = problem.value(theta) - bessel.log_sphere_area(weight.shape[1])
    return NaturalParameters(
        float(scale),
        theta[1:] - scale * average,
        theta[0] * rows + theta[1:],
        float(log_density * count.sum()),
        steps,
    )


def standard_errors(
    weight: Float[Tensor, "classes m"], count: Int[Tensor, " classes"], found: NaturalParameters
) -> tuple[float, Float[Tensor, " m"]]:
    """Standard errors of scale and shift: square roots of the diagonal of the inverse Fisher information.

    Writes the Hessian out, in O(classes m^2 + m^3). That of a scale on its bound, 0, is none: NaN.

    Args:
        weight: as `fit_natural_parameters` was given it, like what follows.
        count: directions of each class.
        found: what it gave.
    """
    seen = count > 0
    rows = weight.double()[seen]
    hessian = _Curvature(rows, count[seen].double(), found.eta[seen]).matrix()
    if found.scale == 0:
        hessian = hessian[1:, 1:]
    variance = torch.cholesky_inverse(torch.linalg.cholesky(hessian)).diagonal()
    if found.scale == 0:
        return float("nan"), variance.sqrt()
    return float(variance[0].sqrt()), variance[1:].sqrt()


@dataclass(frozen=True)
class _Problem:
    """Likelihood an image of eta_i = t rows_i + c, theta being (t, c) as one vector.

    The rows, of classes with images alone, have a weighted mean of 0 and a mean square of 1.
    """

    rows: Tensor
    share: Tensor
    mean: Tensor

    def eta(self, theta: Tensor) -> Tensor:
        return theta[0] * self.rows + theta[1:]

    def value(self, theta: Tensor) -> Tensor:
        eta = self.eta(theta)
        log = bessel.log_normaliser_ratio(self.rows.shape[1], eta.norm(dim=1))
        return self.share @ ((eta * self.mean).sum(1) - log)

    def gradient(self, eta: Tensor) -> Tensor:
        kappa = eta.norm(dim=1)
        across = bessel.transverse_variance(eta.shape[1], kappa)  # A / kappa, which has a limit at 0
        missing = self.share[:, None] * (self.mean - across[:, None] * eta)
        return torch.cat([(missing * self.rows).sum().reshape(1), missing.sum(0)])


class _Curvature:
    """Minus the Hessian for (t, c): sum_i n_i J_i^T [a_i I + (b_i - a_i) mu_i mu_i^T] J_i with J_i = (v_i, I)."""

    def __init__(self, rows: Tensor, share: Tensor, eta: Tensor):
        m = eta.shape[1]
        kappa = eta.norm(dim=1)
        self.loc = eta / kappa.clamp_min(torch.finfo(eta.dtype).tiny)[:, None]
        self.across = share * bessel.transverse_variance(m, kappa)
        self.less = share * bessel.mean_resultant_slope(m, kappa) - self.across
        along = (rows * self.loc).sum(1)
        self.first = self.across @ rows.square().sum(1) + self.less @ along.square()
        self.mixed = self.across @ rows + (self.less * along) @ self.loc
        self.total = self.across.sum()

    def matrix(self) -> Tensor:
        """Written out, (m + 1, m + 1)."""
        m = self.loc.shape[1]
        whole = self.loc.new_empty(m + 1, m + 1)
        whole[0, 0], whole[0, 1:], whole[1:, 0] = self.first, self.mixed, self.mixed
        whole[1:, 1:] = self.loc.T @ (self.less[:, None] * self.loc)
        whole[1:, 1:].diagonal().add_(self.total)
        return whole

    def times(self, vector: Tensor) -> Tensor:
        """The product with (t, c) as one vector (m + 1,), in O(classes m)."""
        t, c = vector[0], vector[1:]
        below = self.mixed * t + self.total * c + (self.less * (self.loc @ c)) @ self.loc
        return torch.cat([(self.first * t + self.mixed @ c)[None], below])

    def solve(self, given: Tensor) -> Tensor:
        """The vector whose product is the given one."""
        if self.loc.shape[1] <= _DENSE:
            return torch.linalg.solve(self.matrix(), given)
        scale = torch.cat([self.first[None], self.total + self.less @ self.loc.square()])
        return _conjugate_gradients(self.times, given, scale)


def _conjugate_gradients(times: Callable[[Tensor], Tensor], given: Tensor, scale: Tensor) -> Tensor:
    """Solve a positive definite system, by its product with vectors and its diagonal."""
    found, left = torch.zeros_like(given), given.clone()
    preconditioned = left / scale
    direction, weight = preconditioned, left @ preconditioned
    enough = 1e-24 * weight
    for _ in range(2 * len(given)):
        product = times(direction)
        length = weight / (direction @ product)
        found = found + length * direction
        left = left - length * product
        preconditioned = left / scale
        weight, before = left @ preconditioned, weight
        if not bool(weight > enough):
            break
        direction = preconditioned + (weight / before) * direction
    return found


def _maximise(problem: _Problem) -> tuple[Tensor, int]:
    """theta, whose t may be negative, and the number of Newton's steps."""
    at = _start(problem)
    eta = problem.eta(at)
    slope = problem.gradient(eta)
    for number in range(_STEPS):
        step = _Curvature(problem.rows, problem.share, eta).solve(slope)
        if not bool(step.isfinite().all()):
            break
        uphill, length = slope @ step, 1.0
        largest = eta.norm(dim=1).amax()
        while True:
            after = at + length * step
            eta = problem.eta(after)
            slope = problem.gradient(eta)
            # Concave: where the slope along the step is still uphill, or only a little downhill, it went up.
            if not bool(slope @ step < -0.5 * uphill) or length < 1e-9:
                break
            length /= 2
        at = after
        if bool(length * problem.eta(step).norm(dim=1).amax() <= _SETTLED * largest):
            return at, number + 1
        if not bool(eta.norm(dim=1).amax() < _LARGEST):
            break
    raise InputError(
        "fitted directions: the likelihood has no maximum, since the activations of each class point in one direction, "
        "up to rounding; give images that differ"
    )


def _start(problem: _Problem) -> Tensor:
    """theta by least squares on the classes' own mean directions, all with the concentration of their mean length."""
    m = problem.rows.shape[1]
    lengths = problem.mean.norm(dim=1, keepdim=True)
    mean = float(problem.share @ lengths.flatten())
    kappa = mean * (m - mean**2) / max(1 - mean**2, 1e-9)  # Banerjee et al. 2005
    eta = kappa * problem.mean / lengths.clamp_min(torch.finfo(lengths.dtype).tiny)
    weighted = problem.share[:, None] * eta
    return torch.cat([(weighted * problem.rows).sum().reshape(1), weighted.sum(0)])


def _pooled(problem: _Problem) -> Tensor:
    """c for t = 0: the natural parameter of one distribution of all directions."""
    mean = problem.share @ problem.mean
    length = mean.norm()
    if not bool(length > 0):
        return torch.zeros_like(mean)
    return solve_concentration(length, len(mean)) * mean / length
