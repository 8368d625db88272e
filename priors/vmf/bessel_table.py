"""What is left of the von Mises-Fisher functions once their elementary parts are taken out: short polynomials.

With m the ambient dimension, b = max(m, 4), s = sqrt(b^2/4 + k^2), p = b/s in (0, 2], delta = s - b/2, e = delta/s and
N = (m - 1)/2, and in the notation of `priors.vmf.debye`,

    T = delta - e b R_T(p),      T - L = N log1p(delta/b) - e R_K(p),      V = e b R_V(p).

The remainders R are smooth on the whole of [0, 2], k = 0 being p = 2 and k = infinity p = 0, and every product above
keeps its relative accuracy at both ends. They are interpolated at Chebyshev nodes in decimal arithmetic, cut where the
series passes below rounding, and given in powers of p - centre. Small m needs two pieces, as the zeros of the Bessel
function come close to p = 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache

from priors.errors import InputError, shown
from priors.vmf.debye import log_moments

_NODES = 64  # a power of two, so that cosines come from square roots
_DIGITS = 50
_TWO_PIECES_BELOW = 10
_SPLIT = Decimal("0.5")

ROWS = ("log", "resultant", "divergence", "variance", "variance_slope")


@dataclass(frozen=True)
class Piece:
    """Polynomials on one interval of p.

    Attributes:
        low: left end of the interval.
        high: right end of the interval.
        centre: its middle; the polynomials are in powers of p - centre.
        coefficients: one tuple a row, here of `ROWS` (b R_T - R_K, R_T, R_K, R_V, dR_V/dp), constant first.
    """

    low: float
    high: float
    centre: float
    coefficients: tuple[tuple[float, ...], ...]


def scale(m: int) -> int:
    """The b of this module's formulas."""
    return max(m, 4)


@lru_cache
def _cosines() -> list[Decimal]:
    """cos(pi j / (2 n)) for j = 0 ... 4 n - 1, n the number of nodes."""
    step = Decimal(0)
    angles = 1
    while angles < _NODES:
        step, angles = ((1 + step) / 2).sqrt(), 2 * angles
    table = [Decimal(1), step]
    while len(table) < 4 * _NODES:
        table.append(2 * step * table[-1] - table[-2])
    return table


def _chebyshev(samples: list[Decimal], cosines: list[Decimal]) -> list[Decimal]:
    """Chebyshev coefficients of the interpolant through values at the nodes cos(pi (2 j + 1) / (2 n))."""
    n = len(samples)
    series = [sum(f * cosines[(2 * j + 1) * i % (4 * n)] for j, f in enumerate(samples)) * 2 / n for i in range(n)]
    series[0] /= 2
    return series


def _powers(series: list[Decimal]) -> list[Decimal]:
    """The same polynomial in powers of x."""
    total = [Decimal(0)] * len(series)
    before, current = [0], [1]  # T_{-1} (unused) and T_0
    for degree, coefficient in enumerate(series):
        for i, integer in enumerate(current):
            total[i] += coefficient * integer
        following = [0] + [(2 if degree else 1) * x for x in current]
        if degree:
            for i, x in enumerate(before):
                following[i] -= x
        before, current = current, following
    return total


def _remainders(m: int, p: Decimal) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    b = Decimal(scale(m))
    s = b / p
    delta, e = s - b / 2, 1 - p / 2
    log_moment, resultant, variance = log_moments(m, (s * s - b * b / 4).sqrt())
    elementary = Decimal(m - 1) / 2 * (1 + delta / b).ln()
    first = (delta - resultant) / e
    divergence = (elementary - (resultant - log_moment)) / e
    return first - divergence, first / b, divergence, variance / e / b


def interpolate(
    rows: Callable[[Decimal], tuple[Decimal, ...]], low: Decimal, high: Decimal, allowed: list[Decimal]
) -> Piece:
    """Polynomials through several functions at once, and the derivative of the last one as one more row.

    Args:
        rows: the functions, in the current decimal context.
        low: left end of the interval.
        high: right end of the interval.
        allowed: for each function, the size of Chebyshev coefficient below which they are dropped.
    """
    cosines = _cosines()
    centre, half = (low + high) / 2, (high - low) / 2
    samples = [rows(centre + half * cosines[2 * j + 1]) for j in range(_NODES)]
    found = []
    for column, least in zip(zip(*samples, strict=True), allowed, strict=True):
        row = _chebyshev(list(column), cosines)
        length = 1 + max((i for i, x in enumerate(row) if abs(x) > least), default=0)
        found.append([x / half**n for n, x in enumerate(_powers(row[:length]))])
    found.append([n * x for n, x in enumerate(found[-1])][1:] or [Decimal(0)])
    return Piece(float(low), float(high), float(centre), tuple(tuple(map(float, row)) for row in found))


def _piece(m: int, low: Decimal, high: Decimal, tolerance: float) -> Piece:
    size = Decimal(m) / 4 * Decimal(tolerance)  # every function is of the size of e m/4 or more
    unit = Decimal(scale(m))
    return interpolate(lambda p: _remainders(m, p), low, high, [size, size / unit, size, size / unit])


def check_dimension(m: object) -> None:
    """Make sure that there is a sphere S^(m-1).

    Raises:
        InputError: m is not an integer of at least 2.
    """
    if not isinstance(m, int) or isinstance(m, bool) or m < 2:
        raise InputError(f"ambient dimension {shown(m)}: give an integer of at least 2, the sphere being S^(m-1)")


@lru_cache(maxsize=256)
def pieces(m: int, tolerance: float) -> tuple[Piece, ...]:
    """The remainders of ambient dimension m to a relative tolerance, on one or two intervals that cover 0 <= p <= 2.

    Raises:
        InputError: m is not an integer of at least 2.
    """
    check_dimension(m)
    with localcontext() as context:
        context.prec = _DIGITS
        ends = [Decimal(0), _SPLIT, Decimal(2)] if m < _TWO_PIECES_BELOW else [Decimal(0), Decimal(2)]
        return tuple(_piece(m, a, b, tolerance) for a, b in zip(ends, ends[1:], strict=False))
