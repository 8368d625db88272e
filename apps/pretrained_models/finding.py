"""The models that come with the package, by name: where they lie, and whether they are what was put there.

A MODEL `pretrained:NAME` is one of them. It is an export (`apps.sharing.export`) like any other, but that nothing is
ever written into its folder, and that its files are compared with their SHA-256 digests, which its `config.json` has.
"""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from priors.errors import InputError, unknown
from priors.files.json_files import read_json

PREFIX = "pretrained:"
"""What a MODEL of the package begins with."""
_CONFIG = "config.json"
_MEND = "it was cut or changed; install penult anew"


def is_pretrained(model: str | Path) -> bool:
    """Whether a MODEL is meant as one that comes with the package.

    Example:
        >>> is_pretrained("pretrained:mnist-mlp"), is_pretrained("runs/mnist-mlp")
        (True, False)
    """
    return str(model).startswith(PREFIX)


def came_along(folder: Path) -> bool:
    """Whether a folder is that of a model which comes with the package."""
    return folder.parent == _root()


def pretrained_names() -> tuple[str, ...]:
    """The names of all that there are, in order."""
    return tuple(sorted(place.name for place in _root().iterdir() if _is_model(place)))


def place_of(model: str | Path) -> Path:
    """The folder that a MODEL means: of one that comes with the package its own, else what was given.

    Raises:
        InputError: no such model comes with the package (the nearest is offered), or a file of it was cut or changed.
    """
    return pretrained_folder(str(model).removeprefix(PREFIX)) if is_pretrained(model) else Path(model)


def pretrained_folder(name: str) -> Path:
    """The folder of a model that comes with the package; its files are what was put there.

    Raises:
        InputError: as for `place_of`.
    """
    if name not in pretrained_names():
        raise unknown("pretrained model", name, pretrained_names(), "see penult ls pretrained")
    folder = _root() / name
    _check(folder)
    return folder


def pretrained_mark(folder: Path) -> dict[str, Any]:
    """What its export says of a model: its format, the type of its weights, its licence, and digests by file.

    Raises:
        InputError: it says nothing, or is damaged.
    """
    path = folder / _CONFIG
    stored = read_json(path, "description of a pretrained model") if path.is_file() else None
    mark = stored.get("export") if isinstance(stored, dict) else None
    if not isinstance(mark, dict) or not isinstance(mark.get("sha256"), dict):
        raise InputError(f"{PREFIX}{folder.name}: {path} is missing or says nothing of its files: {_MEND}")
    return mark


@cache
def _check(folder: Path) -> None:
    """Compare a folder's files with their digests, once a process.

    Raises:
        InputError: one is missing or is another one.
    """
    for name, digest in pretrained_mark(folder)["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{PREFIX}{folder.name}: {path} is missing: {_MEND}")
        if (found := sha256(path.read_bytes()).hexdigest()) != digest:
            raise InputError(
                f"{PREFIX}{folder.name}: {path} is not the file that penult came with (its SHA-256 is {found[:12]}..., "
                f"{str(digest)[:12]}... was expected): {_MEND}"
            )


def _root() -> Path:
    return Path(str(files(__package__)))


def _is_model(place: Path) -> bool:
    return place.is_dir() and not place.name.startswith(("_", "."))
