"""What verbs print: tables and lines on standard output."""

import sys
from collections.abc import Iterable, Sequence


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> None:
    """Print a table; columns whose cells are numbers are flushed right.

    Args:
        title: above it.
        columns: heads.
        rows: cells; floats are shown as given, so round them first.
        caption: below it, for conventions and units.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [[str(cell) for cell in row] for row in rows]
    drawn = Table(title=Text(title), caption=Text(caption) if caption else None, title_justify="left", caption_justify="left")
    for index, column in enumerate(columns):
        numeric = all(_is_number(row[index]) for row in rows)
        drawn.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    # Piped output has no width of its own: never fold a table for want of one.
    Console(highlight=False, width=None if sys.stdout.isatty() else 180).print(drawn)


def _is_number(cell: str) -> bool:
    cell = cell.split(" ")[0].rstrip("%")
    try:
        float(cell)
    except ValueError:
        return cell in ("", "-", "+-")
    return True


def say(text: str = "") -> None:
    """Print one line, at once."""
    print(text, flush=True)
