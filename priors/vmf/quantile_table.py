"""The quantile map of a von Mises-Fisher cosine, tabulated once a dimension as a double Chebyshev series.

On the sphere in R^m, with n = m - 1, the cosine w between a sample and its mean direction has density proportional to
(1 - w^2)^((n - 2) / 2) exp(k w). Its inverse hyperbolic tangent u = atanh w has the smooth, unimodal density
sech(u)^n exp(k tanh u) on the whole line (up to its constant), with

    mode  asinh(2k / n) / 2,    width  1 / sqrt(n (1 + t^2)),    t = tanh(mode).

The quantile u at which a standard normal variate's distribution function equals that of u is

    u(x, k) = eta / 2 + U(x, rho),    eta = asinh(2k / c),    rho = exp(-eta) in (0, 1],

for any pivot c > 0. U is analytic in x and rho and has a limit as rho -> 0 (quantiles of a log-gamma variate), so a
double Chebyshev series covers all concentrations at once. Since d eta / dk = 2 / (c cosh eta),

    du/dk = W(x, rho) / (c cosh eta),    W = 1 - 2 rho dU/drho.

The construction is in double precision throughout: panels of Gauss-Legendre quadrature give both tails of the
distribution function to full relative accuracy, and Newton's method inverts them on a grid of Chebyshev nodes.
"""

import math
from dataclasses import dataclass

import numpy as np

REACH = 6.5
"""Normal variates are clamped to [-REACH, REACH]: outside lies a probability of 8e-11."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_PANELS = 96
_LOG_TAIL = -36.0  # log density, relative to the mode, where integration ends: far below the probability beyond REACH
_LARGEST = 256  # nodes along one axis at most


@dataclass(frozen=True)
class QuantileTable:
    """Double Chebyshev series of the quantile map and of its derivative in the concentration.

    Attributes:
        coefficients: (2, J, K) array: of T_j(x / REACH) T_i(1 - 2 rho) in U [0] and in W / c [1].
        pivot: The concentration c that others are measured against.
    """

    coefficients: np.ndarray
    pivot: float


def tabulate(dim: int, tolerance: float) -> QuantileTable:
    """Tabulate the quantile map for the sphere in R^dim, without the coefficients below the tolerance.

    Args:
        dim: Ambient dimension m >= 2.
        tolerance: Size of the coefficients that may be left out, in units of 1 / sqrt(dim - 1), the width of u.
    """
    n = dim - 1
    pivot = (
        n + 24.0
    )  # crossovers in the tails happen at k of up to REACH^2 / 4 whatever n: close to the shortest series
    rows, columns = 48, 32
    while True:
        quantiles = _analyse(_analyse(_grid(n, pivot, rows, columns)).T).T
        slopes = _slopes(quantiles)
        # Derivatives are held to ten times the tolerance, and to 1e-9: differentiation amplifies rounding.
        size = np.maximum(np.abs(quantiles) * math.sqrt(n), np.abs(slopes) * min(0.1, tolerance / 1e-9))
        along_rho, along_x = size.max(1) > tolerance, size.max(0) > tolerance
        finer_rho = along_rho[-4:].any() and rows < _LARGEST
        finer_x = along_x[-4:].any() and columns < _LARGEST
        if not (finer_rho or finer_x):
            break
        rows, columns = min(_LARGEST, rows * 2 if finer_rho else rows), columns * 2 if finer_x else columns
    kept = slice(np.flatnonzero(along_rho)[-1] + 1), slice(np.flatnonzero(along_x)[-1] + 1)
    return QuantileTable(np.stack([quantiles[kept].T, slopes[kept].T / pivot]), pivot)


def _grid(n: int, pivot: float, rows: int, columns: int) -> np.ndarray:
    """U at the Chebyshev nodes of both axes: (rows, columns)."""
    power = (1 - _nodes(rows)) / 2  # rho
    double = pivot * (1 / power - power) / 2  # 2k
    ratio = n / (double + np.hypot(n, double))  # exp(-2 mode)
    x = REACH * _nodes(columns)[: columns // 2]  # an even number of nodes, symmetric about zero
    log_tail = np.array([math.log(0.5 * math.erfc(v / math.sqrt(2))) for v in x])
    below = -_quantile_from_tail(n, ratio, log_tail, -1.0)
    above = _quantile_from_tail(n, ratio, log_tail, 1.0)
    return np.concatenate([above, below[:, ::-1]], 1) + np.log(power / ratio)[:, None] / 2


def _log_density(n: int, ratio: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Log density of u = mode + v relative to that at the mode, without cancellation; ratio = exp(-2 mode)."""
    q = -np.expm1(-2 * v)
    return n * ((1 - ratio) * q / (2 * (1 + ratio * (1 - q))) - v - np.log1p(-ratio * q / (1 + ratio)))


