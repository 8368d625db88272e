"""What a user may choose of a table that is of no one paper: objectives, networks, images. Imports no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """What was chosen; what is None or empty is as the table has it.

    Attributes:
        named: makes a part of a folder's name of a text.
        settings: by terms joined by +, teacher and student, the flags that were published for this pair where they
            differ from the terms' defaults.
        objectives: by row, terms joined by +, then their flags.
        teacher: an architecture, or a MODEL that is trained already, as a command line has it.
        trained: whether it is that.
        student: an architecture.
        wide: whether both are wide residual networks, for which methods have flags of their own.
        data: what both are trained on, as a command line has it.
        epochs: of students.
        against: the row that others are compared with.
    """

    named: Callable[[str], str]
    settings: Callable[[str, str, str], str]
    objectives: Mapping[str, str]
    teacher: str | None = None
    trained: bool = False
    student: str | None = None
    wide: bool = True
    data: str | None = None
    epochs: float | None = None
    against: str | None = None
