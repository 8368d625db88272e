"""The cells of a table as they stand: published, ours by seed, how the runs were made, or what they would take."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import mean, stdev
from typing import Any

from apps.recipes.table import Table
from apps.runs.by_image import ByImage
from apps.runs.public import public
from apps.runs.run import Run
from apps.scores.kind import Command
from apps.scores.known import found_by_image
from apps.scores.reproduction import Part, part_of
from apps.scores.settings import Reproduction
from apps.tables.arithmetic import Words, words_of
from apps.tables.costs import TRAINS, Costs, Estimate
from apps.tables.pairs import Paired, over_images, over_seeds
from priors.errors import InputError

_ARITHMETICS = (None, "bf16")
"""Which --precision runs are looked for where none is given: as the recipe says, then the other one."""


@dataclass(frozen=True)
class Value:
    """A metric of a cell.

    Attributes:
        metric: its name.
        published: with its deviation where that is printed; None where nothing is.
        ours: by seed.
        errors: of ours, by seed, over images; those that are known.
    """

    metric: str
    published: tuple[float, float | None] | None
    ours: Mapping[int, float]
    errors: Mapping[int, float]

    @property
    def mean(self) -> float | None:
        """Over the seeds that are done."""
        return mean(self.ours.values()) if self.ours else None

    @property
    def spread(self) -> tuple[float, str] | None:
        """The standard deviation over seeds; of one seed the standard error over images, where it is known."""
        if len(self.ours) > 1:
            return stdev(self.ours.values()), "sd"
        error = next(iter(self.errors.values()), None)
        return None if error is None else (error, "se")


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        row: its key.
        column: likewise.
        values: one a metric.
        extra: one a score that is printed beside them.
        done: the seeds that are scored.
        seeds: all that the recipe has; of a network that is the same for all of them, the first.
        made: what is known of how, in words; empty where nothing is done.
        took: hours of the trainings of this cell alone, of all seeds; None where it is not kept.
        left: what the rest would take: trainings that are shared with other cells included.
        images: by seed, what is kept of each test image.
    """

    row: str
    column: str
    values: tuple[Value, ...]
    extra: tuple[Value, ...]
    done: tuple[int, ...]
    seeds: tuple[int, ...]
    made: str
    took: float | None
    left: Estimate
    images: Mapping[int, ByImage]


@dataclass(frozen=True)
class Compared:
    """A row beside another, in pairs.

    Attributes:
        row: the one.
        other: that it is compared with.
        column: of both.
        metric: of both.
        over: what the pairs are, such as "2 seeds".
        found: the difference and its test.
    """

    row: str
    other: str
    column: str
    metric: str
    over: str
    found: Paired


@dataclass(frozen=True)
class Filled:
    """One table.

    Attributes:
        paper: its key.
        number: likewise.
        recipe: the table.
        cells: in order.
        pairs: rows compared in pairs.
        left: what all that is not done would take, each training once; without the cells of which it is not known.
    """

    paper: str
    number: str
    recipe: Table
    cells: tuple[Cell, ...]
    pairs: tuple[Compared, ...]
    left: Estimate

    @property
    def done(self) -> int:
        """How many cells have a score of each seed."""
        return sum(cell.done == cell.seeds for cell in self.cells)

    @property
    def begun(self) -> int:
        """How many cells have any score."""
        return sum(bool(cell.done) for cell in self.cells)