def _quantile_from_tail(n: int, ratio: np.ndarray, log_tail: np.ndarray, side: float) -> np.ndarray:
    """Distance from the mode, towards one side (+1 or -1), beyond which lie the log probabilities (C,): (R, C)."""
    ratio = ratio[:, None]

    def density(s: np.ndarray) -> np.ndarray:
        return np.exp(_log_density(n, ratio.reshape((-1,) + (1,) * (s.ndim - 1)), side * s))

    # Panels from this tail's far end inward to the other's, with an edge at the mode.
    far, other = _reach(n, ratio, side), _reach(n, ratio, -side)
    grade = np.linspace(0, 1, _PANELS + 1)
    edges = np.concatenate([far * grade[::-1], -other * grade[1:]], 1)
    width = -np.diff(edges)
    points = edges[:, :-1, None] - width[..., None] * (1 + _NODES) / 2
    beyond = np.concatenate([np.zeros_like(ratio), np.cumsum(density(points) @ _WEIGHTS * width / 2, 1)], 1)
    target = log_tail + np.log(beyond[:, -1:])
    with np.errstate(divide="ignore"):
        log_beyond = np.maximum(np.log(beyond), -1e3)
    s = np.stack([np.interp(*row) for row in zip(target, log_beyond, edges, strict=True)])
    panel = np.stack([np.searchsorted(*row) - 1 for row in zip(log_beyond, target, strict=True)])
    start, before = np.take_along_axis(edges, panel, 1), np.take_along_axis(beyond, panel, 1)
    for _ in range(5):  # Newton on the log tail, which is concave, from within one panel: quadratic down to rounding
        gap = start - s
        points = start[..., None] - gap[..., None] * (1 + _NODES) / 2
        tail = before + density(points) @ _WEIGHTS * gap / 2
        s = s + (np.log(np.maximum(tail, 1e-300)) - target) * tail / density(s)
    return s


def _reach(n: int, ratio: np.ndarray, side: float) -> np.ndarray:
    """Distance from the mode at which the log density has fallen to _LOG_TAIL: ratio's shape."""
    low, high = np.zeros_like(ratio), np.full_like(ratio, 2 - _LOG_TAIL / n + 12 / math.sqrt(n))
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(40):
            middle = (low + high) / 2
            above = _log_density(n, ratio, side * middle) > _LOG_TAIL  # false on overflow: far below
            low, high = np.where(above, middle, low), np.where(above, high, middle)
    return high


def _nodes(count: int) -> np.ndarray:
    """Chebyshev nodes of the first kind, from +1 down to -1."""
    return np.cos(np.pi * (np.arange(count) + 0.5) / count)


def _analyse(values: np.ndarray) -> np.ndarray:
    """Chebyshev coefficients along the first axis from values at the nodes."""
    count = len(values)
    transform = np.cos(np.pi * np.outer(np.arange(count), np.arange(count) + 0.5) / count) * (2 / count)
    transform[0] /= 2
    return transform @ values


def _slopes(quantiles: np.ndarray) -> np.ndarray:
    """Series of W = 1 - 2 rho dU/drho = 1 + 2 (1 - y) dU/dy, y = 1 - 2 rho, from that of U."""
    by_y = np.polynomial.chebyshev.chebder(quantiles, axis=0)
    times_y = np.zeros_like(quantiles)  # y T_i = (T_(i+1) + T_|i-1|) / 2
    times_y[1:] += by_y / 2
    times_y[1] += by_y[0] / 2
    times_y[: len(by_y) - 1] += by_y[1:] / 2
    slopes = -2 * times_y
    slopes[:-1] += 2 * by_y
    slopes[0, 0] += 1
    return slopes
