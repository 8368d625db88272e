"""Cells and pairs as a document has them: --json of `penult table --all`."""

from dataclasses import asdict
from typing import Any

from apps.command.answer import tell
from apps.tables.cells import Cell, Filled


def tell_table(table: Filled) -> None:
    """Add each cell of a table, and rows that are compared in pairs, to the command's document."""
    where = {"paper": table.paper, "table": table.number}
    for cell in table.cells:
        tell("cell", where | _told(cell))
    for one in table.pairs:
        names = {"row": one.row, "against": one.other, "column": one.column, "metric": one.metric, "over": one.over}
        tell("pair", where | names | asdict(one.found))


def _told(cell: Cell) -> dict[str, Any]:
    """A cell: each metric of each seed, None where it is not there, beside the published; how it was made."""
    scores = {
        value.metric: {
            "ours": [value.ours.get(seed) for seed in cell.seeds],
            "published": value.published[0] if value.published else None,
            "published deviation": value.published[1] if value.published else None,
        }
        for value in cell.values
    }
    return {
        "row": cell.row,
        "column": cell.column,
        "seeds": len(cell.seeds),
        "done": len(cell.done),
        "scores": scores,
        "made": cell.made or None,
        "hours taken": cell.took,
        "hours left": cell.left.hours if cell.done != cell.seeds else 0.0,
        "hours left are whole": cell.left.whole,
    }