class Filling:
    """Fills a table with what is there, and trains nothing.

    Args:
        config: where things are, and the paper and number of the table.
        costs: of trainings; None: what is left is not estimated.
        either: whether runs of either arithmetic count where none is asked for.
    """

    def __init__(self, config: Reproduction, costs: Costs | None, either: bool = True):
        self.config, self.costs = config, costs
        chosen = _ARITHMETICS if config.precision is None and either else (config.precision,)
        self.parts = [part_of(replace(config, precision=precision)) for precision in chosen]
        self.recipe = self.parts[0].recipe
        self._words: dict[str, list[str]] = {}
        self._waiting: list[str] = []
        self._unknown = False

    def filled(self) -> Filled:
        """The table."""
        cells = tuple(self._cell(row, column) for row, column in self.recipe.cells)
        left = self._estimate(list(dict.fromkeys(self._waiting)))
        left = replace(left, whole=left.whole and not self._unknown)
        return Filled(self.config.paper, self.config.number, self.recipe, cells, tuple(self._pairs(cells)), left)

    def _cell(self, row: str, column: str) -> Cell:
        found = [(part, self._scores(part, row, column)) for part in self.parts]
        part, scores = max(found, key=lambda one: len(one[1]))  # the first of those that are even
        values, extra = (
            tuple(self._value(row, column, metric, scores) for metric in metrics)
            for metrics in (self.recipe.metrics, self.recipe.extra)
        )
        seeds = self._seeds(row, column)
        lines = self._lines(part, row, column, [seed for seed in seeds if seed not in scores])
        left = self._estimate(lines)
        if left.hours is None:
            self._unknown |= bool(lines)
        else:
            self._waiting += lines
        ran = [run for seed in scores if (run := _trained(part, row, column, seed)) is not None]
        return Cell(
            row,
            column,
            values,
            extra,
            tuple(scores),
            seeds,
            _made(ran, part) if scores else "",
            _hours(ran, len(scores)),
            left,
            {seed: kept for seed, one in scores.items() if (kept := _by_image(part, row, column, seed, one))},
        )

    def _seeds(self, row: str, column: str) -> tuple[int, ...]:
        """Those of a cell, each with a run of its own."""
        first: dict[str, int] = {}
        for seed in range(self.recipe.seeds):
            first.setdefault(self.recipe.run(row, column, seed), seed)
        return tuple(first.values())

    def _scores(self, part: Part, row: str, column: str) -> dict[int, Mapping[str, Any]]:
        """By seed, of those that are done; where no folder is, no command need be read."""
        runs, found = part.config.place.runs, {}
        for seed in self._seeds(row, column):
            if not (runs / self.recipe.run(row, column, seed)).is_dir():
                continue
            scores = part.scores((row, column, seed))
            if scores is not None:
                found[seed] = scores
        return found

    def _value(self, row: str, column: str, metric: str, scores: Mapping[int, Mapping[str, Any]]) -> Value:
        recipe, published, deviation = self.recipe, None, None
        if metric in recipe.metrics and (known := recipe.published.get((row, column))) is not None:
            index = recipe.metrics.index(metric)
            published = known[index]
            deviation = None if (spread := recipe.deviations.get((row, column))) is None else spread[index]
        errors_by = next((name for name in (f"{metric} error", "error") if name in recipe.extra), None)
        ours, errors = {}, {}
        for seed, one in scores.items():
            value = one.get(recipe.named(row, column, metric, one))
            error = value.get("error") if isinstance(value, Mapping) else None
            if error is None and errors_by is not None:
                error = one.get(recipe.named(row, column, errors_by, one))
            value = value["value"] if isinstance(value, Mapping) else value
            if value is not None:
                ours[seed] = float(value)
                errors |= {} if error is None else {seed: float(error)}
        return Value(metric, None if published is None else (published, deviation), ours, errors)

    def _lines(self, part: Part, row: str, column: str, seeds: Sequence[int]) -> list[str]:
        """The commands that these seeds of a cell still need; trainings that are finished are none of them."""
        found = []
        for seed in seeds:
            for line in part.lines((row, column, seed)):
                if line not in self._words:
                    self._words[line] = shlex.split(line)
                if not self._finished(line):
                    found.append(line)
        return list(dict.fromkeys(found))

    def _finished(self, line: str) -> bool:
        words = self._words[line]
        if not line.startswith(TRAINS) or "--name" not in words:
            return False
        return Run(self.config.place.runs / words[words.index("--name") + 1]).finished

    @cached_property
    def _makers(self) -> dict[str, Words]:
        """By run, the command that makes it."""
        found = {}
        for row, column in self.recipe.cells:
            for seed in range(self.recipe.seeds):
                for line in self.recipe.commands(row, column, seed):
                    if line.startswith(TRAINS):
                        words = words_of(shlex.split(line))
                        found.setdefault(words.flags.get("--name", ""), words)
        return found

    def _estimate(self, lines: Sequence[str]) -> Estimate:
        return Estimate(None, False) if self.costs is None else self.costs.of(lines, self._makers, self._words)

    def _pairs(self, cells: Sequence[Cell]) -> list[Compared]:
        """Rows that the recipe compares, where both have something."""
        by_place = {(cell.row, cell.column): cell for cell in cells}
        found = []
        for cell in cells:
            other = by_place.get((self.recipe.against.get(cell.row, ""), cell.column))
            if other is not None and cell.done and other.done:
                for index in range(len(self.recipe.metrics)):
                    found += self._compared(cell, other, index)
        return found

    def _compared(self, cell: Cell, other: Cell, index: int) -> list[Compared]:
        metric, found = self.recipe.metrics[index], []
        one, two = cell.values[index], other.values[index]

        def told(over: str, paired: Paired) -> Compared:
            return Compared(cell.row, other.row, cell.column, metric, over, paired)

        if (paired := over_seeds(one.ours, two.ours)) is not None:
            found.append(told(f"{paired.pairs} seed{'s' * (paired.pairs > 1)}", paired))
        names = [self.recipe.named(each.row, each.column, metric, {}) for each in (cell, other)]
        both = [
            seed
            for seed in sorted(cell.images.keys() & other.images.keys())
            if names[0] in cell.images[seed].scores
            and names[1] in other.images[seed].scores
            and cell.images[seed].digest == other.images[seed].digest
        ]
        # An image's mean is over seeds that were all asked it.
        both = [seed for seed in both if cell.images[seed].digest == cell.images[both[0]].digest]
        if both:
            paired = over_images(
                [cell.images[seed].scores[names[0]] for seed in both],
                [other.images[seed].scores[names[1]] for seed in both],
            )
            found.append(told(f"{paired.pairs:,} images", paired))
        return found


