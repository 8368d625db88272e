"""The models that come with the package as a table. No torch is imported: listing them is instant."""

from pathlib import Path
from typing import Any

from apps.command.answer import tell
from apps.command.console import counted, table
from apps.pretrained_models.finding import PREFIX, pretrained_folder, pretrained_mark, pretrained_names
from apps.runs.listing import listed
from priors.errors import InputError
from priors.files.json_files import read_json

_SCORES = {"accuracy": "accuracy {:.2%}", "log p(x|i)": "log p(x|i) {:.2f} nats", "log p(x)": "log p(x) {:.2f} nats"}
"""Which score of an evaluation stands for a model, the first that is there, and how it is written."""


def list_pretrained() -> None:
    """Print a row a model: what it is, on which images, its score, its size, its licence and the commit.

    Raises:
        InputError: one was cut or changed.
    """
    rows, whole = [], 0
    for name in pretrained_names():
        folder = pretrained_folder(name)
        run, mark = listed(folder), pretrained_mark(folder)
        environment = (read_json(folder / "config.json") or {}).get("environment") or {}
        size = sum(path.stat().st_size for path in folder.iterdir())
        whole += size
        score, value = _score(folder)
        own = {
            "size": size,
            "dtype": mark.get("dtype", "float32"),
            "licence": mark.get("licence"),
            "commit": environment.get("commit"),
        }
        tell("pretrained", run.row | {"score": score, "value": value, "name": name} | own)
        said = _SCORES[score].format(value) if score else "not scored"
        made = str(run.config.get("arch") or run.config.get("variant") or run.verb)
        told = (own["dtype"], own["licence"] or "not said", own["commit"] or "not kept")
        rows.append((f"{PREFIX}{name}", made, str(run.config.get("data")), said, _shown(size), *told))
    table(
        "models that come with penult",
        ("MODEL", "what it is", "data", "score", "size", "weights", "licence", "commit"),
        rows,
        f"{counted(len(rows), 'model')}, {_shown(whole)}; penult show MODEL prints the command that made it; in Python "
        "it is apps.from_pretrained(NAME)",
    )


def _score(folder: Path) -> tuple[str | None, float | None]:
    """The score that stands for a model: its name and value; both None where it was not evaluated.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / "evaluation.json"
    entries: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    if not isinstance(entries, list):
        raise InputError(f"{path} is no list of evaluations")
    for entry in reversed(entries):
        for name in _SCORES:
            if (value := entry["scores"].get(name)) is not None:
                return name, value["value"] if isinstance(value, dict) else value
    return None, None


def _shown(size: int) -> str:
    return f"{size / 1e6:.2f} MB"
