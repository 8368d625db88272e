"""What `penult table --json` says of filled tables: every cell as it stands, rows in pairs, methods in their order."""

from dataclasses import asdict
from typing import Any

from apps.command.answer import tell
from apps.tables.cells import Cell, Filled, Value
from apps.tables.pairs import Paired
from apps.tables.standings import Standing, orders


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
    for order in orders(found) if found.recipe.ordered else ():
        for one in order.standings:
            tell("standing", table | _standing(one))
        counts = {"compared": order.compared, "told apart": order.apart, "told apart at once": order.together}
        tell("order", table | {"column": order.column, "rows": [one.row for one in order.standings]} | counts)


def _standing(one: Standing) -> dict[str, Any]:
    told = asdict(one)
    for key, found in (("by_seed", one.by_seed), ("by_image", one.by_image)):
        told[key.replace("_", " ")] = _paired(found)
        del told[key]
    return told


def _paired(found: Paired | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found) | {"interval": found.interval}


def _cell(cell: Cell) -> dict[str, Any]:
    left = cell.left
    return {
        "row": cell.row,
        "column": cell.column,
        "seeds": len(cell.seeds),
        "done": len(cell.done),
        "scores": {value.metric: _value(value, cell) for value in (*cell.values, *cell.extra)},
        "made": cell.made,
        "hours": cell.took,
        "hours left": {"hours": left.hours, "whole": left.whole, "by": sorted(left.by)},
    }


def _value(value: Value, cell: Cell) -> dict[str, Any]:
    published, deviation = value.published or (None, None)
    ours = [value.ours.get(seed) for seed in cell.seeds]
    return {"ours": ours, "published": published, "published deviation": deviation}
