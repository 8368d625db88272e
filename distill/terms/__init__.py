"""The terms of a distillation objective: one file each, found by importing the package's modules."""

import pkgutil
from functools import cache
from importlib import import_module

from distill.term import Term
from priors.errors import InputError, unknown


@cache
def terms() -> dict[str, type[Term]]:
    """All terms by name, in the order of their files.

    Example:
        >>> "ckd" in terms()
        True
    """
    found = {}
    for file in sorted(pkgutil.iter_modules(__path__), key=lambda file: file.name):
        module = import_module(f"{__name__}.{file.name}")
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, Term) and kind.__module__ == module.__name__:
                found[kind.name()] = kind
    return found


def parse(words: str) -> tuple[str, ...]:
    """Names of the terms of a sum such as "ce+ckd".

    Raises:
        InputError: an unknown term (the nearest is offered), or one given twice.
    """
    names = tuple(word.strip() for word in words.split("+"))
    for name in names:
        if name not in terms():
            raise unknown("term", name, terms(), "see penult ls terms")
        if names.count(name) > 1:
            raise InputError(f"{words}: {name} is given twice; --{name}.weight says how much it counts")
    return names
