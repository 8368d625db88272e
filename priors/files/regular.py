"""Files read and written with care: nothing that waits for ever, no half-written file.

What is read must be a regular file. A named pipe or a device in its place is refused, since opening or reading it may
wait for ever. What is written appears in one piece, so that a kill leaves the old file or the new one.
"""

import errno
import os
import stat
from pathlib import Path
from threading import get_native_id
from typing import IO

from priors.errors import InputError

OUT_OF_RESOURCES = frozenset(
    getattr(errno, name) for name in ("EMFILE", "ENFILE", "ENOMEM", "EIO", "ESTALE") if hasattr(errno, name)
)
"""Errors of the machine rather than of a file: they say nothing about what is in it."""


def open_regular(path: str | Path, what: str = "file") -> IO[bytes]:
    """Open a regular file for reading, and nothing else.

    Args:
        path: of the file.
        what: the file is, for messages.

    Raises:
        InputError: there is none, it is a folder, a named pipe, a device or a socket, or it may not be read.
        OSError: the machine is short of something, such as open files.
    """
    path = Path(path)
    if "\0" in str(path):
        raise InputError(f"no {what} at {str(path)!r}: a file's name has no NUL")
    try:
        check_regular(path, what)
        # Without O_NONBLOCK a pipe that was put there meanwhile would wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            check_regular(path, what, os.fstat(handle))
            return open(handle, "rb")
        except BaseException:
            os.close(handle)
            raise
    except OSError as error:
        if error.errno in OUT_OF_RESOURCES:
            raise
        raise _unreadable(path, what, error) from None


def check_regular(path: str | Path, what: str = "file", found: os.stat_result | None = None) -> None:
    """Make sure that a path is of a regular file, or of a link to one.

    Args:
        path: of the file.
        what: the file is, for messages.
        found: what the system says of it, where that was asked already.

    Raises:
        InputError: there is something else.
        OSError: it cannot be looked at, as where there is nothing.
    """
    mode = (os.stat(path) if found is None else found).st_mode
    if stat.S_ISDIR(mode):
        raise InputError(f"no {what} at {path}: a file was expected, not a folder")
    if not stat.S_ISREG(mode):
        kinds = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"), (lambda _: True, "a device"))
        kind = next(name for test, name in kinds if test(mode))
        raise InputError(f"no {what} at {path}: a file was expected, not {kind}")


def read_bytes(path: str | Path, what: str = "file") -> bytes:
    """All of a regular file.

    Raises:
        InputError, OSError: as for `open_regular`.
    """
    with open_regular(path, what) as file:
        return file.read()


def write_bytes(path: str | Path, *payload: bytes | memoryview) -> None:
    """Write a file, of one piece or several, beside its place, flush it to the disk, and rename it there.

    Raises:
        OSError: the disk is full or the place cannot be written; what was at `path` is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{get_native_id()}.partial")  # a thread's, which no other process has
    try:
        with open(beside, "wb") as file:
            for piece in payload:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        # A full disk is found by the write, which does not know the file's name.
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _unreadable(path: Path, what: str, error: OSError) -> InputError:
    """The line for a file that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"no {what} at {path}")
    if isinstance(error, NotADirectoryError):
        return InputError(f"no {what} at {path}: a file was expected, not a folder")
    return InputError(f"no {what} can be read at {path}: {error.strerror}")
