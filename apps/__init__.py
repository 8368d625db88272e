"""The programs: data sets, training, sampling, evaluation and the command line. One of penult's four packages.

Its public names stand in `__init__.pyi`, and are imported when first used.
"""

from functools import cache


@cache
def _names() -> tuple:
    from priors.lazy import public_names  # not before: `penult` says in a line where another package has that name

    return public_names(__name__)


def __getattr__(name: str) -> object:
    give, _, names = _names()
    return names if name == "__all__" else give(name)


def __dir__() -> list[str]:
    return _names()[1]()
