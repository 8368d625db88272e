"""The program of `penult table`: run the cells that are not done, and print ours beside the published."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from apps.command.answer import tell
from apps.command.console import say
from apps.command.console import table as show
from apps.command.launch import processes
from apps.data.sources.catalogue import data_root
from apps.recipes.table import Table, table
from apps.scores.choosing import check_fits, chosen
from apps.scores.kind import Command
from apps.scores.known import found
from apps.scores.settings import Reproduction
from priors.errors import InputError, unknown

Cell = tuple[str, str, int]
"""Row, column and seed."""


@dataclass(frozen=True)
class Part:
    """What is asked for of a table.

    Attributes:
        recipe: the table.
        rows: those that are asked for.
        columns: likewise.
        seeds: repetitions of each cell.
        data: the image folder that it is measured on; empty where it is of none.
        config: where things are, and what computes.
    """

    recipe: Table
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    seeds: int
    data: str
    config: Reproduction

    @property
    def cells(self) -> list[Cell]:
        """In the order that they are run in: a whole table of one seed before the next."""
        pairs = [(row, column) for column in self.columns for row in self.rows]
        return [(*pair, seed) for seed in range(self.seeds) for pair in pairs if pair not in self.recipe.gaps]

    def lines(self, cell: Cell) -> list[str]:
        """The commands of a cell, as one would type them after `penult`."""
        places = {"runs": str(self.config.place.runs), "data": self.data}
        quoted = {name: shlex.quote(place) for name, place in places.items()}
        commands = [command.format_map(quoted) for command in self.recipe.commands(*cell)]
        return [command + self._options(shlex.split(command)) for command in commands]

    def _options(self, words: Sequence[str]) -> str:
        """The flags of the place that differ from their defaults, and the arithmetic of a command that trains.

        None of a command that computes nothing, and so has no place. What names its arithmetic itself keeps it.
        """
        precision, flags = self.config.precision, _flags_of(words[0], words[1])
        has_it = precision is not None and "--precision" in flags and "--precision" not in words
        place = self.config.place.flags() if "--data-root" in flags else ""
        return place + (f" --precision {precision}" if has_it else "")

    def scores(self, cell: Cell) -> Mapping[str, Any] | None:
        """The scores that a cell's last command has left; None where it is not done."""
        folder = self.config.place.runs / self.recipe.run(*cell)
        return found(Command(tuple(shlex.split(self.lines(cell)[-1])), folder))


@cache
def _flags_of(*words: str) -> frozenset[str]:
    """The flags of the verb that a command line begins with."""
    from apps.command.cli import flags_of

    return frozenset(flags_of(words))


def reproduce(config: Reproduction, show_part: Callable[[Part], None]) -> int:
    """List, or run and print; the exit status.

    Args:
        config: what was asked for.
        show_part: prints what there is then.

    Raises:
        InputError: no such table, row or column, or the table's images are not there.
    """
    part = part_of(config)
    if config.list:
        for cell in part.cells:
            tell("commands", _named(part, *cell[:2]) | {"seed": cell[2], "commands": part.lines(cell)})
        for line in dict.fromkeys(line for cell in part.cells for line in part.lines(cell)):
            say(f"penult {line}")
        return 0
    if not config.show:
        if part.data and not Path(part.data).is_dir():
            raise InputError(f"no folder {part.data}: give --data FOLDER, with {part.recipe.layout}")
        check_fits(part.recipe, config)
        status = _run(part)
        if status:
            return status
    show_part(part)
    return 0


def part_of(config: Reproduction) -> Part:
    """What is asked for of a table.

    Raises:
        InputError: no such table, row or column, or none of their cells.
    """
    recipe = chosen(table(config.paper, config.number), config)
    recipe = replace(recipe, seeds=config.seeds or recipe.seeds)
    for kind, given, known in (("row", config.row, recipe.rows), ("column", config.column, recipe.columns)):
        if given is not None and given not in known:
            raise unknown(kind, given, known)
    if config.data is not None and not recipe.folder and recipe.choosing is None:
        raise InputError(f"--data {config.data}: table {config.number} names its own data sets; leave it out")
    rows = recipe.rows if config.row is None else (config.row,)
    columns = recipe.columns if config.column is None else (config.column,)
    if not set(recipe.cells) & {(row, column) for row in rows for column in columns}:
        there = ", ".join(column for row, column in recipe.cells if row == config.row)
        raise InputError(f"no cell {config.row} {config.column}: columns of {config.row} are {there}")
    data = (config.data or str(data_root(config.place.data_root) / recipe.folder)) if recipe.folder else ""
    return Part(recipe, rows, columns, recipe.seeds, data, config)


