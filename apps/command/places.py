"""Who writes where: a place is one command's until that command ends, however it ends.

A place is claimed before the work: so two commands never write one file, and a folder that cannot be written is found
out at once. The claim is a lock on a hidden file beside the place. The system drops it with the process; the file goes
when the command ends.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from apps.command.launch import is_first
from priors.errors import InputError
from priors.files.regular import OUT_OF_RESOURCES

SHORT = OUT_OF_RESOURCES | {errno.ENOSPC, errno.EDQUOT}
"""Errors of a machine or a disk that is short of something: another place may not mend them."""
_held: list[dict[Path, tuple[int, list[Path]]]] = []
"""By command that runs in this process, the innermost last: each place's lock, and the folders made for it."""


@contextmanager
def holding() -> Iterator[None]:
    """Give up, at the end, what was claimed within."""
    _held.append({})
    try:
        yield
    finally:
        for place, (handle, made) in _held.pop().items():
            _release(place, handle, made)


def claim(path: Path, given: str) -> None:
    """Claim a place for the command that runs; of several processes only the first does.

    Folders on the way are made; those that nothing came into go again.

    Args:
        path: of the file or folder that will be written.
        given: what messages call it.

    Raises:
        InputError: another process holds it, or nothing can be written there.
        OSError: the disk is full, or the machine is short of something.
    """
    place = _found(path)
    if not is_first() or any(place in held for held in _held):
        return
    made = [folder for folder in place.parents if not os.path.lexists(folder)]
    handle = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle = lock(_beside(place), f"{given} is being written by another process: wait for it, or choose another")
    except OSError as error:
        if error.errno in SHORT:
            raise
        raise InputError(f"{given}: nothing can be written there ({error.strerror}): choose another place") from None
    finally:
        if handle is None:
            _remove(made)
    if _held:
        _held[-1][place] = (handle, made)
    else:  # nobody says when it ends: that nobody else writes there now is all that can be said
        _release(place, handle, made)


def lock(path: Path, taken: str) -> int:
    """Lock a file, made where there is none; the lock ends with the process, or when the number is closed.

    Args:
        path: of the file.
        taken: the message where another process has it.

    Raises:
        InputError: another process has the lock, or it is no regular file.
        OSError: the file cannot be made.
    """
    while True:
        # A pipe would have a plain opening wait for a reader.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise InputError(f"{path} is no regular file: remove it, a file is needed there for a lock")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(taken) from None
            except OSError:
                return handle  # a file system without locks: nothing to hold
            if is_at(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # who had it before took it away meanwhile


def is_at(handle: int, path: Path) -> bool:
    """Whether a lock's file is still the one at its path: a folder that is removed takes it along.

    Args:
        handle: as `lock` gave it.
        path: of the file.
    """
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _found(path: Path) -> Path:
    """One name for a place, however it is spelt.

    A link to a folder is that folder, since what is written goes into it; a link to a file is replaced by what is
    written.
    """
    if os.path.isdir(path):
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent), path.name)


def _beside(place: Path) -> Path:
    return place.with_name(f".{place.name}.lock")


def _release(place: Path, handle: int, made: list[Path]) -> None:
    with suppress(OSError):
        if is_at(handle, _beside(place)):  # else the folder was removed meanwhile, and another command has it now
            os.unlink(_beside(place))
    os.close(handle)
    _remove(made)


def _remove(made: list[Path]) -> None:
    for folder in made:  # the innermost first
        with suppress(OSError):
            folder.rmdir()
