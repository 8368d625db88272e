"""The von Mises-Fisher log-moment function to about 24 digits, in exact and decimal arithmetic, for building tables.

With I the modified Bessel function of the first kind, m the ambient dimension, nu = m/2 - 1 and t = mu.x under the
uniform law,

    L(k) = log E exp(k t) = log[Gamma(nu+1) (2/k)^nu I_nu(k)],    T = k L' = k A_m(k),    V = k T' - T = k^2 A_m'(k).

Debye's uniform expansion (DLMF 10.41.3, with s = sqrt(nu^2 + k^2), p = nu/s) gives all three at orders nu >= 64, where
fourteen terms leave less than 1e-24; lower orders follow by the stable downward recurrence of the ratios. It is slow
and exact, and runs once a dimension.
"""

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import zip_longest

_LOWEST_ORDER = 64
_TERMS = 14

Polynomial = list[Fraction]  # coefficients, constant first


def _times(a: Polynomial, b: Polynomial) -> Polynomial:
    product = [Fraction(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        if x:
            for j, y in enumerate(b):
                product[i + j] += x * y
    return product


def _plus(a: Polynomial, b: Polynomial, scale: Fraction = Fraction(1)) -> Polynomial:
    return [x + scale * y for x, y in zip_longest(a, b, fillvalue=Fraction(0))]


def _derivative(a: Polynomial) -> Polynomial:
    return [n * x for n, x in enumerate(a)][1:] or [Fraction(0)]


def _by_log_kappa(a: Polynomial) -> Polynomial:
    """The polynomial of k d/dk a(p): k dp/dk = -p (1 - p^2)."""
    return _times([Fraction(0), Fraction(-1), Fraction(0), Fraction(1)], _derivative(a))


@lru_cache
def debye_logarithms(terms: int = _TERMS) -> tuple[Polynomial, ...]:
    """D_1 ... D_terms with log sum_k U_k(p) / nu^k = sum_k D_k(p) / nu^k, U_k Debye's polynomials (DLMF 10.41.9)."""
    debye = [[Fraction(1)]]
    for _ in range(terms):
        last = debye[-1]
        slope = _times([Fraction(0), Fraction(0), Fraction(1, 2), Fraction(0), Fraction(-1, 2)], _derivative(last))
        integrand = _times([Fraction(1, 8), Fraction(0), Fraction(-5, 8)], last)
        debye.append(_plus(slope, [Fraction(0)] + [x / (n + 1) for n, x in enumerate(integrand)]))
    logs: list[Polynomial] = []
    for k in range(1, terms + 1):
        log = debye[k]
        for j in range(1, k):
            log = _plus(log, _times(logs[j - 1], debye[k - j]), Fraction(-j, k))
        logs.append(log)
    return tuple(logs)


@lru_cache(maxsize=64)
def _corrections(twice_order: int) -> tuple[list[Decimal], list[Decimal], list[Decimal]]:
    """Polynomials in p that correct L, T and V at order nu = twice_order / 2, the powers of nu folded in."""
    log: Polynomial = [Fraction(0)]
    for k, term in enumerate(debye_logarithms(), start=1):
        log = _plus(log, term, Fraction(2, twice_order) ** k)
    log[0] -= sum(log)  # L(0) = 0: Stirling's series of Gamma(nu + 1) drops out
    first = _by_log_kappa(log)
    second = _plus(_by_log_kappa(first), first, Fraction(-1))
    log_, first_, second_ = ([Decimal(x.numerator) / x.denominator for x in a] for a in (log, first, second))
    return log_, first_, second_


def _value(polynomial: list[Decimal], x: Decimal) -> Decimal:
    total = Decimal(0)
    for coefficient in reversed(polynomial):
        total = total * x + coefficient
    return total


def log_moments(m: int, kappa: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """L, T = k A_m and V = k^2 A_m' of ambient dimension m >= 2 at kappa > 0, in the current decimal context."""
    order = Decimal(m - 2) / 2
    shift = max(0, _LOWEST_ORDER - (m - 2) // 2)
    nu = order + shift
    s = (nu * nu + kappa * kappa).sqrt()
    p, delta = nu / s, kappa * kappa / (s + nu)
    log, first, second = _corrections(m - 2 + 2 * shift)
    odd = 1 - p * p
    log_moment = delta - nu * (1 + delta / (2 * nu)).ln() - (1 + delta / nu).ln() / 2 + _value(log, p)
    resultant = delta - odd / 2 + _value(first, p)
    variance = delta * p - odd * (2 * p * p - 1) / 2 + _value(second, p)
    product = Decimal(1)
    for _ in range(shift):  # from order nu to nu - 1
        product *= 1 + resultant / (2 * nu)
        below = kappa * kappa / (2 * nu + resultant)
        variance = below * (2 * nu - variance) / (2 * nu + resultant)
        resultant = below
        nu -= 1
    return log_moment + product.ln(), resultant, variance
