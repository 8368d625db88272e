"""The numbers of cells as they are read, in a terminal and on a page alike."""

from collections.abc import Sequence

from apps.command.console import counted
from apps.recipes.table import Table
from apps.tables.cells import Cell, Filled, Value
from apps.tables.pairs import Paired
from apps.tables.standings import Order, Spread, Standing

CONVENTION = (
    "ours: the mean over the seeds that are done, +- their standard deviation; of one seed (se): its standard error "
    "over images. hours: what the cell's own trainings took, of all seeds; with ~: what the seeds that are not run "
    "would take, the trainings that they share with other cells included. +: what scores, and cells of which nothing "
    "is known, are left out. made: by its letter, below the table."
)
"""Of all tables."""
PAIRED = (
    "difference: the first row less the second, +- its standard error over the pairs, which are seeds that both have, "
    "or test images that both were asked; the latter tell of these networks alone. t: Student's, of the differences; "
    "McNemar: exact, of images that one of the two finds. p: two-sided, of each comparison by itself: where chance "
    "alone tells two rows apart, it is .05 or less in 5 of 100. One pair is no test."
)
"""Of all comparisons."""
ORDERED = (
    "In the order of the mean of the last; a row without a score is at the end. places: those that a row may have: "
    "each other row is taken for better or worse where p < .05 by Student's t over seeds that both have."
)
"""Of methods in order."""
AGAINST = (
    "difference: of the last, over seeds that both have, with its 95 % interval by Student's t; over test images, +- "
    "its standard error, with p of the test (McNemar's of one seed, else Student's t), which tell of these networks "
    "alone. Each comparison is by itself."
)
"""Of methods beside one of them."""


def published(value: Value, recipe: Table) -> str:
    """What the paper prints; a dash where it prints nothing."""
    if value.published is None:
        return "-"
    number, deviation = value.published
    return f"{number:g}" + ("" if deviation is None else f" +- {deviation:g}")


def ours(value: Value, recipe: Table) -> str:
    """Our mean with its spread; a dash where there is none."""
    if value.mean is None:
        return "-"
    text = f"{value.mean:{recipe.places}}"
    if value.spread is None:
        return text
    size, kind = value.spread
    return f"{text} +- {size:{recipe.places}}" + (" (se)" if kind == "se" else "")


def seeds(cell: Cell) -> str:
    """How many are done, of how many."""
    return f"{len(cell.done)}/{len(cell.seeds)}"


def hours(cell: Cell) -> str:
    """What a cell took, or what it would take."""
    if cell.done == cell.seeds:
        return "-" if cell.took is None else f"{cell.took:.2g}"
    return f"~{cell.left.said.replace(' h', '')}" if cell.left.hours is not None else "unknown"


def makers(table: Filled) -> dict[str, str]:
    """A letter for each way in which cells of a table were made."""
    ways = dict.fromkeys(cell.made for cell in table.cells if cell.made)
    return {way: _letter(number) for number, way in enumerate(ways)}


def _letter(number: int) -> str:
    """The letters of the alphabet, then aa, ab and so on.

    Example:
        >>> _letter(0), _letter(25), _letter(26)
        ('a', 'z', 'aa')
    """
    before, rest = divmod(number, 26)
    return ("" if before == 0 else _letter(before - 1)) + "abcdefghijklmnopqrstuvwxyz"[rest]


def made(cell: Cell, letters: dict[str, str]) -> str:
    """How it was made, by its letter; or that it was not."""
    return letters[cell.made] if cell.made else "not run"


def difference(found: Paired, recipe: Table) -> str:
    """How much more the one has, with its error."""
    text = f"{found.difference:+{recipe.places}}"
    return text if found.error is None else f"{text} +- {found.error:{recipe.places}}"


