"""What the reproduction of a table can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field

import tyro

from apps.command.config import Place
from apps.command.ranges import Few


@dataclass(frozen=True)
class Reproduction:
    """Reproduce a table."""

    paper: tyro.conf.Positional[str]
    """The paper (see penult ls tables)."""
    number: tyro.conf.Positional[str]
    """The table's number."""
    row: str | None = None
    """Only this row."""
    column: str | None = None
    """Only this column."""
    seeds: Few | None = None
    """Repetitions of each cell; unset: as the recipe says."""
    data: str | None = None
    """Image folder that the table is measured on, where it is of one; unset: as the recipe names it, in --data-root."""
    list: bool = False
    """Print every cell as a plain command, and do nothing."""
    show: bool = False
    """Print what there is, and train nothing."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)
