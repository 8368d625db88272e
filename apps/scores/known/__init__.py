"""The kinds of scores, one a file, found by import: a new file is a new kind. None of them imports torch by itself.

Each file has the kind as its `KIND`.
"""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from apps.scores.kind import Command, Entry, Evaluation, Kind
from priors.errors import InputError

if TYPE_CHECKING:
    from apps.runs.by_image import ByImage


def known() -> tuple[Kind, ...]:
    """All kinds, in the order of their files' names.

    Example:
        >>> [kind.__class__.__name__ for kind in known()][:2]
        ['Accuracy', 'Coherency']
    """
    names = sorted(file.name for file in pkgutil.iter_modules(__path__))
    return tuple(import_module(f"{__name__}.{name}").KIND for name in names)


def evaluations() -> tuple[Evaluation, ...]:
    """Those that `penult evaluate` makes."""
    return tuple(kind for kind in known() if isinstance(kind, Evaluation))


def kind_of_entry(entry: Entry) -> Evaluation | None:
    """The kind of an entry of evaluation.json; None where no kind knows it."""
    return next((kind for kind in evaluations() if kind.made(entry)), None)


def found(command: Command) -> Mapping[str, Any] | None:
    """The scores that a command has left, by name; None where it is not done.

    Raises:
        InputError: no kind of score is made by such a command, or what is kept is damaged.
    """
    return next((scores for kind in _makers(command) if (scores := kind.found(command)) is not None), None)


def found_by_image(command: Command, scores: Mapping[str, Any]) -> "ByImage | None":
    """What is kept of each test image, by the names of scores; None where nothing is.

    Args:
        command: that has made the scores.
        scores: that it has left.

    Raises:
        InputError: as for `found`.
    """
    kept = (kind.by_image(command, scores) for kind in _makers(command))
    return next((one for one in kept if one is not None), None)


def _makers(command: Command) -> list[Kind]:
    """The kinds that a command makes.

    Raises:
        InputError: there are none.
    """
    makers = [kind for kind in known() if kind.made_by(command)]
    if not makers:
        raise InputError(f"penult {' '.join(command.words)} makes no score: a cell's last command is to make one")
    if len(makers) > 1:  # else it need not be parsed to know
        makers = [kind for kind in makers if kind.asked(command.config)] or makers
    return makers
