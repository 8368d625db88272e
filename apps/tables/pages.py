"""All tables as one HTML page: papers, their tables, and rows in pairs; no network is needed."""

from collections.abc import Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path

from apps.report.markup import Html, element, html, joined, table
from apps.report.page import document, is_page
from apps.runs.outputs import check_file
from apps.tables import words
from apps.tables.cells import Cell, Filled, Value
from apps.tables.costs import Costs
from apps.tables.printing import basis
from apps.tables.standings import Order, orders
from priors.files.regular import write_bytes

_GENERATOR = "penult table"


def check_page(out: Path) -> None:
    """Make sure that the page may be written.

    Raises:
        InputError: it may not.
    """
    check_file(out, (".html", ".htm"), is_page(out, _GENERATOR))


def write_page(out: Path, tables: Sequence[Filled], costs: Costs, runs: Path) -> None:
    """Write the page.

    Args:
        out: where to.
        tables: in the order of their papers.
        costs: that estimates were made by.
        runs: the folder that was looked into.
    """
    write_bytes(out, page(tables, costs, runs).encode(errors="replace"))


def page(tables: Sequence[Filled], costs: Costs, runs: Path) -> str:
    """The whole page; arguments as for `write_page`."""
    papers = [(paper, list(own)) for paper, own in groupby(tables, key=lambda one: one.paper)]
    done, total = sum(one.done for one in tables), sum(len(one.cells) for one in tables)
    header = element(
        "header",
        element("h1", "Every published table, and what was run of it"),
        element("p", f"{done} of {total} cells, by the runs in {runs.name or runs}.", class_="lead"),
        *(element("p", text, class_="note") for text in (words.CONVENTION, words.PAIRED)),
    )
    parts = [header, _overview(papers), element("p", " ".join(basis(tables, costs)), class_="note")]
    for paper, own in papers:
        parts.append(_of_paper(paper, own))
    return document("Every published table, and what was run of it", parts, generator=_GENERATOR)


def _overview(papers: Sequence[tuple[str, list[Filled]]]) -> Html:
    """A row a table, with a link to it."""
    rows = [
        (element("a", f"{paper} {one.number}", href=f"#{_id(one)}"), words.state(one), words.left([one]))
        for paper, own in papers
        for one in own
    ]
    return table("What is there", ("table", "there", "hours left"), rows)


def _id(one: Filled) -> str:
    return f"{one.paper}-{one.number}"


def _of_paper(paper: str, tables: Sequence[Filled]) -> Html:
    source = str(import_module(f"apps.recipes.{paper}").__doc__).partition("\n")[0]
    heading = element("header", element("h2", source, id=paper))
    return element("article", heading, *(_section(one) for one in tables), aria_labelledby=paper)


def _section(one: Filled) -> Html:
    """A table with its notes, how it was made, and its rows in pairs."""
    letters = words.makers(one)
    metric = ("score",) if words.several(one) else ()
    rows = [
        (
            cell.row,
            cell.column,
            *((value.metric,) if metric else ()),
            _published(value),
            _ours(value, one),
            words.seeds(cell),
            words.hours(cell),
            _made(cell, letters),
        )
        for cell in one.cells
        for value in cell.values
    ]
    heads = (*one.recipe.axes, *metric, "published", "ours", "seeds", "hours", "made")
    parts = [
        element("h3", one.recipe.title, id=_id(one)),
        element("pre", element("code", f"penult table {one.paper} {one.number}")),
        _folded(one, table(f"{one.paper} {one.number}: {words.state(one)}", heads, rows, one.recipe.convention)),
    ]
    parts += [element("p", f"made {letter}: {way}.", class_="note") for way, letter in letters.items()]
    if one.recipe.ordered and one.begun:
        parts += [part for order in orders(one) for part in _ordered(one, order)]
    elif one.pairs:
        parts.append(_pairs(one))
    return element("section", *parts)


def _ordered(one: Filled, order: Order) -> list[Html]:
    """Methods in their order, and beside the one that they are compared with."""
    recipe, name = one.recipe, f"{one.paper} {one.number}"
    rows = [[_signs(text) for text in words.standing(each, recipe)] for each in order.standings]
    note = f"{words.ORDERED} {words.told_apart(order)}"
    parts = [table(f"{name}: methods in order", (recipe.axes[0], *words.STANDING), rows, note)]
    beside = [line for each in order.standings if (line := words.compared(each, recipe)) is not None]
    if beside:
        rows = [[html(line[0]), *map(_signs, line[1:])] for line in beside]
        parts.append(table(f"{name} in pairs", words.COMPARED, rows, words.AGAINST))
    return parts


def _signs(text: str) -> Html:
    """A number with the signs of print."""
    text = text.replace("+-", "\N{PLUS-MINUS SIGN}")
    return html(text.replace("-", "\N{MINUS SIGN}") if len(text) > 1 and text[0] == "-" else text)


def _folded(one: Filled, whole: Html) -> Html:
    """A table of which nothing is run is folded away, its numbers a click further."""
    if one.begun:
        return whole
    return element("details", element("summary", f"{words.state(one)} run, hours left: {words.left([one])}"), whole)


def _pairs(one: Filled) -> Html:
    metric = words.several(one)
    rows = [
        (f"{row} \N{EN DASH} {other}", column, *((name,) if metric else ()), over, html(apart), test, p)
        for row, other, column, name, over, apart, test, p in words.pair_rows(one)
    ]
    heads = ("rows", one.recipe.axes[1], *(("score",) if metric else ()), "pairs", "difference", "test", "p")
    return table(f"{one.paper} {one.number} in pairs", heads, rows)


def _published(value: Value) -> Html:
    if value.published is None:
        return html("\N{EN DASH}")
    number_, deviation = value.published
    shown = element("data", f"{number_:g}".replace("-", "\N{MINUS SIGN}"), value=repr(number_))
    return shown if deviation is None else joined((shown, f" \N{PLUS-MINUS SIGN} {deviation:g}"))


def _ours(value: Value, one: Filled) -> Html:
    if value.mean is None:
        return html("\N{EN DASH}")
    text = words.ours(value, one.recipe).replace("+-", "\N{PLUS-MINUS SIGN}").replace("-", "\N{MINUS SIGN}")
    return element("data", text, value=repr(value.mean))


def _made(cell: Cell, letters: dict[str, str]) -> Html:
    return element("em", "not run") if not cell.made else html(letters[cell.made])
