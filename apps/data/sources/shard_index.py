"""Where each sample of some shards is: the place of its image in a .tar file, and its class. Kept beside them."""

import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from apps.data.sources.finding import IMAGE_SUFFIXES, readable
from apps.data.sources.kept_listing import KEPT_FROM, bar, held, place_of
from priors.errors import InputError
from priors.files.tensors import read_tensors, write_tensors

_PICTURES = frozenset(suffix[1:] for suffix in IMAGE_SUFFIXES)
_MOST_OF_A_LABEL = 10_000
"""Bytes of the member that says the class."""


@dataclass(frozen=True)
class ShardIndex:
    """The samples of some shards, in the order of the shards and within them.

    Attributes:
        shards: the number of each sample's shard.
        offsets: where its image begins there, in bytes.
        sizes: of its image, in bytes.
        keys: its name.
        labels: its class, as it is written.
    """

    shards: Int64[np.ndarray, " n"]
    offsets: Int64[np.ndarray, " n"]
    sizes: Int64[np.ndarray, " n"]
    keys: tuple[str, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def numbered(self) -> bool:
        """Whether all classes are written as whole numbers."""
        return all(re.fullmatch(r"-?\d+", label) for label in set(self.labels))

    def numbers(self, names: tuple[str, ...] | None) -> list[int] | list[str]:
        """The classes as numbers, where they are written so, else as names.

        Where the names of the classes are known, whole numbers that are none of them are their positions.
        """
        if self.numbered and not set(self.labels) <= set(names or ()):
            return [int(label) for label in self.labels]
        return list(self.labels)


@dataclass(frozen=True)
class _Member:
    """A file in a shard."""

    key: str
    extension: str
    offset: int
    size: int


def index_of(shards: tuple[Path, ...], image: str | None, label: str) -> ShardIndex:
    """The samples of some shards; of many, what is found is kept, and found anew where a shard was changed.

    Args:
        shards: uncompressed .tar files.
        image: the extension of a sample's image; None: any of a picture.
        label: the extension of what says its class.

    Raises:
        InputError: a shard is damaged or compressed, or a sample has one of the two alone.
    """
    key = _key(shards, image, label)
    place = place_of(shards[0].parent)
    path = place / f"shards-{key}.safetensors"
    with held(place):
        known = _read(path, key)
        if known is None:
            known = _looked(shards, image, label)
            if len(known) >= KEPT_FROM:
                with suppress(OSError):  # nothing can be kept there, which costs time alone
                    place.mkdir(parents=True, exist_ok=True)
                    _write(path, known, key)
    return known


def members(path: Path) -> Iterator[_Member]:
    """The files of a shard by the name that they share as a sample, and by what follows its first full stop.

    That is how the webdataset library takes a member's name apart; names of folders count, hidden files do not.

    Raises:
        InputError: the shard is damaged, compressed or no .tar file.
    """
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                found = re.fullmatch(r"((?:.*/|)[^.]+)[.]([^/]*)", member.name)
                if not member.isreg() or found is None or re.fullmatch(r"__[^/]*__", member.name):
                    continue
                if member.issparse():
                    raise InputError(f"{readable(str(path))}: {member.name} is sparse: write it whole")
                yield _Member(found.group(1), found.group(2).lower(), member.offset_data, member.size)
            _check_end(shard)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{readable(str(path))} is damaged, compressed, or no .tar file ({error}): images are read in any order, "
            "from shards that are not compressed"
        ) from None


def _check_end(shard: tarfile.TarFile) -> None:
    """Make sure that what ends a shard is the mark of its end: what was cut off, or is damaged, ends the reading too.

    Raises:
        tarfile.ReadError: it is something else.
    """
    shard.fileobj.seek(shard.offset)
    block = shard.fileobj.read(tarfile.BLOCKSIZE)
    if block != tarfile.NUL * tarfile.BLOCKSIZE:
        what = "a damaged header" if len(block) == tarfile.BLOCKSIZE else "the end of the file, without the mark of it"
        raise tarfile.ReadError(f"at byte {shard.offset:,} is {what}")


