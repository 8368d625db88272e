"""One or several runs as one HTML page, side by side where there is room."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from apps.report.article import article
from apps.report.comparison import comparison
from apps.report.contents import Contents
from apps.report.curves import frame_of
from apps.report.markup import Html, element
from apps.report.style import CSS
from apps.runs.quantities import Panel
from priors.errors import InputError
from priors.files.regular import open_regular

GENERATOR = "penult report"
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def is_page(path: Path, generator: str = GENERATOR) -> bool:
    """Whether a file is a page that a command has written, and so may be written anew."""
    with suppress(OSError, InputError):
        with open_regular(path) as file:
            return f'<meta name="generator" content="{generator}">'.encode() in file.read(1024)
    return False


def page(runs: Sequence[Contents]) -> str:
    """The whole page; the same runs give the same text."""
    names = labels([run.folder for run in runs])
    several = len(runs) > 1
    title = f"{len(runs)} runs: {', '.join(names)}" if several else names[0]
    frames = _frames(runs)
    level = 2 if several else 1
    body = [
        article(run, name, number, level, frames) for number, (run, name) in enumerate(zip(runs, names, strict=True))
    ]
    if several:
        header = element("header", element("h1", title))
        body = [header, comparison(runs, names), element("div", *body, class_="runs")]
    return document(title, body, "several" if several else None)


def document(title: str, body: Sequence[Html], class_: str | None = None, generator: str = GENERATOR) -> str:
    """A whole page that needs nothing beside it.

    Args:
        title: in the head.
        body: its parts.
        class_: of the body; "several" for a wide one.
        generator: the command that writes such pages, by which `is_page` knows them.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="generator", content=generator),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", title),
        element("style", Html(CSS)),
    )
    whole = element("html", head, element("body", element("main", *body), class_=class_), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n"


def labels(folders: Sequence[Path]) -> list[str]:
    """What runs are called: their folders' names, or the whole of what was given where two are the same."""
    names = [folder.resolve().name or str(folder) for folder in folders]
    return [name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]


def _frames(runs: Sequence[Contents]) -> dict[str, tuple[float, float]]:
    """The frame of each quantity's curves, shared by all runs."""
    same: dict[str, list[Panel]] = {}
    for run in runs:
        for panel in run.panels:
            same.setdefault(panel.name, []).append(panel)
    return {name: frame_of(panels) for name, panels in same.items()}
