"""Tables in a terminal: a line a cell, and what is known of all papers at the end."""

from collections.abc import Sequence

from apps.command.console import paragraph, say
from apps.command.console import table as show
from apps.tables import words
from apps.tables.cells import Filled
from apps.tables.costs import Costs
from apps.tables.standings import Order, orders


def print_table(table: Filled) -> None:
    """A table, how its cells were made, and its rows compared in pairs."""
    recipe, letters = table.recipe, words.makers(table)
    metric = ("score",) if words.several(table) else ()
    lines = [
        (
            cell.row,
            cell.column,
            *((value.metric,) if metric else ()),
            words.published(value, recipe),
            words.ours(value, recipe),
            words.seeds(cell),
            words.hours(cell),
            words.made(cell, letters),
        )
        for cell in table.cells
        for value in cell.values
    ]
    heads = (*recipe.axes, *metric, "published", "ours", "seeds", "hours", "made")
    show(f"{table.paper} {table.number}: {recipe.title}", heads, lines, recipe.convention)
    for way, letter in letters.items():
        paragraph(f"made {letter}: {way}.")
    if recipe.ordered:
        say()
        for order in orders(table):
            _print_order(table, order, recipe.rows, f"{table.paper} {table.number}: methods in order")
    elif table.pairs:
        say()
        _print_pairs(table)
    say()


def print_orders(table: Filled, rows: Sequence[str]) -> None:
    """A table of methods alone: in their order, beside the one that they are compared with.

    Args:
        table: what there is.
        rows: that are shown.
    """
    for order in orders(table):
        _print_order(table, order, rows, table.recipe.title, table.recipe.convention)


def _print_order(table: Filled, order: Order, rows: Sequence[str], title: str, *notes: str) -> None:
    recipe, shown = table.recipe, [one for one in order.standings if one.row in rows]
    lines = [words.standing(one, recipe) for one in shown]
    caption = " ".join((*notes, words.ORDERED, words.told_apart(order)))
    show(title, (recipe.axes[0], *words.STANDING), lines, caption)
    beside = [line for one in shown if (line := words.compared(one, recipe)) is not None]
    if beside:
        say()
        show(f"{table.paper} {table.number} on {order.column} in pairs", words.COMPARED, beside, words.AGAINST)


def _print_pairs(table: Filled) -> None:
    rows = [
        (f"{row} - {other}", column, *((metric,) if words.several(table) else ()), over, apart, test, p)
        for row, other, column, metric, over, apart, test, p in words.pair_rows(table)
    ]
    metric = ("score",) if words.several(table) else ()
    heads = ("rows", table.recipe.axes[1], *metric, "pairs", "difference", "test", "p")
    show(f"{table.paper} {table.number} in pairs", heads, rows)


def print_sum(tables: Sequence[Filled], costs: Costs) -> None:
    """A line a table: how much of it is there, and what the rest would take."""
    rows = [(f"{one.paper} {one.number}", words.state(one), words.left([one])) for one in tables]
    rows.append(("all", f"{sum(one.done for one in tables)} of {sum(len(one.cells) for one in tables)} cells", ""))
    show("what is there", ("table", "there", "hours left"), rows, words.CONVENTION)
    if any(one.pairs for one in tables):
        paragraph(words.PAIRED)
    for line in basis(tables, costs):
        paragraph(line)


def basis(tables: Sequence[Filled], costs: Costs) -> list[str]:
    """How estimates were made, in sentences."""
    by = {source for one in tables for source in one.left.by}
    lines = ["Hours that are left are estimates, of trainings alone, one after the other, each once in a table."]
    if "runs" in by:
        lines.append("Where a finished run here is alike but for its length and seed, by what its updates took.")
    if "arithmetic" in by:
        lines.append(
            "Others by their arithmetic (convolutions and products of matrices), which may be off by a factor "
            "of three, or of five for narrow networks: " + " ".join(costs.said())
        )
    lines.append("penult VERB ... --plan times some updates of one training itself.")
    return lines
