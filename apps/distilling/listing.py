"""The terms of a distillation objective as a table. They are read, not imported, so listing them is instant."""

import ast
from importlib.util import find_spec
from pathlib import Path

from apps.command.answer import tell
from apps.command.console import say, table


def list_terms() -> None:
    """Print a row a term: its name and the first line of what its file says."""
    rows = terms_by_file()
    for name, summary in rows:
        tell("term", {"name": name, "description": summary})
    if rows:
        table("terms of a distillation objective", ("term", "what it is"), rows)
    else:
        say("no distillation terms in this version")


def terms_by_file() -> list[tuple[str, str]]:
    """Each term's name, and the first line of what its file says."""
    found = find_spec("distill")
    folder = Path(found.submodule_search_locations[0]) / "terms" if found else Path()
    rows = []
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            summary = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
            rows.append((path.stem.replace("_", "-"), summary))
    return rows
