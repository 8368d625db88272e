"""Polynomials that belong to a dimension, in one variable, some of them evaluated together by Horner's rule."""

from collections.abc import Callable

import torch
from torch import Tensor

from priors.vmf.bessel_table import Piece
from priors.vmf.constants import constants

Row = tuple[tuple[float, float, float, tuple[float, ...]], ...]
"""Of one polynomial: for each interval its ends, its centre and the coefficients there, constant first."""

Rows = Callable[[int, tuple[str, ...], torch.dtype], tuple[Row, ...]]
"""By dimension, the polynomials' names and the type whose accuracy they need; marked as constant when compiled."""


def chosen(pieces: tuple[Piece, ...], names: tuple[str, ...], rows: tuple[str, ...]) -> tuple[Row, ...]:
    """Of each interval's polynomials, which have these names, the rows that are wanted."""
    return tuple(tuple((x.low, x.high, x.centre, x.coefficients[names.index(row)]) for x in pieces) for row in rows)


def polynomials(rows: Rows, m: int, p: Tensor, names: tuple[str, ...]) -> tuple[Tensor, ...]:
    """The named polynomials at p, each in p's shape.

    Args:
        rows: gives them, on one or two intervals.
        m: the ambient dimension.
        p: where to evaluate them.
        names: those that are wanted.
    """
    if torch.compiler.is_compiling():
        return tuple(_piecewise(p, row) for row in rows(m, names, p.dtype))
    low, high, centre, total, *coefficients = _coefficients(rows, m, names, p)
    several = low.ndim > p.ndim + 1
    x = (p.clamp(low, high) if several else p) - centre
    for coefficient in coefficients:
        total = torch.addcmul(coefficient, total, x)
    if several:
        total = torch.where(p < high[0], total[0], total[1])
    return total.unbind(0)


def _coefficients(rows: Rows, m: int, names: tuple[str, ...], p: Tensor) -> tuple[Tensor, ...]:
    """Lower and upper ends and centres of the pieces, then their coefficients, highest power first.

    Each is laid out as (pieces, rows, 1, ..., 1) with as many ones as p has dimensions, without pieces if there is one.
    """

    def table() -> list:
        intervals = list(zip(*rows(m, names, p.dtype), strict=True))  # by piece, then by row
        length = max(len(row[-1]) for piece in intervals for row in piece)
        columns = [
            [[(*row[-1], *[0.0] * length)[n] for row in piece] for piece in intervals] for n in reversed(range(length))
        ]
        columns[:0] = [[[piece[0][end]] for piece in intervals] for end in range(3)]
        for _ in range(p.ndim):
            columns = _deepened(columns)
        return columns if len(intervals) > 1 else [column[0] for column in columns]

    return constants((rows, m, names, p.ndim), table, p.dtype, p.device)


def _deepened(nested: list) -> list:
    return [_deepened(x) if isinstance(x, list) else [x] for x in nested]


def _piecewise(p: Tensor, row: Row) -> Tensor:
    """One polynomial as a compiler likes it: in Python's numbers, which it makes immediate operands of one kernel."""
    value = None
    for low, high, centre, coefficients in reversed(row):
        x = p.clamp(low, high) - centre
        total = coefficients[-1]
        for coefficient in reversed(coefficients[:-1]):
            total = total * x + coefficient
        value = total if value is None else torch.where(p < high, total, value)
    return value
