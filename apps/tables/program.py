"""The program of `penult table`: one table, or with --all every cell of every table, of which nothing is trained."""

from dataclasses import replace

from apps.command.console import say
from apps.command.launch import is_first
from apps.recipes.table import papers, tables
from apps.scores.reproduction import Part, print_part, reproduce
from apps.scores.settings import Reproduction


def show_tables(config: Reproduction) -> int:
    """List, run or print one table, or print all; the exit status.

    Raises:
        InputError: no such paper, table, row or column, or a place that cannot be written.
    """
    if not config.all:
        return reproduce(config, _show_one)
    if is_first():  # of several processes the others have nothing to do
        _show_all(config)
    return 0


def _show_one(part: Part) -> None:
    """Print one table: cell by cell, or methods in their order."""
    if not part.recipe.ordered:
        print_part(part)
        return
    from apps.tables.cells import Filling  # not before: it imports torch
    from apps.tables.printing import print_orders
    from apps.tables.told import tell_table

    found = Filling(part.config, None, either=False).filled()
    tell_table(found)
    print_orders(found, part.rows)


def _show_all(config: Reproduction) -> None:
    """Print every cell, and write the page where one is asked for."""
    from apps.tables.cells import Filled, Filling  # not before: they import torch, and lists of commands are instant
    from apps.tables.costs import Costs
    from apps.tables.pages import check_page, write_page
    from apps.tables.printing import print_sum, print_table
    from apps.tables.told import tell_table
    from apps.training import devices
    from apps.training.cores import available_cores

    wanted = chosen(config)
    if config.out is not None:
        check_page(config.out)
    costs = Costs(config.place.runs, devices.chosen(config.place.device), config.place.threads or available_cores())
    found: list[Filled] = []
    for paper, number in wanted:
        found.append(Filling(replace(config, paper=paper, number=number), costs).filled())
        print_table(found[-1])
        tell_table(found[-1])
    print_sum(found, costs)
    if config.out is not None:
        write_page(config.out, found, costs, config.place.runs)
        say(f"Written to {config.out}: open it in a browser.")


def chosen(config: Reproduction) -> list[tuple[str, str]]:
    """Paper and number of each table that is asked for.

    Raises:
        InputError: no such paper or table.
    """
    if config.paper is None:
        return [(paper, number) for paper in papers() for number in tables(paper)]
    if config.number is None:
        return [(config.paper, number) for number in tables(config.paper)]
    return [(config.paper, config.number)]