def _run(part: Part) -> int:
    """Run the cells without scores, in order; stop at the first command that fails."""
    from apps.command.cli import main

    for index, cell in enumerate(part.cells):
        if _done(part, cell):
            continue
        for line in part.lines(cell):
            say(f"[{index + 1}/{len(part.cells)}] penult {line}")
            status = main(shlex.split(line))
            if status:
                return status
            _from_first(part, lambda: True)  # which may still be drawing what the next command reads
    return 0


def _done(part: Part, cell: Cell) -> bool:
    """Whether a cell is finished, as the first of several processes sees it: the last to write."""
    return _from_first(part, lambda: part.scores(cell) is not None)


def _from_first(part: Part, find: Callable[[], bool]) -> bool:
    """What the first of several processes finds, however long it still works by itself."""
    if processes() == 1:  # and torch need not be imported
        return find()
    from apps.training.session import from_first

    return from_first(part.config.place.where(), find)


def print_part(part: Part) -> None:
    """The table: a line a cell, each metric with the published one beside it."""
    recipe = part.recipe
    heads = [head for metric in recipe.metrics for head in (metric, "published")]
    pairs = [pair for pair in recipe.cells if pair[0] in part.rows and pair[1] in part.columns]
    for pair in pairs:
        tell("cell", _told(part, *pair))
    lines = [_line(part, *pair) for pair in pairs]
    show(recipe.title, (*recipe.axes, "seeds", *heads, *recipe.extra), lines, recipe.convention)


def _named(part: Part, row: str, column: str) -> dict[str, Any]:
    """Which cell it is."""
    return {"paper": part.config.paper, "table": part.config.number, "row": row, "column": column}


def _told(part: Part, row: str, column: str) -> dict[str, Any]:
    """A cell as a document has it: each metric of each seed, None where it is not there, beside the published."""
    recipe = part.recipe
    every = [part.scores((row, column, seed)) for seed in range(part.seeds)]
    known, deviations = (of.get((row, column)) for of in (recipe.published, recipe.deviations))
    scores = {
        metric: {
            "ours": [None if one is None else _value(one, recipe.named(row, column, metric, one)) for one in every],
            "published": known[index] if known is not None and index < len(recipe.metrics) else None,
            "published deviation": deviations[index] if deviations and index < len(recipe.metrics) else None,
        }
        for index, metric in enumerate((*recipe.metrics, *recipe.extra))
    }
    return _named(part, row, column) | {
        "seeds": part.seeds,
        "done": sum(one is not None for one in every),
        "scores": scores,
    }


def _value(scores: Mapping[str, Any], name: str) -> Any:
    """A score's number, without its error; None where there is none."""
    value = scores.get(name)
    return value["value"] if isinstance(value, Mapping) else value


def _line(part: Part, row: str, column: str) -> list[str]:
    """A cell in words: its metrics over the seeds that are done."""
    recipe = part.recipe
    every = [part.scores((row, column, seed)) for seed in range(part.seeds)]
    done = [scores for scores in every if scores is not None]
    line = [row, column, f"{len(done)}/{part.seeds}"]
    known, deviations = (of.get((row, column)) for of in (recipe.published, recipe.deviations))
    for index, metric in enumerate((*recipe.metrics, *recipe.extra)):
        values = [_value(scores, recipe.named(row, column, metric, scores)) for scores in done]
        line.append(_mean(values, recipe.places))
        if index < len(recipe.metrics):
            spread = "" if deviations is None else f" +- {deviations[index]}"
            line.append("-" if known is None else f"{known[index]}{spread}")
    return line


def _mean(values: Sequence[Any], places: str) -> str:
    """The mean of the scores that there are, with their deviation where there are several."""
    there = [value for value in values if value is not None]
    spread = f" +- {stdev(there):{places}}" if len(there) > 1 else ""
    return f"{mean(there):{places}}{spread}" if there else "-"
