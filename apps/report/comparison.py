"""The part of a page that sets several runs beside one another."""

import json
from collections.abc import Sequence
from typing import Any

from apps.figures import short_names
from apps.report.cells import duration, score, setting
from apps.report.contents import Contents
from apps.report.markup import NOTHING, Html, element, number, table
from apps.report.scores import headline, outcome, plain_scores


def comparison(runs: Sequence[Contents], names: Sequence[str]) -> Html:
    """Scores and settings of several runs, a column each."""
    heads = [element("a", name, href=f"#run-{number}") for number, name in enumerate(names)]
    rows = [(name, *cells) for name, cells in _quantities(runs).items()]
    scores = table("Scores", ("quantity", *heads), rows, _comparability(runs)) if rows else ""
    settings = [{"made by": run.verb, **_completed(run, runs)} for run in runs]
    keys = list(dict.fromkeys(key for config in settings for key in config))
    differing = [key for key in keys if len({_identity(config, key) for config in settings}) > 1]
    lines = [
        (
            key.replace("_", "-"),
            *(
                setting(value) if key in config else "not set"
                for config, value in zip(settings, _values(settings, key), strict=True)
            ),
        )
        for key in differing
    ]
    if differing:
        agreeing = f"The other {len(keys) - len(differing)} settings agree."
        apart = table("Settings that differ", ("name", *heads), lines, agreeing)
    else:
        apart = element("p", f"All {len(keys)} settings agree.")
    both = element("div", element("div", scores), element("div", apart, class_="differ"), class_="columns")
    return element("section", element("h2", "Side by side"), both)


def _values(settings: Sequence[dict[str, Any]], key: str) -> list[Any]:
    """One setting of several runs; sets of images by their short names."""
    values = [config.get(key) for config in settings]
    return _short(values) if key == "data" else values


def _short(names: Sequence[Any]) -> list[Any]:
    """Sets of images by the ends of their paths: a whole one would push the next run out of sight."""
    found = iter(short_names([name for name in names if isinstance(name, str)]))
    return [next(found) if isinstance(name, str) else name for name in names]


def _completed(run: Contents, runs: Sequence[Contents]) -> dict[str, Any]:
    """The settings of a run, with what it did before there were some that newer ones of its kind have."""
    newer = [other for other in runs if other.verb == run.verb]
    return run.config | {
        key: value
        for other in newer
        for key, value in other.older.items()
        if key in other.config and key not in run.config
    }


def _identity(config: dict[str, Any], key: str) -> str:
    return json.dumps(config[key], sort_keys=True) if key in config else ""


def _quantities(runs: Sequence[Contents]) -> dict[str, list[Html]]:
    """Rows of the comparison: how each run was scored, its scores, the published ones under theirs, its training."""
    nothing = Html(NOTHING)
    entries = [headline(run) or {} for run in runs]
    quantities: dict[str, list[Html]] = {}

    def row(name: str, values: Sequence[Any]) -> None:
        if any(value is not None for value in values):
            cells = (value if isinstance(value, Html) else score(name, value) for value in values)
            quantities[name] = [nothing if value is None else cell for value, cell in zip(values, cells, strict=True)]

    row("scored on", _short([entry.get("data") for entry in entries]))
    row("images", [entry.get("images") for entry in entries])
    row("importance samples", [entry.get("samples") for entry in entries])
    beside: dict[str, list[Html | None]] = {}
    for index, (run, entry) in enumerate(zip(runs, entries, strict=True)):
        for metric, value in (run.published.values if run.published else {}).items():
            name, _ = run.published.ours(metric, entry.get("scores", {}))
            beside.setdefault(name, [None] * len(runs))[index] = number(value, decimals=1)
    scores = [plain_scores(entry.get("scores", {})) for entry in entries]
    for name in dict.fromkeys([*(name for some in scores for name in some), *beside]):
        row(name, [some.get(name) for some in scores])
        row(f"published {name}", beside.get(name, [None]))
    outcomes = [outcome(run)[0] for run in runs]
    for name in dict.fromkeys(name for found in outcomes for name in found):
        row(name, [found.get(name) for found in outcomes])
    row("steps", [run.result.get("steps") for run in runs])
    seconds = [run.result.get("seconds") for run in runs]
    row("training time", [duration(value) if isinstance(value, int | float) else None for value in seconds])
    return quantities


def _comparability(runs: Sequence[Contents]) -> str:
    """What has to be known to compare the numbers."""
    entries = [headline(run) for run in runs]
    keys = ("data", "data_digest", "images", "samples", "seed", "batch_size")
    alike = len({json.dumps([(entry or {}).get(key) for key in keys]) for entry in entries}) == 1
    notes = []
    if any(entry and entry.get("samples") for entry in entries):
        notes.append("Likelihoods and bounds in nats an image, with standard errors.")
    if any(run.published for run in runs):
        cells = [run.published for run in runs if run.published]
        sources = dict.fromkeys(f"{cell.source} {cell.recipe.title}." for cell in cells)
        notes.append(f"Published: {' '.join(sources)}")
    if all(entry is None for entry in entries):
        notes.append("None of them has been scored yet: see penult evaluate.")
    elif not alike:
        notes.append("The runs were not all scored on the same images in the same way.")
    return " ".join(notes)
