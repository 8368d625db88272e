"""The terms of the tests' own files, found as those of the package are."""

import sys
from contextlib import contextmanager
from pathlib import Path

import distill.terms as package

FOLDER = str(Path(__file__).parent / "grown")


@contextmanager
def grown_terms():
    """While the context is open, the package of terms has the files of `grown` as well."""
    known, before = set(sys.modules), list(package.__path__)
    package.__path__.append(FOLDER)
    package.terms.cache_clear()
    try:
        yield
    finally:
        package.__path__[:] = before
        package.terms.cache_clear()
        for name in set(sys.modules) - known:
            if name.startswith("distill.terms."):
                del sys.modules[name]


if __name__ == "__main__":  # a command line: python grown_terms.py WORDS
    from apps.command.cli import main

    with grown_terms():
        sys.exit(main(sys.argv[1:]))
