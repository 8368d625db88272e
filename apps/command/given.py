"""The command that runs, in words: what a run keeps of how it was made."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_running: list[list[str]] = []
"""The words of each command that runs in this process, after `penult`; the innermost last."""


@contextmanager
def running(words: Sequence[str]) -> Iterator[None]:
    """Within this a command runs.

    Args:
        words: after `penult`, with those that stand for others (--like, --config) written out.
    """
    _running.append(list(words))
    try:
        yield
    finally:
        _running.pop()


def runs() -> bool:
    """Whether a command runs: else it is a program of the user's own that calls penult's functions."""
    return bool(_running)


def given_words() -> list[str]:
    """The words of the command that runs, after `penult`; of a program of the user's own those after its name."""
    return list(_running[-1] if _running else sys.argv[1:])
