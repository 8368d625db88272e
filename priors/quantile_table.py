"""The quantile map of a von Mises-Fisher cosine, tabulated once a dimension as a double Chebyshev series.

On the sphere in R^m, with n = m - 1, the cosine w between a sample and its mean direction has the density (1 - w^2)^((n - 2) / 2) exp(k w).
Its inverse hyperbolic tangent u = atanh w has the smooth, unimodal density proportional to sech(u)^n exp(k tanh u) on the whole line, with

    mode  atanh t,  t = 2k / (n + hypot(n, 2k)),        scale  sigma = 1 / sqrt(n (1 + t^2)).

So u = atanh t + sigma Z(x, k) for a standard normal x, where the quantile map Z is analytic in both, near the identity for large n, and has a
limit (the quantile of a log-gamma variate) as k grows without bound. In place of k the table's second coordinate is

    tau = 2k / (c + hypot(c, 2k))  in [0, 1],    dtau/dk = (1 - tau^2) / hypot(c, 2k).

The construction is double precision throughout: panels of Gauss-Legendre quadrature give both tails of the distribution function to full relative accuracy,
and Newton's method inverts them on a grid of Chebyshev nodes.
"""

import math
from dataclasses import dataclass

import numpy as np

REACH = 6.5
"""Normal deviates are clamped to [-REACH, REACH], outside which lies a probability of 8e-11."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_PANELS = 96
_LOG_TAIL = -36.0  # log density, relative to the mode, where integration ends: far below the probability beyond REACH
_LARGEST = 256  # nodes along one axis at most


@dataclass(frozen=True)
class QuantileTable:
    """A double Chebyshev series of the quantile map Z and of its derivative in tau.

    Attributes:
        coefficients: (2, K, J) array: of T_i(2 tau - 1) T_j(x / REACH) in Z [0] and in dZ/dtau [1].
        pivot: c, the concentration that tau is measured against.
    """

    coefficients: np.ndarray
    pivot: float


def tabulate(dim: int, tolerance: float) -> QuantileTable:
    """Tabulate the quantile map for the sphere in R^dim, dropping coefficients below the tolerance.

    Args:
        dim: Ambient dimension m >= 2.
        tolerance: Size, in standard deviations, of the coefficients that may be left out.
    """
    n = dim - 1
    pivot = float(max(n, 9))
    rows, columns = 48, 32
    while True:
        values = _grid(n, pivot, rows, columns)
        series = _analyse(_analyse(values).T).T
        slope = 2 * _derivative(series)  # tau runs over [0, 1], Chebyshev polynomials over [-1, 1]
        size = np.maximum(
            np.abs(series), np.abs(slope) * min(1.0, tolerance / 1e-9)
        )  # differentiation amplifies rounding
        along_tau, along_x = size.max(1) > tolerance, size.max(0) > tolerance
        more_rows, more_columns = along_tau[-4:].any(), along_x[-4:].any()
        if not (more_rows and rows < _LARGEST) and not (more_columns and columns < _LARGEST):
            break
        rows, columns = min(2 * rows, _LARGEST) if more_rows else rows, 2 * columns if more_columns else columns
    kept = (slice(np.flatnonzero(along_tau)[-1] + 1), slice(np.flatnonzero(along_x)[-1] + 1))
    return QuantileTable(np.stack([series[kept], slope[kept]]), pivot)


def _grid(n: int, pivot: float, rows: int, columns: int) -> np.ndarray:
    """The quantile map at the Chebyshev nodes of both axes: (rows, columns)."""
    tau = (1 + _nodes(rows)) / 2
    k = pivot * tau / ((1 - tau) * (1 + tau))
    rho = n / (2 * k + np.hypot(n, 2 * k))  # (1 - t) / (1 + t)
    x = np.sort(REACH * np.abs(_nodes(columns)))[::2]  # an even number of nodes, symmetric about zero
    log_tail = np.array([math.log(0.5 * math.erfc(v / math.sqrt(2))) for v in x])
    lower = -_quantile_from_tail(n, rho, log_tail, -1.0)
    upper = _quantile_from_tail(n, rho, log_tail, 1.0)
    sigma = (1 + rho) / np.sqrt(2 * n * (1 + rho**2))
    return np.concatenate([upper[:, ::-1], lower], 1) / sigma[:, None]


def _log_density(n: int, rho: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Log density of u = atanh t + v relative to the mode, without cancellation as t -> 1; rho = (1 - t) / (1 + t)."""
    q = -np.expm1(-2 * v)
    return n * ((1 - rho) * q / (2 * (1 + rho * (1 - q))) - v - np.log1p(-rho * q / (1 + rho)))


def _quantile_from_tail(n: int, rho: np.ndarray, log_tail: np.ndarray, side: float) -> np.ndarray:
    """Distance s from the mode, towards one side (+1 or -1), beyond which the given log probabilities (C,) lie: (R, C)."""
    rho = rho[:, None]

    def density(s: np.ndarray) -> np.ndarray:
        return np.exp(_log_density(n, rho.reshape((-1,) + (1,) * (s.ndim - 1)), side * s))

    # From the far tail inward to the other far tail, with an edge at the mode.
    far, near = (_reach(n, rho, sign * side) for sign in (1.0, -1.0))
    grade = np.linspace(0, 1, _PANELS + 1)
    edges = np.concatenate([far * grade[::-1], -near * grade[1:]], 1)
    width = -np.diff(edges)
    inside = edges[:, :-1, None] - width[..., None] * (1 + _NODES) / 2
    mass = density(inside) @ _WEIGHTS * width / 2
    beyond = np.concatenate([np.zeros_like(rho), np.cumsum(mass, 1)], 1)
    target = log_tail + np.log(beyond[:, -1:])
    with np.errstate(divide="ignore"):
        log_beyond = np.maximum(np.log(beyond), -1e3)
    s = np.stack([np.interp(target[i], log_beyond[i], edges[i]) for i in range(len(edges))])
    panel = np.stack([np.searchsorted(log_beyond[i], target[i]) - 1 for i in range(len(edges))])
    start, before = np.take_along_axis(edges, panel, 1), np.take_along_axis(beyond, panel, 1)
    for _ in range(5):  # Newton on the log tail, which is concave, from within one panel: quadratic to rounding
        gap = start - s
        points = start[..., None] - gap[..., None] * (1 + _NODES) / 2
        tail = before + density(points) @ _WEIGHTS * gap / 2
        s = s + (np.log(np.maximum(tail, 1e-300)) - target) * tail / density(s)
    return s


def _reach(n: int, rho: np.ndarray, side: float) -> np.ndarray:
    """Distance from the mode at which the log density has fallen to _LOG_TAIL: rho's shape."""
    low, high = np.zeros_like(rho), np.full_like(rho, 2 - _LOG_TAIL / n + 12 / math.sqrt(n))
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(40):
            middle = (low + high) / 2
            above = _log_density(n, rho, side * middle) > _LOG_TAIL  # overflow means far below
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


def _derivative(series: np.ndarray) -> np.ndarray:
    """Chebyshev coefficients of the derivative along the first axis, of the same length."""
    return np.concatenate([np.polynomial.chebyshev.chebder(series, axis=0), np.zeros_like(series[:1])])
