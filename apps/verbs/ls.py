"""List runs, classifiers, datasets, terms or tables. Answers at once: nothing heavy is imported."""

import ast
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

if TYPE_CHECKING:
    from apps.data.sources.catalogue import DatasetInfo


@dataclass(frozen=True)
class Config:
    """List what there is."""

    what: tyro.conf.Positional[Literal["runs", "classifiers", "datasets", "terms", "tables"]] = "runs"
    """What to list."""
    runs: Path = Path("runs")
    """Folder of the runs."""
    data_root: Path | None = None
    """Folder of the data sets; unset: $PENULT_DATA, else data."""


def main(config: Config) -> None:
    """Print the list."""
    {"runs": _runs, "classifiers": _classifiers, "datasets": _datasets, "terms": _terms, "tables": _tables}[
        config.what
    ](config)


def _runs(config: Config) -> None:
    from apps.command.console import say, table

    rows = [_run(path.parent) for path in sorted(config.runs.glob("*/config.json"))]
    if rows:
        table(f"runs in {config.runs}", ("run", "made by", "data", "state", "score"), rows)
    else:
        say(f"no runs in {config.runs}: penult demo makes some")


def _run(folder: Path) -> tuple[str, ...]:
    """A row of the list; a run that cannot be read is listed as such."""
    from priors.errors import InputError

    try:
        stored = _json_object(folder / "config.json")
        result = _json_object(folder / "result.json") if (folder / "result.json").is_file() else None
        states = [int(path.name[5:]) for path in (folder / "state").glob("step-*") if path.name[5:].isdigit()]
        state = "finished" if result is not None else f"at step {max(states)}" if states else "no state yet"
        shown = _score(result or {})
        return (
            folder.name,
            str(stored.get("verb", "?")),
            str((stored.get("config") or {}).get("data", "?")),
            state,
            shown,
        )
    except (InputError, AttributeError):
        return folder.name, "?", "?", "damaged", ""


def _score(result: dict) -> str:
    """The first test score of a result, or else its validation's."""
    tested = {name.replace("/", " "): value for name, value in result.items() if name.startswith("test/")}
    validated = result.get("best") or result.get("last") or {}
    chosen = tested or {f"validation {name}": value for name, value in validated.items()}
    return next((f"{name} {value:.4g}" for name, value in chosen.items() if isinstance(value, float)), "")


def _json_object(path: Path) -> dict:
    """A JSON object, read without torch, which the library's own reader would load.

    Raises:
        InputError: it is none.
    """
    from priors.errors import InputError

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no object")
    return found


def _classifiers(config: Config) -> None:
    from apps.command.console import table
    from priors.zoo.catalogue import catalogue

    rows, said = [], ""
    for entry in catalogue():
        about = f"{entry.summary} ({entry.paper})"
        size = f"{entry.parameters:,}" if entry.parameters else "-"
        # A family says what it is once, at its first member.
        rows.append((entry.name, entry.penultimate or "-", size, "" if about == said else about))
        said = about
    table(
        "classifiers",
        ("name", "penultimate", "parameters", "what it is"),
        rows,
        "parameters: as published, with 100 classes of 3 x 32 x 32 images; penultimate: width without --penultimate",
    )


def _datasets(config: Config) -> None:
    from apps.command.console import table
    from apps.data.sources.catalogue import DATASETS, data_root

    root = data_root(config.data_root)
    table(
        "data sets",
        ("name", "what it is", "images", "classes", "training", "test", "here"),
        [
            (
                info.name,
                info.description,
                "x".join(map(str, info.image_shape)),
                info.classes,
                f"{info.train:,}",
                f"{info.test:,}",
                _here(info, root),
            )
            for info in DATASETS.values()
        ],
        f"kept in {root} (--data-root, $PENULT_DATA); an .npz file or a folder with train/CLASS/* and test/CLASS/* "
        "will do as well",
    )


def _here(info: "DatasetInfo", root: Path) -> str:
    """Whether a data set is there, or where it will come from."""
    if (root / f"{info.name}.npz").is_file():
        return "yes"
    if info.made_from is not None:
        return "yes" if (root / info.name).is_dir() else f"made from {info.made_from}"
    return "built in" if info.home is None else "on first use"


def _terms(config: Config) -> None:
    from apps.command.console import say, table

    found = find_spec("distill")
    folder = Path(found.submodule_search_locations[0]) / "terms" if found else Path()
    rows = []
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            summary = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
            rows.append((path.stem.replace("_", "-"), summary))
    if rows:
        table("terms of a distillation objective", ("term", "what it is"), rows)
    else:
        say("no distillation terms in this version")


def _tables(config: Config) -> None:
    from apps.command.console import table
    from apps.recipes.table import papers, tables

    rows = [
        (f"penult table {paper} {number}", recipe.title, f"{len(recipe.rows)} x {len(recipe.columns)}", recipe.seeds)
        for paper in papers()
        for number, recipe in tables(paper).items()
    ]
    table("tables", ("command", "what it shows", "cells", "seeds"), rows)
