"""The papers' tables that can be reproduced, as a table. No torch is imported: listing them is instant."""

from apps.command.console import table
from apps.recipes.table import papers, tables


def list_tables() -> None:
    """Print a row a table: the command, what it shows, and how many cells and seeds it has."""
    rows = [
        (f"penult table {paper} {number}", recipe.title, f"{len(recipe.rows)} x {len(recipe.columns)}", recipe.seeds)
        for paper in papers()
        for number, recipe in tables(paper).items()
    ]
    table("tables", ("command", "what it shows", "cells", "seeds"), rows)
