"""What `penult table --all --json` says: every cell as it stands, and the rows that are compared in pairs."""

from dataclasses import asdict
from typing import Any

from apps.command.answer import tell
from apps.tables.cells import Cell, Filled, Value


def tell_table(found: Filled) -> None:
    """Tell the cells of a table, and its pairs.

    Args:
        found: the table.
    """
    table = {"paper": found.paper, "table": found.number}
    for cell in found.cells:
        tell("cell", table | _cell(cell))
    for pair in found.pairs:
        told = asdict(pair)
        test = told.pop("found")
        tell("pair", table | told | test)


def _cell(cell: Cell) -> dict[str, Any]:
    left = cell.left
    return {
        "row": cell.row,
        "column": cell.column,
        "seeds": len(cell.seeds),
        "done": len(cell.done),
        "scores": {value.metric: _value(value, cell) for value in cell.values},
        "made": cell.made,
        "hours": cell.took,
        "hours left": {"hours": left.hours, "whole": left.whole, "by": sorted(left.by)},
    }


def _value(value: Value, cell: Cell) -> dict[str, Any]:
    published, deviation = value.published or (None, None)
    ours = [value.ours.get(seed) for seed in cell.seeds]
    return {"ours": ours, "published": published, "published deviation": deviation}
