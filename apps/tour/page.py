"""The tour as one HTML page: an idea after the other, and what to expect on real data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from apps.recipes.expected import Expected
from apps.report.cells import duration
from apps.report.contents import Picture
from apps.report.markup import Html, element, joined, picture, table
from apps.report.page import document
from apps.tour.stops import Stop

GENERATOR = "penult demo"
_WIDE = 1000
"""Pixels beyond which a picture scrolls rather than shrinks."""


@dataclass(frozen=True)
class Shown:
    """A stop that has been gone through.

    Attributes:
        stop: which.
        commands: as one types them.
        picture: what there is to see.
        sentences: what is said of it.
        expected: rows of what to expect on real data.
    """

    stop: Stop
    commands: Sequence[str]
    picture: Picture
    sentences: Sequence[str]
    expected: Sequence[Expected]


def page(shown: Sequence[Shown], seconds: float | None, machine: str) -> str:
    """The whole page; the same stops give the same text.

    Args:
        shown: the stops in order.
        seconds: of all trainings; None where it is not known.
        machine: that they were made on, in words.
    """
    took = "" if seconds is None else f" Its trainings took {duration(seconds)} ({machine})."
    header = element(
        "header",
        element("h1", "A tour of five papers, on ten digits"),
        element(
            "p",
            "Seven ideas on handwritten digits of 8x8 pixels, a picture each. All numbers are of this very run."
            f"{took} Below each picture stand the commands that made it, and what the same idea takes and comes to on "
            "real data.",
            class_="lead",
        ),
        element("ol", *(element("li", element("a", one.stop.title, href=f"#{one.stop.key}")) for one in shown)),
    )
    parts = [_part(number, one) for number, one in enumerate(shown, 1)]
    return document("A tour of five papers, on ten digits", [header, *parts, _expectations(shown)], generator=GENERATOR)


def _part(number: int, one: Shown) -> Html:
    image = picture(
        one.picture.png,
        one.picture.width,
        one.picture.height,
        one.stop.shows,
        class_="wide" if one.picture.width > _WIDE and one.picture.width > 2 * one.picture.height else None,
    )
    box = element("div", image, class_="scroll", tabindex=0, role="region", aria_label=one.stop.shows)
    commands = element("pre", element("code", "\n".join(one.commands)))
    return element(
        "section",
        element("h2", f"{number}. {one.stop.title}", id=one.stop.key),
        element("p", "; ".join(map(_source, one.stop.papers)), class_="facts"),
        *(element("p", text) for text in one.sentences),
        element("figure", element("figcaption", one.stop.shows), box, class_="pictures"),
        element("details", element("summary", "The commands of this picture"), commands),
        _expected(one.expected),
    )


def _expected(rows: Sequence[Expected]) -> Html:
    """What to expect, with links to the commands."""
    if not rows:
        return Html("")
    listed = [
        element("li", element("a", f"{row.takes}", href=f"#{anchor(row, rows)}"), f": {row.gives}.") for row in rows
    ]
    return joined((element("p", "On real data:", class_="note"), element("ul", *listed, class_="note")))


def anchor(row: Expected, rows: Sequence[Expected]) -> str:
    """The id of a row's command on the page, where rows are those of one idea."""
    return f"real-{row.idea}-{rows.index(row) + 1}"


def _expectations(shown: Sequence[Shown]) -> Html:
    """The commands for real data, with what each takes and comes to."""
    rows = [
        (
            element("span", row.idea, id=anchor(row, one.expected)),
            row.takes,
            row.gives,
            element("code", row.command),
        )
        for one in shown
        for row in one.expected
    ]
    note = (
        "Measured, as apps/recipes/PAPER/RESULTS.md says with all that belongs to it. penult table --all has every "
        "published number beside what was run of it; --plan after a training's command says what it takes here."
    )
    return element(
        "section",
        element("h2", "What to expect on real data", id="real"),
        table("By idea", ("idea", "takes", "comes to", "command"), rows, note),
    )


def _source(paper: str) -> str:
    return str(import_module(f"apps.recipes.{paper}").__doc__).partition("\n")[0].rstrip(".")


def by_idea(rows: Sequence[Expected]) -> Mapping[str, list[Expected]]:
    """Rows of what to expect, by their idea."""
    found: dict[str, list[Expected]] = {}
    for row in rows:
        found.setdefault(row.idea, []).append(row)
    return found
