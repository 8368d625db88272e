"""What the reproduction of a table can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field
from typing import Literal

import tyro

from apps.command.config import Place
from apps.command.ranges import Few
from priors.errors import InputError


@dataclass(frozen=True)
class Reproduction:
    """Reproduce a table."""

    paper: tyro.conf.Positional[str]
    """The paper (see penult ls tables)."""
    number: tyro.conf.Positional[str]
    """The table's number."""
    row: str | None = None
    """Run and show this row alone; unset: all."""
    column: str | None = None
    """Run and show this column alone; unset: all."""
    seeds: Few | None = None
    """Repetitions of each cell; unset: as the recipe says."""
    data: str | None = None
    """Image folder to measure on, for a table of one; unset: the one that the recipe names, in --data-root."""
    list: bool = False
    """Print every cell as a plain command, and do nothing."""
    show: bool = False
    """Print what there is, and train nothing."""
    precision: Literal["fp32", "bf16"] | None = None
    """Arithmetic of all trainings of the table; their runs count as this table's only where it is given again. Unset:
    as the recipe says, else fp32."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse two things at once, of which one alone would be done."""
        if self.list and self.show:
            raise InputError("--list prints the commands of the cells, --show what there is: give one of them")
