"""The runs in a folder as a table. No torch is imported: listing them is instant."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apps.command.answer import tell
from apps.command.console import say, table
from apps.command.ranges import FolderRule
from apps.runs.columns import Columns, flat
from apps.runs.result import tested, validated
from apps.runs.run import Run
from priors.errors import InputError, shown
from priors.files.json_files import read_json

DAMAGED, FOREIGN = "damaged", "another program's"
"""States of folders that hold no run that can be read."""


@dataclass(frozen=True)
class Listed:
    """A run in a row.

    Attributes:
        folder: its place.
        verb: what made it; None where that is not known.
        state: "finished", "at step N", "no state yet", "damaged" or "another program's".
        step: updates done, as far as the newest complete state or the result says so.
        config: its settings, as they are stored.
        result: numbers that its training came to, by name, objects within it as names with slashes.
        score: name and value of the number that stands for the run; None where there is none.
        problem: why it cannot be read; empty where it can.
    """

    folder: Path
    verb: str | None
    state: str
    step: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    score: tuple[str, float] | None = None
    problem: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """What `penult ls runs --json` and `apps.list_runs` say of it."""
        name, value = self.score or (None, None)
        return {
            "run": self.folder.name,
            "path": str(self.folder),
            "verb": self.verb,
            "data": self.config.get("data"),
            "state": self.state,
            "step": self.step,
            "score": name,
            "value": value,
            "problem": self.problem or None,
        }


def listed_runs(runs: Path) -> list[Listed]:
    """All runs in a folder by name, also those that are not finished or cannot be read."""
    return [listed(path.parent) for path in sorted(runs.glob("*/config.json"))]


def list_runs(folder: str | Path = "runs") -> Columns:
    """All runs in a folder as a table, a row a run; what cannot be read is a row too, with its state and problem.

    Args:
        folder: of the runs.

    Returns:
        Columns "run" (its name), "path", "verb", "data", "state", "step", "score" with its "value" and "problem"; then
        each setting as "config/NAME" and each number of the results as "result/NAME". `.rows` has the same by row, and
        `.frame()` as a DataFrame, where pandas is installed.

    Raises:
        InputError: there is no such folder.

    Example:
        >>> import tempfile
        >>> found = list_runs(tempfile.mkdtemp())
        >>> len(found.rows), list(found)[:3]
        (0, ['run', 'path', 'verb'])
    """
    if not isinstance(folder, str | Path):
        raise InputError(f"list_runs of {shown(folder)}: expected the path of a folder of runs")
    folder = Path(folder)
    if not folder.is_dir():
        rule = FolderRule("runs").refusal(folder)
        raise InputError(f"{folder}: {rule}" if rule else f"{folder}: there is no such folder; penult demo makes runs")
    rows = [
        one.row
        | {f"config/{name}": value for name, value in flat(one.config).items()}
        | {f"result/{name}": value for name, value in one.result.items()}
        for one in listed_runs(folder)
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    own = list(Listed(Path(), None, "").row)
    return Columns(rows, [*own, *sorted(names.keys() - set(own))])


def print_runs(runs: Path) -> None:
    """Print a row a run: what made it, on which images, how far it is and its score."""
    found = listed_runs(runs)
    rows = [
        (
            one.folder.name,
            one.verb or "?",
            str(one.config.get("data", "?")),
            one.state,
            f"{one.score[0]} {one.score[1]:.4g}" if one.score else "",
        )
        for one in found
    ]
    for one in found:
        tell("run", one.row | {"result": one.result})
    if rows:
        table(f"runs in {runs}", ("run", "made by", "data", "state", "score"), rows)
    else:
        say(f"no runs in {runs}: penult demo makes some")


def listed(folder: Path) -> Listed:
    """A run in a row; one that cannot be read is listed as such."""
    try:
        stored = _json_object(folder / "config.json")
        result = _json_object(folder / "result.json") if (folder / "result.json").is_file() else None
        if "verb" not in stored:
            return Listed(folder, None, FOREIGN, problem=f"{folder}/config.json names no verb of penult")
        config = stored.get("config") or {}
        if not isinstance(config, dict):
            raise InputError(f"{folder}/config.json holds no settings")
        score = _score(result or {}) or _evaluated(folder)
        own = {"verb": str(stored["verb"]), "config": config, "score": score}
        if result is not None:
            steps = result.get("steps")
            numbers = {name: value for name, value in flat(result).items() if isinstance(value, int | float)}
            return Listed(folder, state="finished", step=steps if type(steps) is int else None, result=numbers, **own)
        steps = [int(place.name.removeprefix("step-")) for place in Run(folder).states()]
        if not steps:
            return Listed(folder, state="no state yet", **own)
        return Listed(folder, state=f"at step {steps[-1]}", step=steps[-1], **own)
    except (InputError, AttributeError) as error:
        return Listed(folder, None, DAMAGED, problem=" ".join(str(error).split()))


def _score(result: dict[str, Any]) -> tuple[str, float] | None:
    """The first test score of a result, or else its validation's."""
    chosen = {f"test {name}": value for name, value in tested(result).items()}
    chosen = chosen or {f"validation {name}": value for name, value in validated(result).items()}
    return next(((name, value) for name, value in chosen.items() if isinstance(value, float)), None)


def _evaluated(folder: Path) -> tuple[str, float] | None:
    """The first score of the last evaluation, of a run whose training took none, such as an SNGAN's."""
    path = folder / "evaluation.json"
    entries = read_json(path) if path.is_file() else []
    for entry in reversed(entries if isinstance(entries, list) else []):
        scores = entry.get("scores") if isinstance(entry, dict) else None
        for name, value in scores.items() if isinstance(scores, dict) else ():
            number = value.get("value") if isinstance(value, dict) else value
            if isinstance(number, float):
                return f"evaluated {name}", number
    return None


def _json_object(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: it is none.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no object")
    return found
