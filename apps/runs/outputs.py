"""Where a verb may write: asked and claimed before the work, not after it; see `apps.command.places`."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from apps.command.places import claim
from priors.errors import InputError


def check_file(path: Path, endings: Sequence[str], overwrite: bool, otherwise: str = "") -> None:
    """Make sure that a file may be written at `path`.

    Args:
        path: given as --out.
        endings: one of which it must have.
        overwrite: whether a file may be replaced.
        otherwise: what else could be given, for the message.

    Raises:
        InputError: another ending, a file or folder that is there already, or a place that cannot be written.
    """
    if path.suffix.lower() not in endings:
        raise InputError(f"--out {path}: expected a name that ends in {', '.join(endings)}{otherwise}")
    if os.path.lexists(path) and not (path.is_file() or path.is_dir()):
        raise InputError(f"--out {path} is there, and is no regular file: choose another name")
    if path.is_dir():
        raise InputError(f"--out {path} is a folder: choose another name")
    if path.exists() and not overwrite:
        raise InputError(f"--out {path} exists: choose another name, or add --overwrite")
    check_writable(path, f"--out {path}")


def check_room(path: Path, size: int) -> None:
    """Make sure that there is room on the disk for a file.

    Args:
        path: of the file; its folder need not be there yet.
        size: bytes.

    Raises:
        InputError: there is less.
    """
    place = next(folder for folder in (path.absolute().parent, *path.absolute().parents) if folder.exists())
    if size > (free := shutil.disk_usage(place).free):
        raise InputError(
            f"--out {path} takes {size / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free there: ask for less"
        )


def check_folder(path: Path) -> None:
    """Make sure that a new folder may be made at `path`, or that it is an empty one.

    Raises:
        InputError: there is something already, or the place cannot be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"--out {path} exists and is not an empty folder: nothing was overwritten, choose another")
    check_writable(path, f"--out {path}")


def check_writable(path: Path, given: str) -> None:
    """Claim a place; what is there of the folders on the way must be folders, the last one writable.

    Args:
        path: of the file or folder.
        given: what the message calls it.

    Raises:
        InputError: there is a file on the way, a folder that may not be written to, or another process writes there.
    """
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not there.is_dir():
        raise InputError(f"{given}: {there} is a file, not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{given}: the folder {there} may not be written to")
    claim(path, given)
