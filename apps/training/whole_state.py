"""Which state a training goes on from: the newest that is what was written, by the checksums of its files."""

import errno
import json
import zlib
from pathlib import Path
from typing import Any

from apps.command.console import say
from apps.runs.run import Run
from priors.errors import InputError
from priors.files.checksums import stored_checksum
from priors.files.json_files import read_json, write_json
from priors.files.tensors import read_tensors

WHAT = "a training state"
_OWN = "checksum"
_NEEDED = {"config", "networks", "optimizers", "best", "progress"}


def write_description(folder: Path, description: dict[str, Any]) -> None:
    """Write `state.json`, the last of a state's files: the description, the others' checksums, and its own."""
    files = {path.name: stored_checksum(path) for path in sorted(folder.glob("*.safetensors"))}
    whole = description | {"files": files}
    write_json(folder / "state.json", whole | {_OWN: _checksum(whole)})


def read_description(folder: Path) -> dict[str, Any]:
    """What `state.json` says; states of before have neither "files" nor a checksum.

    Raises:
        InputError: it is missing or damaged.
    """
    path = folder / "state.json"
    description = read_json(path, WHAT)
    if not isinstance(description, dict) or not description.keys() >= _NEEDED:
        raise InputError(f"{path} is damaged: it describes no state")
    stored = description.pop(_OWN, None)
    if stored is not None and stored != _checksum(description):
        raise InputError(f"{path} is damaged: its checksum is not the one it was written with")
    return description


def newest_whole(run: Run) -> Path | None:
    """The newest state whose files are what was written, with a line where that is not the newest; None without any.

    Raises:
        InputError: all are damaged.
        OSError: the machine is short of something, such as open files.
    """
    damaged: dict[Path, str] = {}
    for folder in reversed(run.states()):
        try:
            _check(folder)
        except InputError as error:
            damaged[folder] = str(error)
            continue
        except OSError as error:
            if error.errno != errno.EIO:  # a disk that cannot read it; all else says nothing of the state
                raise
            damaged[folder] = f"{error.filename or folder}: {error.strerror}"
            continue
        for other, why in damaged.items():
            say(f"{other} cannot be used ({why}); going on from the state before it, {folder.name}.")
        return folder
    if damaged:
        why = ", nor from ".join(f"{folder}: {said}" for folder, said in damaged.items())
        which = "that folder" if len(damaged) == 1 else "these folders"
        raise InputError(f"cannot go on from {why}; remove {which} to start over")
    return None


def _check(folder: Path) -> None:
    """Make sure that each file of a state is there, undamaged, and the one that belongs there."""
    for name, checksum in read_description(folder).get("files", {}).items():
        path = folder / name
        read_tensors(path, WHAT)
        if stored_checksum(path) != checksum:
            raise InputError(f"{path} is damaged: it is a file of something else")


def _checksum(description: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(description, sort_keys=True).encode()):08x}"
