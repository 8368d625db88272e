"""Moments of the spherical Cauchy law to 40 digits, in decimal arithmetic, and the short polynomials made from them.

In the notation of `priors.spherical_cauchy.moments`, with n = m - 1, nu = m/2 - 1, z = rho^2 and s = mu.u uniform,

    S(z) = E log(1 + rho^2 + 2 rho s) = -sum_k (-nu)_k / ((nu+1)_k k) z^k,        G = S - log(1 - z),        A = dG/db.

The series serves small z and large m. Elsewhere, where its terms fall too slowly, upward recurrences in n do, which are
stable for sinh b > 1. They follow from dA/db = n (1 - A coth b), itself Stein's identity for the law:

    A_n = coth b - (n - 1)/(n - 2) A_(n-2) / sinh^2 b,        G_n = G_(n-2) + A_(n-2) coth b / (n - 2) - 1/(n - 1),

from A_1 = tanh(b/2), G_1 = -log(1 - z), A_2 = coth b - b / sinh^2 b and G_2 = b coth b - 1.
"""

from decimal import Decimal, localcontext
from functools import lru_cache

from priors.vmf.bessel_table import Piece, check_dimension, interpolate

_DIGITS = 50
_SERIES_FROM = 64  # from this dimension on the series converges for every z
_LOW = Decimal("0.5")  # and up to this z in every dimension

CLOSED_UP_TO = 9
"""Odd dimensions up to this one have a logarithm at z = 1 that no short polynomial follows."""

CLOSED_FROM = 0.75
"""The rho from which these dimensions have their moments in closed form."""

ROWS = ("growth", "resultant", "deficit", "spread", "spread_slope")
"""S/z, A/rho, (1 - A)/q, A'/q and the last one's derivative in rho, where q is sigma^2, or sigma for m < 4."""


def moments(m: int, rho: Decimal) -> tuple[Decimal, Decimal]:
    """S and A of ambient dimension m >= 2 at 0 < rho < 1, in the current decimal context."""
    z = rho * rho
    if z <= _LOW or m >= _SERIES_FROM:
        return _by_series(m, rho, z)
    log = (1 - z).ln()
    coth, square = (1 + z) / (2 * rho), 4 * z / (1 - z) ** 2
    if m % 2 == 0:
        n, resultant, growth = 1, rho, -log
    else:
        b = ((1 + rho) / (1 - rho)).ln()
        n, resultant, growth = 2, coth - b / square, b * coth - 1
    while n < m - 1:
        n += 2
        growth += resultant * coth / (n - 2) - Decimal(1) / (n - 1)
        resultant = coth - resultant * (n - 1) / (n - 2) / square
    return growth + log, resultant


def _by_series(m: int, rho: Decimal, z: Decimal) -> tuple[Decimal, Decimal]:
    factor, power, total, slope, k = Decimal(1), Decimal(1), Decimal(0), Decimal(0), 0
    while abs(factor * power) > Decimal(10) ** -_DIGITS:
        k += 1
        factor *= Decimal(2 * k - m) / (2 * k + m - 2)  # (k - 1 - nu) / (k + nu)
        slope -= factor * power
        power *= z
        total -= factor * power / k
    return total, rho * (1 + (1 - z) * slope)


def _rows(m: int, rho: Decimal) -> tuple[Decimal, ...]:
    log, resultant = moments(m, rho)
    sigma = (1 - rho) / (1 + rho)
    scale = sigma ** (1 if m < 4 else 2)
    coth = (1 + rho * rho) / (2 * rho)
    return log / (rho * rho), resultant / rho, (1 - resultant) / scale, (m - 1) * (1 - resultant * coth) / scale


def closed(m: int) -> bool:
    """Whether rho > `CLOSED_FROM` is in closed form in this dimension."""
    return m % 2 == 1 and m <= CLOSED_UP_TO


@lru_cache(maxsize=256)
def pieces(m: int, tolerance: float) -> tuple[Piece, ...]:
    """The polynomials of ambient dimension m to a relative tolerance, in rho, on the interval where they are used.

    Raises:
        InputError: m is not an integer of at least 2.
    """
    check_dimension(m)
    with localcontext() as context:
        context.prec = _DIGITS
        high = Decimal(CLOSED_FROM) if closed(m) else Decimal(1)
        # S/z stands beside -log(1 - z)/z >= 1; A/rho is 1 or more, the others of the size of (m - 1)/m or more.
        return (interpolate(lambda rho: _rows(m, rho), Decimal(0), high, [Decimal(tolerance)] * 4),)
