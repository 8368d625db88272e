"""What commands of real size took and came to, as each paper's RESULTS.md says under "What to expect"."""

import re
from dataclasses import dataclass
from pathlib import Path

import apps.recipes
from apps.recipes.table import papers
from priors.errors import InputError

_HEADING = "## What to expect"
_HEADS = ("idea", "command", "takes", "comes to")


@dataclass(frozen=True)
class Expected:
    """One row.

    Attributes:
        paper: in whose folder it stands.
        idea: that it is of, such as "prior".
        command: as one types it.
        takes: time, in words, with the machine.
        gives: what it came to, in words.
    """

    paper: str
    idea: str
    command: str
    takes: str
    gives: str


def expected(paper: str, text: str | None = None) -> tuple[Expected, ...]:
    """The rows of a paper's page; none where it has no such section.

    Args:
        paper: its key.
        text: of the page; None: what lies in the recipe's folder.

    Raises:
        InputError: there is no page, or its table is another.
    """
    text = _page(paper) if text is None else text
    if _HEADING not in text:
        return ()
    section = text.partition(_HEADING)[2].partition("\n## ")[0]
    lines = [_cells(line) for line in section.splitlines() if line.startswith("|")]
    if not lines or lines[0] != _HEADS:
        raise InputError(f"{paper}/RESULTS.md: under {_HEADING!r} a table of {', '.join(_HEADS)} was expected")
    return tuple(Expected(paper, idea, re.sub("`", "", line), *rest) for idea, line, *rest in lines[2:])


def all_expected() -> tuple[Expected, ...]:
    """The rows of all papers that have some."""
    return tuple(row for paper in papers() for row in (expected(paper) if _place(paper).is_file() else ()))


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def _place(paper: str) -> Path:
    folders = (Path(place) / paper / "RESULTS.md" for place in apps.recipes.__path__)
    return next((place for place in folders if place.is_file()), Path(paper) / "RESULTS.md")


def _page(paper: str) -> str:
    try:
        return _place(paper).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"no results of {paper} can be read ({error.strerror}): install penult anew") from None