def _by_image(part: Part, row: str, column: str, seed: int, scores: Mapping[str, Any]) -> ByImage | None:
    cell = row, column, seed
    folder = part.config.place.runs / part.recipe.run(*cell)
    return found_by_image(Command(tuple(shlex.split(part.lines(cell)[-1])), folder), scores)


def _trained(part: Part, row: str, column: str, seed: int) -> Run | None:
    """The run of the last training of a cell; None where it has none that can be read."""
    for line in reversed(part.lines((row, column, seed))):
        words = shlex.split(line)
        if line.startswith(TRAINS) and "--name" in words:
            run = Run(part.config.place.runs / words[words.index("--name") + 1])
            return run if run.finished else None
    return None


def _made(runs: Sequence[Run], part: Part) -> str:
    """What is known of how some runs were made, in words."""
    told: dict[str, dict[str, None]] = {}
    for run in runs:
        try:
            environment = run.config().get("environment")
        except InputError:
            continue
        for name, value in public(environment if isinstance(environment, dict) else {}).items():
            told.setdefault(name, {})[str(value)] = None
    said = {name: " and ".join(values) for name, values in told.items()}
    words = [f"commit {said['commit']}" if "commit" in said else "commit not kept"]
    words.append(said.get("machine", "machine not kept"))
    if said.get("device", "cpu") != "cpu":
        words.append(said["device"])
    words += [f"{name} {said[name]}" for name in ("device", "processes", "threads", "torch", "python") if name in said]
    if part.config.precision is not None:
        words.append(f"--precision {part.config.precision}")
    return ", ".join(dict.fromkeys(words)) if said else "how it was made is not kept"


def _hours(runs: Sequence[Run], count: int) -> float | None:
    """What trainings took together, where each says it."""
    seconds = []
    for run in runs:
        try:
            seconds.append(run.result().get("seconds"))
        except InputError:
            return None
    known = len(seconds) == count > 0 and all(isinstance(one, int | float) for one in seconds)
    return sum(seconds) / 3600 if known else None
