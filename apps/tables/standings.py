"""Methods in the order of their means, and which of them can be told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import mean, median, stdev

from apps.tables.cells import Cell, Filled
from apps.tables.pairs import Paired, over_seeds

_CHANCE = 0.05
"""p below which two rows are told apart."""


@dataclass(frozen=True)
class Spread:
    """Numbers over seeds.

    Attributes:
        mean: of them.
        median: likewise.
        deviation: their standard deviation; None of one.
        least: the smallest.
        most: the largest.
    """

    mean: float
    median: float
    deviation: float | None
    least: float
    most: float


@dataclass(frozen=True)
class Standing:
    """A row among the others of its column.

    Attributes:
        row: its key.
        column: likewise.
        done: seeds that are scored.
        seeds: all that there are to be.
        last: of the first metric, over the seeds; None where none is scored.
        best: likewise of the first score beside it.
        published: of the first metric; None where nothing is.
        places: the first and the last that it may have, since so many rows can be told to be better or worse; None of
            what is no method, or not scored.
        other: the row that it is compared with; empty where there is none.
        by_seed: the difference from that, seed by seed.
        by_image: likewise test image by test image.
    """

    row: str
    column: str
    done: int
    seeds: int
    last: Spread | None
    best: Spread | None
    published: float | None
    places: tuple[int, int] | None
    other: str
    by_seed: Paired | None
    by_image: Paired | None


@dataclass(frozen=True)
class Order:
    """The rows of one column.

    Attributes:
        column: its key.
        standings: what is no method first, then methods by their means, the highest first, then what is not scored.
        compared: pairs of methods that share two seeds or more.
        apart: of these, told apart, each by itself at p < .05.
        together: of these, told apart all at once: by Holm's procedure none is wrongly, in 95 of 100 tables.
    """

    column: str
    standings: tuple[Standing, ...]
    compared: int
    apart: int
    together: int


def spread(values: Sequence[float]) -> Spread | None:
    """What some numbers come to; None of none.

    Example:
        >>> spread([1.0, 2.0, 6.0])
        Spread(mean=3.0, median=2.0, deviation=2.6457513110645907, least=1.0, most=6.0)
    """
    if not values:
        return None
    deviation = stdev(values) if len(values) > 1 else None
    return Spread(mean(values), median(values), deviation, min(values), max(values))


def orders(table: Filled) -> tuple[Order, ...]:
    """The columns of a table of methods, each in order."""
    return tuple(_order(table, column) for column in table.recipe.columns)


def _order(table: Filled, column: str) -> Order:
    cells = [cell for cell in table.cells if cell.column == column]
    methods = {*table.recipe.against, *table.recipe.against.values()}
    ours = {cell.row: cell.values[0].ours for cell in cells if cell.row in methods and cell.done}
    found = {pair: over_seeds(ours[pair[0]], ours[pair[1]]) for pair in combinations(ours, 2)}
    tested = {pair: one for pair, one in found.items() if one is not None and one.p is not None}
    better: dict[str, int] = dict.fromkeys(ours, 0)  # rows that are told to be better, by row; likewise worse
    worse = dict(better)
    for (one, other), paired in tested.items():
        if paired.p < _CHANCE:
            high, low = (one, other) if paired.difference > 0 else (other, one)
            better[low] += 1
            worse[high] += 1
    places = {row: (1 + better[row], len(ours) - worse[row]) for row in ours}
    standings = [_standing(table, cell, ours, places.get(cell.row)) for cell in cells]
    standings.sort(key=lambda one: (one.row in methods, one.last is None, -one.last.mean if one.last else 0.0))
    apart = sum(paired.p < _CHANCE for paired in tested.values())
    return Order(column, tuple(standings), len(tested), apart, holm([paired.p for paired in tested.values()]))


def _standing(
    table: Filled, cell: Cell, ours: Mapping[str, Mapping[int, float]], places: tuple[int, int] | None
) -> Standing:
    other = table.recipe.against.get(cell.row, "")
    best = cell.extra[0].ours if cell.extra else {}
    images = (
        pair.found
        for pair in table.pairs
        if (pair.row, pair.column) == (cell.row, cell.column) and pair.over.endswith("images")
    )
    published = cell.values[0].published
    return Standing(
        cell.row,
        cell.column,
        len(cell.done),
        len(cell.seeds),
        spread(list(cell.values[0].ours.values())),
        spread(list(best.values())),
        None if published is None else published[0],
        places,
        other,
        over_seeds(ours[cell.row], ours[other]) if cell.row in ours and other in ours else None,
        next(images, None),
    )


def holm(chances: Sequence[float], chance: float = _CHANCE) -> int:
    """How many of several tests hold together, by Holm (1979).

    The smallest p is held to chance / n, the next one to chance / (n - 1) and so on, up to the first that is larger.

    Args:
        chances: p of each.
        chance: that any of them holds wrongly.

    Example:
        >>> holm([0.04, 0.001, 0.02]), holm([0.04, 0.03]), holm([])
        (3, 0, 0)
    """
    for rank, p in enumerate(sorted(chances)):
        if p > chance / (len(chances) - rank):
            return rank
    return len(chances)
