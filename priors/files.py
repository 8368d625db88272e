"""Files read and written with care: nothing that waits for ever, no half-written file, JSON that is what it says.

What is read must be a regular file. A named pipe or a device in its place is refused, since opening or reading it may
wait for ever. What is written appears in one piece, so that a kill leaves the old file or the new one.
"""

import errno
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from priors.errors import InputError

OUT_OF_RESOURCES = frozenset(
    getattr(errno, name) for name in ("EMFILE", "ENFILE", "ENOMEM", "EIO", "ESTALE") if hasattr(errno, name)
)
"""Errors of the machine rather than of a file: they say nothing about what is in it."""
_DEEPEST = 50
"""Levels of nesting that JSON may have; ours has about ten."""
_LARGEST = 2**64
"""Integers of JSON are smaller than this in magnitude, such as the largest seed."""


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
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
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


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; non-finite numbers are refused, since JSON has none."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: str | Path, what: str = "file") -> Any:
    """Read JSON.

    Raises:
        InputError: the file is missing, or is no JSON; `what` names it in the message.
        OSError: the machine is short of something, such as open files.
    """
    payload = read_bytes(path, what)
    try:
        return parse_json(payload.decode())
    except ValueError as error:
        raise InputError(f"{path} is not a readable {what}: {error}") from None


def parse_json(text: str, lenient: bool = False) -> Any:
    """What JSON says, read as the standard has it.

    Not a number and infinities are no JSON, nor is what becomes one, such as 1e999. Integers have 64 bits.

    Args:
        text: of the JSON.
        lenient: put None for such a number, rather than refusing the whole.

    Raises:
        ValueError: it is no JSON, a number is too large, or it is nested too deeply.
    """
    try:
        value = (_LENIENT if lenient else _STRICT).decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(_DEEPEST):
        if not level:
            break
        held = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level = [item for items in held for item in items]
    if level:
        raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
    return value


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{_cut(text)} is too large a number")
    return value


def _integer(text: str) -> int:
    if len(text) > 21 or abs(int(text)) >= _LARGEST:  # long ones are not even tried: that takes time
        raise ValueError(f"{_cut(text)} is too large an integer")
    return int(text)


def _or_none(parser: Callable[[str], Any]) -> Callable[[str], Any]:
    def lenient(text: str) -> Any:
        try:
            return parser(text)
        except ValueError:
            return None

    return lenient


def _cut(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:12]}... ({len(text):,} characters)"


def _unreadable(path: Path, what: str, error: OSError) -> InputError:
    """The line for a file that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"no {what} at {path}")
    if isinstance(error, NotADirectoryError):
        return InputError(f"no {what} at {path}: a file was expected, not a folder")
    return InputError(f"no {what} can be read at {path}: {error.strerror}")


_PARSERS = {"parse_constant": _refused, "parse_float": _finite, "parse_int": _integer}
_STRICT = json.JSONDecoder(**_PARSERS)
_LENIENT = json.JSONDecoder(**{name: _or_none(parser) for name, parser in _PARSERS.items()})
