"""Reproduce a table of a paper: run the cells that are not done, and print ours beside the published.

Each cell is a plain command (see --list). What is finished is not done again; what was stopped goes on.
"""

import importlib
import os
import shlex
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import tyro

from apps.command.config import Place


@dataclass(frozen=True)
class Config:
    """Reproduce a table."""

    paper: tyro.conf.Positional[str]
    """The paper (see penult ls tables)."""
    number: tyro.conf.Positional[str]
    """The table's number."""
    row: str | None = None
    """Only this row."""
    column: str | None = None
    """Only this column."""
    seeds: int | None = None
    """Repetitions of each cell; unset: as the recipe says."""
    data: str | None = None
    """Image folder that the table is measured on, where it is of one; unset: as the recipe names it, in --data-root."""
    list: bool = False
    """Print every cell as a plain command, and do nothing."""
    show: bool = False
    """Print what there is, and train nothing."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)


def main(config: Config) -> int:
    """List, or run and print."""
    from apps.command.console import say
    from apps.recipes.table import table
    from priors.errors import InputError, unknown

    recipe = table(config.paper, config.number)
    for kind, given, known in (("row", config.row, recipe.rows), ("column", config.column, recipe.columns)):
        if given is not None and given not in known:
            raise unknown(kind, given, known)
    if config.seeds is not None and config.seeds < 1:
        raise InputError(f"--seeds {config.seeds}: expected 1 or more")
    rows = recipe.rows if config.row is None else (config.row,)
    columns = recipe.columns if config.column is None else (config.column,)
    cells = [(row, column, seed) for seed in range(config.seeds or recipe.seeds) for column in columns for row in rows]
    if config.data is not None and not recipe.folder:
        raise InputError(f"--data {config.data}: table {config.number} names its own data sets; leave it out")
    if config.list:
        for line in dict.fromkeys(line for cell in cells for line in _lines(recipe, cell, config)):
            say(f"penult {line}")
        return 0
    if not config.show:
        if recipe.folder and not Path(_folder(recipe, config)).is_dir():
            raise InputError(f"no folder {_folder(recipe, config)}: give --data FOLDER, with {recipe.layout}")
        status = _run(cells, recipe, config)
        if status:
            return status
    _print(recipe, rows, columns, config)
    return 0


def _lines(recipe, cell, config: Config) -> list[str]:
    """The commands of a cell, as one would type them after `penult`."""
    places = {"runs": str(config.place.runs), "data": _folder(recipe, config)}
    quoted = {name: shlex.quote(place) for name, place in places.items()}
    return [command.format_map(quoted) + _options(config.place) for command in recipe.commands(*cell)]


def _folder(recipe, config: Config) -> str:
    """The image folder of a table, or nothing."""
    from apps.data.sources.catalogue import data_root

    return (config.data or str(data_root(config.place.data_root) / recipe.folder)) if recipe.folder else ""


def _options(place: Place) -> str:
    """The flags of `place` that differ from their defaults, for each command."""
    chosen = {f"--{part.name.replace('_', '-')}": (getattr(place, part.name), part.default) for part in fields(Place)}
    return "".join(f" {flag} {shlex.quote(str(value))}" for flag, (value, usual) in chosen.items() if value != usual)


def _run(cells, recipe, config: Config) -> int:
    """Run the cells without an evaluation, in order; stop at the first command that fails."""
    from apps.command.cli import main as run_command
    from apps.command.console import say

    for index, cell in enumerate(cells):
        if _done(recipe, cell, config):
            continue
        for line in _lines(recipe, cell, config):
            say(f"[{index + 1}/{len(cells)}] penult {line}")
            status = run_command(shlex.split(line))
            if status:
                return status
    return 0


def _done(recipe, cell, config: Config) -> bool:
    """Whether a cell is finished, as the first of several processes sees it: the last to write."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return _scores(recipe, cell, config) is not None
    from apps.training.session import from_main, start

    return from_main(start(config.place.where(), work="small"), lambda: _scores(recipe, cell, config) is not None)


def _scores(recipe, cell, config: Config) -> dict | None:
    """The scores of a finished cell by the recipe's protocol; None where it is not done."""
    from apps.command.cli import VERBS
    from apps.command.flags import parse
    from apps.verbs import evaluate

    words = shlex.split(_lines(recipe, cell, config)[-1])
    if words[0] == "evaluate":
        return _evaluated(config.place.runs / recipe.run(*cell), parse(evaluate.Config, "evaluate", "", words[1:]))
    if words[0] in ("train", "distill"):  # whose result is the score
        return _tested(config.place.runs / recipe.run(*cell))
    verb = " ".join(words[:2])
    module = importlib.import_module(VERBS[verb][0])
    return module.scored(parse(module.Config, verb, "", words[2:]))


def _tested(folder: Path) -> dict | None:
    """What a finished training found on test images, in per cent: those of its own domain, where that is another."""
    from apps.runs.run import Run

    if not (run := Run(folder)).finished:
        return None
    result = run.result()
    found = {
        "accuracy": result.get("test/shifted accuracy", result.get("test/accuracy")),
        "best accuracy": result.get("test/best accuracy"),
        "clean accuracy": result.get("test/accuracy"),
    }
    return {name: 100 * value for name, value in found.items() if isinstance(value, int | float)}


def _evaluated(folder: Path, wanted) -> dict | None:
    """The scores of a run by the protocol that `penult evaluate` was told."""
    from apps.models.named import trained_on
    from apps.runs.evaluations import read_evaluations
    from apps.runs.run import Run
    from apps.verbs import evaluate

    found = read_evaluations(folder)
    if not found:
        return None
    wanted = replace(wanted, data=wanted.data or trained_on(Run(folder)).data)
    return next((entry["scores"] for entry in found if evaluate.follows(entry, wanted)), None)


def _print(recipe, rows, columns, config: Config) -> None:
    from statistics import mean, stdev

    from apps.command.console import table

    lines = []
    for row in rows:
        for column in columns:
            found = [_scores(recipe, (row, column, seed), config) for seed in range(config.seeds or recipe.seeds)]
            found = [scores for scores in found if scores is not None]
            line = [row, column, f"{len(found)}/{config.seeds or recipe.seeds}"]
            for index, metric in enumerate((*recipe.metrics, *recipe.extra)):
                other = recipe.instead.get(metric) if index < len(recipe.metrics) else None
                own = recipe.score(row, column, metric)
                values = [scores.get(own, scores.get(other)) for scores in found]
                values = [value["value"] if isinstance(value, dict) else value for value in values if value is not None]
                places = recipe.places
                spread = f" +- {stdev(values):{places}}" if len(values) > 1 else ""
                line.append(f"{mean(values):{places}}{spread}" if values else "-")
                if index < len(recipe.metrics):
                    known = recipe.published.get((row, column))
                    line.append("-" if known is None else str(known[index]))
            lines.append(line)
    heads = [head for metric in recipe.metrics for head in (metric, "published")]
    table(recipe.title, (*recipe.axes, "seeds", *heads, *recipe.extra), lines, recipe.convention)