def chance(found: Paired) -> str:
    """A p as it is read.

    Example:
        >>> chance(Paired(1.0, 0.1, 9, "t", 0.0312)), chance(Paired(1.0, 0.1, 9, "t", 1e-9))
        ('.031', '< .0001')
    """
    if found.p is None:
        return "-"
    return "< .0001" if found.p < 1e-4 else f"{found.p:.2g}".removeprefix("0")


def pair_rows(table: Filled) -> list[tuple[str, ...]]:
    """Comparisons of a table, a row each: row, other, column, metric, over, difference, test, p."""
    return [
        (
            one.row,
            one.other,
            one.column,
            one.metric,
            one.over,
            difference(one.found, table.recipe),
            one.found.test or "no test",
            chance(one.found),
        )
        for one in table.pairs
    ]


def over_seeds(found: Spread | None, recipe: Table) -> tuple[str, str, str]:
    """Numbers over seeds: their mean with its deviation, their median and their range; of one, itself alone."""
    if found is None:
        return "-", "-", "-"
    average, deviation, middle, least, most = (
        "" if value is None else f"{value:{recipe.places}}"
        for value in (found.mean, found.deviation, found.median, found.least, found.most)
    )
    return (f"{average} +- {deviation}", middle, f"{least} to {most}") if deviation else (average, "-", "-")


STANDING = ("places", "seeds", "last", "median", "range", "best", "median", "range", "published")
"""Heads of `standing`, after the row."""


def standing(one: Standing, recipe: Table) -> tuple[str, ...]:
    """A row of methods in order."""
    first, last = one.places or (0, 0)
    places = "-" if one.places is None else f"{first}" if first == last else f"{first} to {last}"
    spreads = (*over_seeds(one.last, recipe), *over_seeds(one.best, recipe))
    known = "-" if one.published is None else f"{one.published:g}"
    return one.row, places, f"{one.done}/{one.seeds}", *spreads, known


COMPARED = ("rows", "seeds", "difference", "95 % interval", "of images", "test", "p")
"""Heads of `compared`."""


def compared(one: Standing, recipe: Table) -> tuple[str, ...] | None:
    """A row beside the one that it is compared with; None where both have nothing."""
    if one.by_seed is None:
        return None
    interval, images = one.by_seed.interval, one.by_image
    low, high = ("", "") if interval is None else (f"{bound:+{recipe.places}}" for bound in interval)
    return (
        f"{one.row} - {one.other}",
        str(one.by_seed.pairs),
        f"{one.by_seed.difference:+{recipe.places}}",
        f"{low} to {high}" if interval else "-",
        "-" if images is None else difference(images, recipe),
        "-" if images is None else images.test or "no test",
        "-" if images is None else chance(images),
    )


def told_apart(order: Order) -> str:
    """How many methods can be told apart, in a sentence."""
    if not order.compared:
        return "No two methods share two seeds, so none are told apart."
    return (
        f"Of {counted(order.compared, 'pair')} of methods {order.apart} can be told apart, each by itself; chance "
        f"alone would tell {order.compared / 20:.2g}. All at once, by Holm's procedure, {order.together} can."
    )


def several(table: Filled) -> bool:
    """Whether cells have several metrics, which then each have a line."""
    return len(table.recipe.metrics) > 1


def state(table: Filled) -> str:
    """How much of a table is there, in words."""
    total = len(table.cells)
    if table.done == total:
        return f"all {total} cells"
    begun = table.begun - table.done
    part = f"{table.done} of {total} cells" if table.done or begun else f"none of {total} cells"
    return part + (f", {begun} in part" if begun else "")


def left(tables: Sequence[Filled]) -> str:
    """What all that is not done would take, in words: the sum over tables; none where all is done."""
    waiting = [table.left for table in tables if table.done < len(table.cells)]
    if not waiting:
        return "-"
    known = [one.hours for one in waiting if one.hours is not None]
    if not known:
        return "unknown"
    whole = all(one.whole and one.hours is not None for one in waiting)
    return f"~{float(f'{sum(known):.2g}'):,.10g}{'' if whole else '+'}"
