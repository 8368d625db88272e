"""A table of a paper as data: its cells, the commands that make each, what was published. Imports no torch."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import apps.recipes
from apps.recipes.choice import Choice
from priors.errors import unknown


@dataclass(frozen=True)
class Choosing:
    """How a table is made anew by what was chosen.

    Attributes:
        known: by a name that may stand for it, an objective.
        table: that makes it.
    """

    known: Mapping[str, str]
    table: "Callable[[Choice], Table]"


@dataclass(frozen=True)
class Table:
    """One table of one paper."""

    title: str
    """What it shows, and where."""
    convention: str
    """What the numbers mean, printed above them."""
    rows: tuple[str, ...]
    """Keys of the rows, as on the command line."""
    columns: tuple[str, ...]
    """Keys of the columns."""
    seeds: int
    """Repetitions of each cell, seeded 0, 1, ..."""
    metrics: tuple[str, ...]
    """Names of the scores in a cell's evaluation, as the verb that evaluates gives them."""
    published: Mapping[tuple[str, str], tuple[float, ...]]
    """By row and column, the published value of each metric; cells that the paper does not have are left out."""
    commands: Callable[[str, str, int], tuple[str, ...]]
    """By row, column and seed: the plain commands, in order; the last one evaluates. In them {runs} is the folder of
    the runs, {data} the image folder."""
    run: Callable[[str, str, int], str]
    """By row, column and seed: the name of the run that is evaluated, or of the folder that the scores are in."""
    deviations: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)
    """By row and column, the published standard deviation of each metric over repetitions, where there is one."""
    places: str = ".2f"
    """How scores are written."""
    axes: tuple[str, str] = ("row", "column")
    """What the rows and the columns are."""
    score: Callable[[str, str, str], str] = lambda row, column, metric: metric
    """By row, column and metric: the score's name, where one evaluation scores several cells."""
    instead: Mapping[str, str] = field(default_factory=dict)
    """By metric, the score that stands for it in runs that have none of its name."""
    extra: tuple[str, ...] = ()
    """More scores to print beside, which the paper does not have."""
    folder: str = ""
    """Name of the image folder that is {data}, in the folder of data sets unless --data says where; empty: none."""
    layout: str = ""
    """What that folder holds, and where."""
    gaps: frozenset[tuple[str, str]] = frozenset()
    """By row and column, the cells that there are none of, such as of a layer that only other networks have."""
    against: Mapping[str, str] = field(default_factory=dict)
    """By row, the one that it is compared with in pairs, cell by cell: of the same seeds, of the same test images."""
    ordered: bool = False
    """Whether rows are methods, which are printed in the order of their means, with medians and ranges over seeds."""
    choosing: Choosing | None = None
    """How it is made anew by what a user chooses; None: it is as its paper has it."""

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """Row and column of each cell, a row after the other."""
        pairs = ((row, column) for row in self.rows for column in self.columns)
        return tuple(pair for pair in pairs if pair not in self.gaps)

    def named(self, row: str, column: str, metric: str, scores: Mapping[str, Any]) -> str:
        """What a cell's metric is called among the scores of one evaluation.

        Args:
            row: of the cell.
            column: likewise.
            metric: of `metrics`, or of `extra`.
            scores: by name.
        """
        own = self.score(row, column, metric)
        names = (own, self.instead.get(metric))
        return next((name for name in names if name in scores), own)


def all_against(rows: Sequence[str], row: str, **others: str) -> dict[str, str]:
    """Every row against one of them.

    Args:
        rows: of a table.
        row: that the others are compared with.
        **others: by row, with `_` for `-`, another that it is compared with instead.

    Example:
        >>> all_against(("none", "dropout", "decay"), "none", decay="dropout")
        {'dropout': 'none', 'decay': 'dropout'}
    """
    chosen = {name.replace("_", "-"): other for name, other in others.items()}
    return {one: chosen.get(one, row) for one in rows if one != row}


def papers() -> tuple[str, ...]:
    """The papers with recipes: a package each."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(apps.recipes.__path__) if module.ispkg))


def tables(paper: str) -> Mapping[str, Table]:
    """The tables of a paper by their number.

    Raises:
        InputError: no such paper (the nearest is offered).
    """
    if paper not in papers():
        raise unknown("paper", paper, papers())
    return importlib.import_module(f"apps.recipes.{paper}").TABLES


def table(paper: str, number: str) -> Table:
    """One table.

    Raises:
        InputError: no such paper or table (the nearest is offered).
    """
    found = tables(paper)
    if number not in found:
        raise unknown(f"table of {paper}", number, found)
    return found[number]
