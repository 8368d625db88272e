"""What verbs print: tables and lines on standard output."""

import re
import shutil
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

from apps.command.launch import is_first

_NARROWEST = 10
"""Columns of text are folded to make a table fit, but not below this many characters."""
_MOST_ROWS, _ENDS = 100, 20
"""Rows of a table of classes that are all shown, and how many at either end where there are more."""
_HARMLESS = "\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
"""Signs of ordinary texts that Python does not count as printable."""


def printable(text: object) -> str:
    r"""A text that does nothing but stand where it is put: what controls a terminal is written out.

    Escapes, line breaks, marks that turn the direction of writing and bytes of no character are such; names of classes
    and of runs come from files, and may hold anything.

    Example:
        >>> print(printable("a\x1b[31m cat\n"))
        a\x1b[31m cat\n
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in _HARMLESS else ascii(one)[1:-1] for one in text)


def counted(number: int | str, thing: str) -> str:
    """How many there are of something, in the plural but of one; a number that is no whole one comes as text.

    Example:
        >>> counted(1, "test image"), counted(1200, "test image"), counted(f"{1.0:g}", "epoch"), counted(2, "process")
        ('1 test image', '1,200 test images', '1 epoch', '2 processes')
    """
    number = number if isinstance(number, str) else f"{number:,}"
    return f"{number} {thing}" if number == "1" else f"{number} {thing}{'es' if thing.endswith('s') else 's'}"


def ends(rows: Sequence[Sequence[object]], what: str) -> tuple[list[Sequence[object]], str]:
    """The rows of a table where they are 100 at most; else the first and the last 20, with a row between that says so.

    Args:
        rows: all of them, as many cells each.
        what: one of them is, as in "class".

    Returns:
        The rows to show, and what a caption goes on with; nothing where they are all.

    Example:
        >>> shown, said = ends([(str(number), number) for number in range(1000)], "class")
        >>> len(shown), shown[19:22], said
        (41, [('19', 19), ('...', ''), ('980', 980)], '; 960 of 1,000 classes are not shown')
    """
    if len(rows) <= _MOST_ROWS:
        return list(rows), ""
    left = ("...", *[""] * (len(rows[0]) - 1))
    said = f"; {len(rows) - 2 * _ENDS:,} of {counted(len(rows), what)} are not shown"
    return [*rows[:_ENDS], left, *rows[-_ENDS:]], said


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> None:
    """Print a table as wide as the terminal at most (120 characters where there is none).

    Columns of numbers are flushed right. Where the table is too wide, columns of text are folded between words, the
    first one last.

    Args:
        title: above it.
        columns: heads.
        rows: cells; floats are shown as given, so round them first.
        caption: below it, for conventions and units.
    """
    say("\n".join(render(title, columns, rows, caption, _width())))


def paragraph(text: str) -> None:
    """Print a text of one paragraph, as wide as a table's caption at most."""
    say("\n".join(_AtSlashes(_width(), break_on_hyphens=False).wrap(text)))


def _width() -> int:
    return shutil.get_terminal_size((120, 24)).columns


def render(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "", width: int = 120
) -> list[str]:
    r"""The lines of a table, none with trailing blanks.

    Example:
        >>> print("\n".join(render("pets", ("kind", "legs"), [("cat", 4), ("canary", 2)])))
        pets
        kind    legs
        ------  ----
        cat        4
        canary     2
    """
    columns, cells = [printable(head) for head in columns], [[printable(cell) for cell in row] for row in rows]
    numeric = [all(_is_number(row[index]) for row in cells) for index in range(len(columns))]
    widths = [max(map(_columns, (head, *(row[i] for row in cells)))) for i, head in enumerate(columns)]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        foldable = [i for i, wide in enumerate(widths) if not numeric[i] and wide > _NARROWEST]
        if not foldable:
            break
        widths[max(foldable, key=lambda i: (i > 0, widths[i]))] -= 1
    lines = _AtSlashes(width).wrap(title) + _row(columns, widths, numeric) + ["  ".join("-" * wide for wide in widths)]
    for row in cells:
        lines += _row(row, widths, numeric)
    return lines + _AtSlashes(width).wrap(caption)


def _row(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> list[str]:
    """One row, as many lines as its tallest cell; what goes on from the line above is indented."""
    folded = [
        _AtSlashes(wide, subsequent_indent=" ", break_on_hyphens=False).wrap(cell) if _columns(cell) > wide else [cell]
        for cell, wide in zip(cells, widths, strict=True)
    ]
    lines = []
    for number in range(max(map(len, folded))):
        parts = [part[number] if number < len(part) else "" for part in folded]
        padded = [
            " " * (wide - _columns(part)) + part if right else part + " " * (wide - _columns(part))
            for part, wide, right in zip(parts, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


class _AtSlashes(textwrap.TextWrapper):
    """Folds between words, and words that are too long for a line, such as paths, after their slashes."""

    def _split(self, text: str) -> list[str]:
        most = self.width - len(self.subsequent_indent)
        words = super()._split(text)
        return [part for word in words for part in (re.findall("[^/]*/+|[^/]+", word) if len(word) > most else [word])]


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: two a wide character, as in Chinese or Japanese class names."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)


def _is_number(cell: str) -> bool:
    cell = cell.split(" ")[0].rstrip("%").replace(",", "")
    try:
        float(cell)
    except ValueError:
        return cell in ("", "-", "+-")
    return True


def say(text: str = "") -> None:
    """Print a text at once, each of its lines as `printable`; of several processes only the first does."""
    if is_first():
        print("\n".join(map(printable, text.split("\n"))), flush=True)
