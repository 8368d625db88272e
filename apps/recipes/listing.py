"""The papers' tables that can be reproduced, as a table. No torch is imported: listing them is instant."""

from apps.command.answer import tell
from apps.command.console import table
from apps.recipes.table import Table, papers, tables


def list_tables() -> None:
    """Print a row a table: the command, what it shows, and how many cells and seeds it has."""
    rows = [
        (f"penult table {paper} {number}", recipe.title, _cells(recipe), recipe.seeds)
        for paper in papers()
        for number, recipe in tables(paper).items()
    ]
    for paper in papers():
        for number, recipe in tables(paper).items():
            told = {"paper": paper, "number": number, "title": recipe.title}
            tell("table", told | {"cells": len(recipe.cells), "seeds": recipe.seeds})
    table("tables", ("command", "what it shows", "cells", "seeds"), rows)


def _cells(recipe: Table) -> str:
    """How many there are: rows times columns, less those that there are none of."""
    less = f" - {len(recipe.gaps)}" if recipe.gaps else ""
    return f"{len(recipe.rows)} x {len(recipe.columns)}{less}"
