"""The kinds of scores, one a file, found by import: a new file is a new kind. None of them imports torch by itself.

Each file has the kind as its `KIND`.
"""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from apps.scores.kind import Command, Entry, Evaluation, Kind
from priors.errors import InputError


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
    makers = [kind for kind in known() if kind.made_by(command)]
    if not makers:
        raise InputError(f"penult {' '.join(command.words)} makes no score: a cell's last command is to make one")
    if len(makers) > 1:  # else it need not be parsed to know
        makers = [kind for kind in makers if kind.asked(command.config)] or makers
    return next((scores for kind in makers if (scores := kind.found(command)) is not None), None)
