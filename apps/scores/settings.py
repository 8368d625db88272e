"""What the reproduction of a table can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from apps.command.config import Place
from apps.command.ranges import Epochs, Few
from priors.errors import InputError


@dataclass(frozen=True)
class Choices:
    """What may be chosen of a table that is of no one paper."""

    terms: tuple[str, ...] = ()
    """Methods of a table of distillation, a row each: their names, such as kd, or terms with their flags, such as
    ce+hinton "ce+ckd --ckd.weight .5"; unset: all that the table has."""
    teacher: str | None = None
    """Its teacher: an architecture, which is trained, or a MODEL; unset: as the table has it."""
    student: str | None = None
    """Architecture of its students; unset: as the table has it."""
    epochs: Epochs | None = None
    """Of its students; unset: as the table has it."""
    against: str | None = None
    """Row that the others are compared with, seed by seed and image by image; unset: the student on labels alone."""

    @property
    def given(self) -> list[str]:
        """The flags that are."""
        return [f"--{name}" for name, value in vars(self).items() if value not in (None, ())]


@dataclass(frozen=True)
class Reproduction:
    """Reproduce a table."""

    paper: tyro.conf.Positional[str | None] = None
    """The paper (see penult ls tables); with --all, its tables alone."""
    number: tyro.conf.Positional[str | None] = None
    """The table's number; with --all, that table alone."""
    row: str | None = None
    """Run and show this row alone; unset: all."""
    column: str | None = None
    """Run and show this column alone; unset: all."""
    seeds: Few | None = None
    """Repetitions of each cell; unset: as the recipe says."""
    data: str | None = None
    """Image folder to measure on, for a table of one; unset: the one that the recipe names, in --data-root. For a
    table of distillation, the data set of both networks."""
    choice: tyro.conf.OmitArgPrefixes[Choices] = field(default_factory=Choices)
    list: bool = False
    """Print every cell as a plain command, and do nothing."""
    show: bool = False
    """Print what there is, and train nothing."""
    all: bool = False
    """Print every cell of all tables: published, ours with seeds and spread, how it was made, or what it would take;
    and rows that share seeds or test images in pairs. Nothing is trained."""
    out: Path | None = None
    """HTML file for what --all prints, with no network needed; an earlier one of its kind is replaced."""
    precision: Literal["fp32", "bf16"] | None = None
    """Arithmetic of all trainings of the table; their runs count as this table's only where it is given again. Unset:
    as the recipe says, else fp32; with --all, runs of either count."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse two things at once, of which one alone would be done, and no table where one is needed."""
        if self.list and self.show:
            raise InputError("--list prints the commands of the cells, --show what there is: give one of them")
        if not self.all:
            self._check_one()
            return
        own = {"--row": self.row, "--column": self.column, "--seeds": self.seeds}
        chosen = ["--data"] * (self.data is not None) + self.choice.given  # which are of one table
        given = [flag for flag, value in own.items() if value is not None] + chosen * (self.number is None)
        given += [flag for flag, value in {"--list": self.list, "--show": self.show}.items() if value]
        if given:
            raise InputError(f"{', '.join(given)} with --all, which prints whole tables: leave it out")

    def _check_one(self):
        """Refuse what is of --all alone, and a table that is not named."""
        if self.out is not None:
            raise InputError(f"--out {self.out}: pages are of all tables; give --all as well, or leave it out")
        missing = [name for name, given in {"PAPER": self.paper, "NUMBER": self.number}.items() if given is None]
        if missing:
            said = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            raise InputError(
                f"{said}: give penult table PAPER NUMBER (see penult ls tables), or --all; see penult table --help"
            )
