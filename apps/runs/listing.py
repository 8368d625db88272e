"""The runs in a folder as a table. No torch is imported: listing them is instant."""

from pathlib import Path
from typing import Any

from apps.command.console import say, table
from apps.runs.result import tested, validated
from apps.runs.run import Run
from priors.errors import InputError
from priors.files.json_files import read_json


def list_runs(runs: Path) -> None:
    """Print a row a run: what made it, on which images, how far it is and its score."""
    rows = [_row(path.parent) for path in sorted(runs.glob("*/config.json"))]
    if rows:
        table(f"runs in {runs}", ("run", "made by", "data", "state", "score"), rows)
    else:
        say(f"no runs in {runs}: penult demo makes some")


def _row(folder: Path) -> tuple[str, ...]:
    """A row of the list; a run that cannot be read is listed as such."""
    try:
        stored = _json_object(folder / "config.json")
        result = _json_object(folder / "result.json") if (folder / "result.json").is_file() else None
        states = [place.name.removeprefix("step-") for place in Run(folder).states()]
        state = "finished" if result is not None else f"at step {states[-1]}" if states else "no state yet"
        made_by, data = stored.get("verb", "?"), (stored.get("config") or {}).get("data", "?")
        return folder.name, str(made_by), str(data), state, _score(result or {}) or _evaluated(folder)
    except (InputError, AttributeError):
        return folder.name, "?", "?", "damaged", ""


def _score(result: dict[str, Any]) -> str:
    """The first test score of a result, or else its validation's."""
    chosen = {f"test {name}": value for name, value in tested(result).items()}
    chosen = chosen or {f"validation {name}": value for name, value in validated(result).items()}
    return next((f"{name} {value:.4g}" for name, value in chosen.items() if isinstance(value, float)), "")


def _evaluated(folder: Path) -> str:
    """The first score of the last evaluation, of a run whose training took none, such as an SNGAN's."""
    path = folder / "evaluation.json"
    entries = read_json(path) if path.is_file() else []
    for entry in reversed(entries if isinstance(entries, list) else []):
        scores = entry.get("scores") if isinstance(entry, dict) else None
        for name, value in scores.items() if isinstance(scores, dict) else ():
            number = value.get("value") if isinstance(value, dict) else value
            if isinstance(number, float):
                return f"evaluated {name} {number:.4g}"
    return ""


def _json_object(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: it is none.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no object")
    return found
