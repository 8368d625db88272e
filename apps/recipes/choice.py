"""What a user may choose of a table that is of no one paper: objectives, networks, images. Imports no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """What was chosen; what is None or empty is as the table has it.

    Attributes:
        named: makes a part of a folder's name of a text.
        objectives: by row, terms joined by +, then their flags.
        teacher: an architecture, or a MODEL that is trained already, as a command line has it.
        trained: whether it is that.
        student: an architecture.
        sums: whether the groups of both networks can be compared as they are summed, as of wide residual networks.
        data: what both are trained on, as a command line has it.
        epochs: of students.
        against: the row that others are compared with.
    """

    named: Callable[[str], str]
    objectives: Mapping[str, str]
    teacher: str | None = None
    trained: bool = False
    student: str | None = None
    sums: bool = True
    data: str | None = None
    epochs: float | None = None
    against: str | None = None
