"""The three standard streams of a command, made such that what is shown never ends the work that it is about."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def ready() -> Iterator[None]:
    r"""Within this, nothing that is printed ends in an error of its own.

    A stream that was closed before the start goes nowhere: the next file that is opened would else get its number, and
    what a library writes there would land in that file. Characters that the terminal's encoding lacks are written as
    `\u732b`. Where standard error breaks (its reader ended, its disk is full), the rest of it is dropped.
    """
    for number in range(3):
        _open_if_closed(number)
    out, error = sys.stdout, sys.stderr
    sys.stdout = open(os.devnull, "w", encoding="utf-8") if out is None else out
    sys.stderr = _Forgiving(open(os.devnull, "w", encoding="utf-8") if error is None else error)
    for stream in (out, error):
        with suppress(AttributeError, ValueError):  # one that a test has put there
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, error


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        handle = os.open(os.devnull, os.O_RDWR)
        if handle != number:
            os.dup2(handle, number)
            os.close(handle)


class _Forgiving:
    """A stream that drops what it cannot write. Final."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop; how many characters were given."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each, or drop it."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Bring out what can be."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's own."""
        return getattr(self._stream, name)
