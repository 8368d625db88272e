"""List runs, classifiers, datasets, terms or tables. Answers at once: nothing heavy is imported."""

import ast
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import tyro

from apps.config import Where


@dataclass(frozen=True)
class Config:
    """List what there is."""

    what: tyro.conf.Positional[Literal["runs", "classifiers", "datasets", "terms", "tables"]] = "runs"
    """What to list."""
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)


def main(config: Config) -> None:
    """Print the list."""
    {"runs": _runs, "classifiers": _classifiers, "datasets": _datasets, "terms": _terms, "tables": _tables}[config.what](config)


def _runs(config: Config) -> None:
    from apps.console import say, table
    from apps.run import Run

    rows = []
    for path in sorted(config.where.runs.glob("*/config.json")):
        run = Run(path.parent)
        stored = run.config()
        states = run.states()
        state = "finished" if run.finished else f"at step {states[-1].name[5:]}" if states else "no state yet"
        result = run.result() if run.finished else {}
        scores = result.get("best") or result.get("last") or {}
        shown = ", ".join(f"{name} {value:.4g}" for name, value in scores.items() if isinstance(value, float))
        rows.append((path.parent.name, stored.get("verb", "?"), stored.get("config", {}).get("data", "?"), state, shown))
    if rows:
        table(f"runs in {config.where.runs}", ("run", "made by", "data", "state", "validation"), rows)
    else:
        say(f"no runs in {config.where.runs}: penult demo makes some")


def _classifiers(config: Config) -> None:
    from apps.console import table
    from priors.zoo.catalogue import catalogue

    table(
        "classifiers",
        ("name", "penultimate", "parameters", "what it is", "paper"),
        [
            (
                entry.name,
                entry.penultimate or "-",
                f"{entry.parameters:,}" if entry.parameters else "-",
                entry.summary,
                entry.paper,
            )
            for entry in catalogue()
        ],
        "parameters: as published, with 100 classes of 3 x 32 x 32 images; penultimate: the width unless --penultimate is given",
    )


def _datasets(config: Config) -> None:
    from apps.console import table
    from apps.datasets import DATASETS, data_root

    root = data_root(config.where.data_root)
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
                "built in" if info.home is None else "yes" if (root / f"{info.name}.npz").is_file() else "on first use",
            )
            for info in DATASETS.values()
        ],
        f"kept in {root} (--data-root, $PENULT_DATA); an .npz file or a folder with train/CLASS/* and test/CLASS/* will do as well",
    )


def _terms(config: Config) -> None:
    from apps.console import say, table

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
    from apps.console import table
    from apps.recipe import papers, tables

    rows = [
        (f"penult table {paper} {number}", recipe.title, f"{len(recipe.rows)} x {len(recipe.columns)}", recipe.seeds)
        for paper in papers()
        for number, recipe in tables(paper).items()
    ]
    table("tables", ("command", "what it shows", "cells", "seeds"), rows)