def _looked(shards: tuple[Path, ...], image: str | None, label: str) -> ShardIndex:
    """Read the members' names of all shards, and the classes."""
    rows: list[tuple[int, int, int]] = []
    keys: list[str] = []
    labels: list[str] = []
    for number, path in enumerate(bar(shards, len(shards), "shards")):
        with open(path, "rb") as file:
            for key, parts in _samples(path):
                picture = parts.get(image) if image else next((parts[e] for e in parts if e in _PICTURES), None)
                said = parts.get(label)
                if picture is None and said is None:
                    continue
                if picture is None or said is None:
                    what = f"{key}.{image or 'EXTENSION of a picture'}" if picture is None else f"{key}.{label}"
                    raise InputError(
                        f"{readable(str(path))}: sample {key} has no {what} (found: {', '.join(parts)}): name the "
                        "extensions as ,image=EXTENSION,label=EXTENSION"
                    )
                rows.append((number, picture.offset, picture.size))
                keys.append(key)
                labels.append(_label(file, said, path))
    if not rows:
        raise InputError(
            f"{readable(str(shards[0]))}: no sample has a picture and .{label}, which says its class: name the "
            "extensions as ,image=EXTENSION,label=EXTENSION"
        )
    columns = np.array(rows, dtype=np.int64).T.copy()
    return ShardIndex(*columns, tuple(keys), tuple(labels))


def _samples(path: Path) -> Iterator[tuple[str, dict[str, _Member]]]:
    """Members that follow one another and share a name.

    Raises:
        InputError: a sample has two members of one extension.
    """
    key, parts = None, {}
    for member in members(path):
        if member.key != key:
            if key is not None:
                yield key, parts
            key, parts = member.key, {}
        if member.extension in parts:
            raise InputError(f"{readable(str(path))}: {key}.{member.extension} is there twice: remove one")
        parts[member.extension] = member
    if key is not None:
        yield key, parts


def _label(file, member: _Member, path: Path) -> str:
    """What is written of a class: a number, or a name."""
    if member.size > _MOST_OF_A_LABEL:
        raise InputError(f"{readable(str(path))}: {member.key}.{member.extension} is too large for a class")
    text = os.pread(file.fileno(), member.size, member.offset).decode("utf-8", "backslashreplace").strip()
    if not text or "\0" in text:
        raise InputError(f"{readable(str(path))}: {member.key}.{member.extension} holds no number or name of a class")
    return text


def _key(shards: tuple[Path, ...], image: str | None, label: str) -> str:
    """A digest of all that an index depends on: the shards' names, sizes and times, and the extensions."""
    hashed = blake2b(repr((image, label)).encode(), digest_size=16)
    for path in shards:
        try:
            found = os.stat(path)
        except OSError as error:
            raise InputError(f"{readable(str(path))} cannot be read ({error.strerror})") from None
        hashed.update(os.fsencode(f"{os.path.relpath(path, shards[0].parent)}\0{found.st_size} {found.st_mtime_ns}\0"))
    return hashed.hexdigest()


def _write(path: Path, index: ShardIndex, key: str) -> None:
    texts = {name: "\0".join(values).encode("utf-8", "surrogateescape") for name, values in _texts(index).items()}
    tensors = {name: torch.frombuffer(bytearray(text), dtype=torch.uint8) for name, text in texts.items()}
    numbers = {name: torch.from_numpy(getattr(index, name)) for name in ("shards", "offsets", "sizes")}
    write_tensors(path, tensors | numbers, {"shards": key})


def _texts(index: ShardIndex) -> dict[str, tuple[str, ...]]:
    return {"keys": index.keys, "labels": index.labels}


def _read(path: Path, key: str) -> ShardIndex | None:
    """What is kept; None where nothing is, or it is damaged: then it is made anew."""
    if not path.is_file():
        return None
    try:
        tensors, metadata = read_tensors(path, "index of shards")
        texts = [
            tuple(tensors[name].numpy().tobytes().decode("utf-8", "surrogateescape").split("\0"))
            for name in ("keys", "labels")
        ]
        numbers = [tensors[name].numpy().copy() for name in ("shards", "offsets", "sizes")]
    except (InputError, OSError, KeyError, ValueError):
        return None
    whole = len({len(column) for column in (*numbers, *texts)}) == 1 and metadata.get("shards") == key
    return ShardIndex(*numbers, *texts) if whole else None
