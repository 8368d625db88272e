"""Reproduce a table of a paper: run the cells that are not done, and print ours beside the published.

Each cell is a plain command (see --list). What is finished is not done again; what was stopped goes on. With --all,
every cell of every table is printed as it stands, and nothing is trained.
"""

from apps.scores.settings import Reproduction as Config


def main(config: Config) -> int:
    """List, or run and print."""
    from apps.tables.program import show_tables

    return show_tables(config)
