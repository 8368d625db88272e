"""Markdown from values: whatever a class or a path is called, it is shown as text."""

import re
from collections.abc import Iterable, Sequence

from apps.command.console import printable


def text(value: object) -> str:
    r"""A value on one line, with the signs that Markdown or HTML would take for their own escaped.

    Example:
        >>> print(text("a|b <c> *d*"))
        a\|b \<c\> \*d\*
    """
    return re.sub(r"([\\`*_{}\[\]<>|#&~$])", r"\\\1", printable(" ".join(str(value).split())))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> str:
    """A table; cells are escaped, and the columns in `numbers` are flushed right."""
    lines = [heads, ["---:" if column in numbers else "---" for column in range(len(heads))]]
    lines += [[text(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def code(content: str, language: str) -> str:
    """A block of code, fenced by more backticks than it holds in a row."""
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{content}\n{fence}"


def items(lines: Iterable[str]) -> str:
    """A list; the lines are Markdown."""
    return "\n".join(f"- {line}" for line in lines)


def folded(summary: str, content: str) -> str:
    """A part that is opened by a click."""
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"
