"""The lenses, one a file, found by import: a new file is a new lens.

Each file has the lens as its `LENS`. None of them imports torch by itself.
"""

import pkgutil
from collections.abc import Sequence
from importlib import import_module

from apps.layers.lens import Lens
from priors.errors import unknown


def names() -> tuple[str, ...]:
    """What lenses are called: their files, in order.

    Example:
        >>> "spectrum" in names()
        True
    """
    return tuple(sorted(file.name.replace("_", "-") for file in pkgutil.iter_modules(__path__)))


def lenses(wanted: Sequence[str] = ()) -> dict[str, Lens]:
    """Lenses by name.

    Args:
        wanted: names of some; none: the usual ones.

    Raises:
        InputError: there is none of a name; the nearest is offered.
    """
    for name in wanted:
        if name not in names():
            raise unknown("lens", name, names())
    every = {name: _lens(name) for name in dict.fromkeys(wanted) or names()}
    return {name: lens for name, lens in every.items() if wanted or lens.usual}


def every_lens() -> dict[str, Lens]:
    """All lenses by name, the costly ones too."""
    return {name: _lens(name) for name in names()}


def _lens(name: str) -> Lens:
    return import_module(f"{__name__}.{name.replace('-', '_')}").LENS
