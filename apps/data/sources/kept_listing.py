"""What was found out about a large folder of images, kept beside it: names, sizes and times, and facts of them.

A split of ImageNet has 1.28 million files: to list them, ask for their sizes and open some takes minutes, and more on a
disk far away. What is found is kept in `.penult` in the folder, or where that cannot be written among the data sets,
under a key of all names, sizes and times. One process at a time looks; the others of a launch read what it found.
"""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Int64
from tqdm import tqdm

from apps.data.sources.catalogue import data_root
from apps.data.sources.finding import UPRIGHT
from priors.errors import InputError
from priors.files.json_files import read_json, write_json
from priors.files.tensors import read_tensors, write_tensors

File = TypeVar("File")

KEPT_FROM = 10_000
"""Files of a split from which what is found is kept: fewer are looked at anew in less than a second."""
_BEGUN = time.time()
"""When this process began, about: what another one of its launch checked since then is not checked again."""


@dataclass(frozen=True)
class Listing:
    """The files of a split, in order.

    Attributes:
        paths: relative to the folder, with "/" between the parts.
        sizes: in bytes.
        times: of the last change, in nanoseconds.
        facts: where facts of them are kept; None for few files, or where nothing can be written.
    """

    paths: tuple[str, ...]
    sizes: Int64[np.ndarray, " files"]
    times: Int64[np.ndarray, " files"]
    facts: "Facts | None" = None

    def subset(self, index: Int64[np.ndarray, " some"], paths: tuple[str, ...]) -> "Listing":
        """Those of the files at some positions; facts are still those of all, and say of which they are."""
        return replace(self, paths=paths, sizes=self.sizes[index], times=self.times[index])


@dataclass(frozen=True)
class Facts:
    """Facts of a split's files, by name, as JSON values; facts of other files are forgotten.

    Attributes:
        path: of the file that they are in.
        key: of the files: a digest of their names, sizes and times, and of how pictures are read.
    """

    path: Path
    key: str

    def known(self, name: str, find: Callable[[], Any], fits: Callable[[Any], bool]) -> Any:
        """A fact, found where it is not known; of several processes one finds it and the others wait.

        Args:
            name: of the fact: what it depends on beside the files.
            find: gives a JSON value.
            fits: whether a value that was read can be one.
        """
        told = self._read()
        if name in told and fits(told[name]):
            return told[name]
        with held(self.path.parent):
            told = self._read()  # another process may have found it meanwhile
            if name in told and fits(told[name]):
                return told[name]
            found = find()
            with suppress(OSError):  # what was found is not lost for want of a place to keep it
                write_json(self.path, {"key": self.key, "facts": told | {name: found}})
        return found

    def _read(self) -> dict[str, Any]:
        with suppress(InputError, OSError):
            stored = read_json(self.path)
            if isinstance(stored, dict) and stored.get("key") == self.key and isinstance(stored.get("facts"), dict):
                return stored["facts"]
        return {}


def listing_of(folder: Path, split: str, find: Callable[[], list[str]]) -> Listing:
    """The files of a split, with their sizes and times.

    Args:
        folder: of the data set.
        split: of it; it names what is kept.
        find: gives the paths, in order.

    Raises:
        InputError: as `find` does, or a file is gone.
    """
    place = place_of(folder)
    names, facts = place / f"{split}.safetensors", place / f"{split}.json"
    with held(place):
        if _checked_meanwhile(names) and (kept := _read(names, facts)):
            return kept
        found = _looked(folder, split, find)
        if len(found.paths) < KEPT_FROM:
            return found
        found = replace(found, facts=Facts(facts, _key(found)))
        kept = _read(names, facts)
        try:
            if kept is None or kept.facts != found.facts:
                _write(names, found)
            os.utime(names, (now := time.time(), now))
        except OSError:  # nothing can be kept there, which costs time alone
            return replace(found, facts=None)
    return found


def bar(files: Iterable[File], count: int, description: str) -> Iterable[File]:
    """The same with a bar, where they take over a second; none where there is no terminal, or on other processes."""
    hidden = os.environ.get("RANK", "0") != "0" or not sys.stderr.isatty()
    return tqdm(files, description, count, unit="file", disable=hidden, leave=False, delay=1)


def _looked(folder: Path, split: str, find: Callable[[], list[str]]) -> Listing:
    """Look at the files themselves."""
    paths = find()
    sizes, times = np.empty(len(paths), np.int64), np.empty(len(paths), np.int64)
    for number, path in enumerate(bar(paths, len(paths), f"files of {split}")):
        try:
            found = os.stat(f"{folder}/{path}")
        except FileNotFoundError:
            raise InputError(f"{folder / path} is missing: put it back") from None
        sizes[number], times[number] = found.st_size, found.st_mtime_ns
    return Listing(tuple(paths), sizes, times)


def _key(found: Listing) -> str:
    hashed = blake2b(UPRIGHT.encode(), digest_size=16)
    hashed.update(_joined(found.paths))
    hashed.update(found.sizes.tobytes())
    hashed.update(found.times.tobytes())
    return hashed.hexdigest()


def _joined(paths: tuple[str, ...]) -> bytes:
    return os.fsencode("\0".join(paths))  # a name may be no text: the file system has bytes


def _write(path: Path, found: Listing) -> None:
    names = torch.frombuffer(bytearray(_joined(found.paths)), dtype=torch.uint8)
    tensors = {"names": names, "sizes": torch.from_numpy(found.sizes), "times": torch.from_numpy(found.times)}
    write_tensors(path, tensors, {"listing": found.facts.key})


def _read(path: Path, facts: Path) -> Listing | None:
    """What is kept; None where nothing is, or it is damaged: then it is made anew."""
    if not path.is_file():
        return None
    try:
        tensors, metadata = read_tensors(path, "list of files")
        key = metadata["listing"]
        paths = tuple(os.fsdecode(tensors["names"].numpy().tobytes()).split("\0"))
        sizes, times = (tensors[name].numpy().copy() for name in ("sizes", "times"))
    except (InputError, OSError, KeyError, ValueError):
        return None
    found = Listing(paths, sizes, times, Facts(facts, key))
    whole = len(sizes) == len(times) == len(paths) and sizes.dtype == times.dtype == np.int64
    return found if whole and _key(found) == key else None


def _checked_meanwhile(path: Path) -> bool:
    """Whether another process of this launch has just looked at the files."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return False
    with suppress(OSError):
        return path.stat().st_mtime >= _BEGUN
    return False


def place_of(folder: Path) -> Path:
    """Where things are kept: in the folder where that can be written, else by its name among the data sets."""
    beside = folder / ".penult"
    if os.access(beside if beside.is_dir() else folder, os.W_OK | os.X_OK):
        return beside
    name = blake2b(os.fsencode(os.path.realpath(folder)), digest_size=8).hexdigest()
    return Path(os.environ.get("PENULT_CACHE") or data_root()) / "folders" / name


@contextmanager
def held(place: Path) -> Iterator[None]:
    """Wait until no other process looks; where there is no folder or no lock to be had, go on without."""
    handle = None
    with suppress(OSError):
        handle = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
