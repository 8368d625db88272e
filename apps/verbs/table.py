"""Reproduce a table of a paper: run the cells that are not done, and print ours beside the published.

Each cell is a plain command (see --list). What is finished is not done again; what was stopped goes on.
"""

import shlex
from dataclasses import dataclass, field

import tyro

from apps.config import Where


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
    list: bool = False
    """Print every cell as a plain command, and do nothing."""
    show: bool = False
    """Print what there is, and train nothing."""
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)


def main(config: Config) -> int:
    """List, or run and print."""
    from apps.console import say
    from apps.recipe import table
    from priors.errors import InputError, unknown

    recipe = table(config.paper, config.number)
    for kind, given, known in (("row", config.row, recipe.rows), ("column", config.column, recipe.columns)):
        if given is not None and given not in known:
            raise unknown(kind, given, known)
    if config.seeds is not None and config.seeds < 1:
        raise InputError(f"--seeds {config.seeds}: expected 1 or more")
    if config.where.name is not None:
        raise InputError("--name with a table: its runs have names of their own; leave it out")
    rows = recipe.rows if config.row is None else (config.row,)
    columns = recipe.columns if config.column is None else (config.column,)
    cells = [(row, column, seed) for seed in range(config.seeds or recipe.seeds) for column in columns for row in rows]
    options = _options(config.where)
    commands = [
        command.format(runs=shlex.quote(str(config.where.runs))) + options for cell in cells for command in recipe.commands(*cell)
    ]
    if config.list:
        for command in dict.fromkeys(commands):
            say(f"penult {command}")
        return 0
    if not config.show:
        status = _run(cells, recipe, config, options)
        if status:
            return status
    _print(recipe, rows, columns, config)
    return 0


def _options(where: Where) -> str:
    """The flags of `where` that differ from their defaults, for each command."""
    chosen = {
        "--runs": where.runs,
        "--data-root": where.data_root,
        "--device": where.device,
        "--threads": where.threads,
    }
    usual = {"--runs": Where().runs, "--data-root": None, "--device": Where().device, "--threads": None}
    return "".join(f" {flag} {shlex.quote(str(value))}" for flag, value in chosen.items() if value != usual[flag])


def _run(cells, recipe, config: Config, options: str) -> int:
    """Run the cells without an evaluation, in order; stop at the first command that fails."""
    from apps.cli import main as run_command
    from apps.console import say

    for index, cell in enumerate(cells):
        if _scores(recipe, cell, config) is not None:
            continue
        for command in recipe.commands(*cell):
            line = command.format(runs=shlex.quote(str(config.where.runs))) + options
            say(f"[{index + 1}/{len(cells)}] penult {line}")
            status = run_command(shlex.split(line))
            if status:
                return status
    return 0


def _scores(recipe, cell, config: Config) -> dict | None:
    """The scores of a finished cell by the recipe's protocol; None where it is not done."""
    from priors.storage import read_json

    path = config.where.runs / recipe.run(*cell) / "evaluation.json"
    if not path.is_file():
        return None
    wanted = _flags(recipe.commands(*cell)[-1])
    for entry in read_json(path, "evaluations"):
        if str(entry.get("samples")) == wanted["--samples"] and str(entry.get("seed")) == wanted["--seed"]:
            return entry["scores"]
    return None


def _flags(command: str) -> dict[str, str]:
    words = shlex.split(command)
    return {word: words[index + 1] for index, word in enumerate(words[:-1]) if word.startswith("--")}


def _print(recipe, rows, columns, config: Config) -> None:
    from statistics import mean, stdev

    from apps.console import table

    lines = []
    for row in rows:
        for column in columns:
            found = [_scores(recipe, (row, column, seed), config) for seed in range(config.seeds or recipe.seeds)]
            found = [scores for scores in found if scores is not None]
            line = [row, column, f"{len(found)}/{config.seeds or recipe.seeds}"]
            for index, metric in enumerate((*recipe.metrics, *recipe.extra)):
                # An unconditional model has no label: its log p(x) stands where the others have log p(x|i).
                values = [s.get(metric, s.get("log p(x)") if index < len(recipe.metrics) else None) for s in found]
                values = [value["value"] for value in values if value is not None]
                spread = f" +- {stdev(values):.2f}" if len(values) > 1 else ""
                line.append(f"{mean(values):.2f}{spread}" if values else "-")
                if index < len(recipe.metrics):
                    line.append(f"{recipe.published[row, column][index]:.1f}")
            lines.append(line)
    heads = [head for metric in recipe.metrics for head in (metric, "published")]
    table(recipe.title, ("model", "d", "seeds", *heads, *recipe.extra), lines, recipe.convention)
