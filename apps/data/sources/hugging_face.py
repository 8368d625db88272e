"""Data sets of the Hugging Face Hub, or written to a folder, through the datasets library: hf:NAME, hf:FOLDER.

The column of pictures and that of classes are found by their kinds (Image, ClassLabel) or named, and so are the two
splits. A table is mapped: its rows are read from the disk where they are needed, in any order. What is streamed has no
order but its own, so it is read once, and its pictures, still encoded, are held in memory.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.command.own_code import described
from apps.data.image_set import ImageSet
from apps.data.sources.forms import Form
from apps.data.sources.labelled import UNKNOWN, Labelled, check_names, image_set
from apps.data.sources.stored_images import Brought
from apps.data.sources.table_images import TableImages
from priors.errors import InputError, unknown

if TYPE_CHECKING:
    from datasets import Dataset, Features, IterableDataset

_TESTS = ("test", "validation", "valid", "val", "dev", "eval")
"""What the test split may be called where none is named, in this order."""
_LABELS = ("label", "labels", "class", "target", "y")
"""Columns of classes that go before others of their kind."""
STREAMED_BYTES = 2**30
"""Of encoded pictures of a split, which are held in memory."""


def read_hf(form: Form, split: str, brought: Brought) -> ImageSet:
    """One split of a set, mapped or streamed.

    Args:
        form: the name or folder, with what is named of it.
        split: "train" or "test".
        brought: to which size, and how it is held.

    Raises:
        InputError: the library is not installed, the set cannot be had, or it has no such splits and columns.
    """
    tables = _tables(form)
    named = {"train": form.settings.get("train", "train"), "test": form.settings.get("test") or _test_of(tables)}

    def read(part: str) -> Labelled | None:
        if named[part] is None:
            return None
        table = _part(form, tables, part, named[part])
        if "streaming" in form.settings:
            table = _held(form, table, named[part], brought.first if part == split else None)
        return _labelled(form, table, named[part])

    if named[split] is None:
        raise InputError(
            f"{form.given} has no split of the name {', '.join(_TESTS[:-1])} or {_TESTS[-1]} (found: "
            f"{', '.join(tables)}): name one as ,test=SPLIT, such as 'train=train[:80%],test=train[80%:]'"
        )
    return image_set(form.label, form.given, split, read, brought)


def _library():
    """The datasets library, silent where nobody looks.

    Raises:
        InputError: it is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise InputError("hf:... is read by the datasets library: pip install datasets") from None
    import huggingface_hub

    datasets.utils.logging.set_verbosity_error()
    huggingface_hub.utils.logging.set_verbosity_error()  # each of its tries would be a line
    if os.environ.get("RANK", "0") != "0" or not sys.stderr.isatty():
        datasets.disable_progress_bars()
    return datasets


def _tables(form: Form) -> "Mapping[str, Dataset | IterableDataset]":
    """All splits by their names.

    Raises:
        InputError: there is no such set, or it cannot be read.
    """
    datasets = _library()
    folder, streaming = Path(form.place).expanduser(), "streaming" in form.settings
    try:
        if folder.is_dir() and any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
            found = datasets.load_from_disk(str(folder))
            if not isinstance(found, dict):
                found = {str(found.split or "train"): found}
            return {name: table.to_iterable_dataset() for name, table in found.items()} if streaming else found
        place, _, config = (str(folder.resolve()), "", "") if folder.exists() else form.place.partition(":")
        return datasets.load_dataset(place, config or None, streaming=streaming)
    except Exception as error:  # the library lets through whatever Arrow, its readers and the network raise
        what = "is not here and could not be had from the Hub" if not folder.exists() else "cannot be read"
        raise InputError(f"{form.given} {what} ({described(error)}): give a name of the Hub or a folder") from None


def _test_of(tables: Mapping[str, Any]) -> str | None:
    """The split that is the test set where none is named; None where there is none of a usual name."""
    return next((name for name in _TESTS if name in tables), None)


def _part(form: Form, tables: Mapping[str, Any], part: str, named: str) -> Any:
    """A split by its name, or a slice of one, such as train[:80%], or several joined by +.

    Raises:
        InputError: there is no such split, or no such slice.
    """
    from datasets import ReadInstruction, concatenate_datasets

    if named in tables:
        return tables[named]
    if not any(mark in named for mark in "[+") or "streaming" in form.settings:
        raise unknown(f"split of {form.given}", named, tables, f"name one as ,{part}=SPLIT")
    lengths = {name: len(table) for name, table in tables.items()}
    try:
        pieces = ReadInstruction.from_spec(named).to_absolute(lengths)
        cut = [tables[piece.splitname].select(range(piece.from_ or 0, _end(piece, lengths))) for piece in pieces]
        return cut[0] if len(cut) == 1 else concatenate_datasets(cut)
    except Exception as error:
        raise InputError(
            f"{form.given}: {part}={named} is no slice of its splits {', '.join(tables)} ({described(error)}); "
            "expected such as train[:80%]"
        ) from None


def _end(piece: Any, lengths: Mapping[str, int]) -> int:
    return lengths[piece.splitname] if piece.to is None else piece.to


def _labelled(form: Form, table: "Dataset", called: str) -> Labelled:
    """A split's pictures and classes, by their columns."""
    from datasets import ClassLabel, Image

    features = table.features
    image = _image_column(form, features)
    label = _label_column(form, features, image)
    if not _is_pixels(features[image]):
        table = table.cast_column(image, Image(decode=False))
    else:
        table = table.with_format("numpy", columns=[image], output_all_columns=True)
    kind = features[label]
    names = check_names(kind.names, form.given) if isinstance(kind, ClassLabel) else None
    labels = table.with_format(None)[label][:]
    if any(value is None for value in labels):
        raise InputError(f"{form.given}: row {labels.index(None)} of {called} has no {label}: fill or remove it")
    table = table.select_columns([image])  # a row is read whole: other pictures in it would be decoded, too
    images = TableImages(table, image, f"{form.given} {called}", np.arange(len(table)), UNKNOWN)
    return Labelled(images, [int(value) for value in labels] if _is_number(kind) else labels, names, called)


def _image_column(form: Form, features: "Features") -> str:
    """The column of pictures: the one that is named, or the only one of its kind.

    Raises:
        InputError: there is none, or there are several.
    """
    named = form.settings.get("image")
    found = [name for name, kind in features.items() if _is_picture(kind) or _is_pixels(kind)]
    if named is not None:
        if named not in features:
            raise unknown(f"column of {form.given}", named, features)
        if named not in found and not _is_bytes(features[named]):
            raise InputError(f"{form.given}: column {named} is {_kind(features[named])}, no pictures")
        return named
    if len(found) != 1:
        which = f"{len(found)} columns of pictures ({', '.join(found)})" if found else "no column of pictures"
        raise InputError(f"{form.given} has {which} among {', '.join(features)}: name one as ,image=COLUMN")
    return found[0]


def _label_column(form: Form, features: "Features", image: str) -> str:
    """The column of classes: named, or the only ClassLabel, or the only one of numbers or words.

    Of several, one that is called label or the like goes first.

    Raises:
        InputError: there is none, or there are several.
    """
    from datasets import ClassLabel

    named = form.settings.get("label")
    if named is not None:
        if named not in features:
            raise unknown(f"column of {form.given}", named, features)
        if not _is_class(features[named]):
            raise InputError(f"{form.given}: column {named} is {_kind(features[named])}, no classes")
        return named
    labels = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
    found = labels or [name for name, kind in features.items() if name != image and _is_class(kind)]
    usual = [name for name in _LABELS if name in found]
    if not usual and len(found) != 1:
        which = f"{len(found)} columns that may be classes ({', '.join(found)})" if found else "no column of classes"
        raise InputError(f"{form.given} has {which} among {', '.join(features)}: name one as ,label=COLUMN")
    return (usual or found)[0]


def _is_picture(kind: Any) -> bool:
    from datasets import Image

    return isinstance(kind, Image) or (isinstance(kind, dict) and set(kind) == {"bytes", "path"})


def _is_pixels(kind: Any) -> bool:
    from datasets import Array2D, Array3D

    return isinstance(kind, Array2D | Array3D)


def _is_bytes(kind: Any) -> bool:
    return getattr(kind, "dtype", "") in ("binary", "large_binary")


def _is_number(kind: Any) -> bool:
    return getattr(kind, "dtype", "").startswith(("int", "uint", "bool"))


def _is_class(kind: Any) -> bool:
    from datasets import ClassLabel, Value

    return isinstance(kind, ClassLabel | Value) and (_is_number(kind) or kind.dtype in ("string", "large_string"))


def _kind(kind: Any) -> str:
    return getattr(kind, "dtype", None) or type(kind).__name__


def _held(form: Form, stream: "IterableDataset", called: str, first: int | None) -> "Dataset":
    """What a stream gives, in memory, with its pictures as they are encoded.

    Raises:
        InputError: there is too much of it.
    """
    from datasets import Dataset, Image

    features = stream.features or stream._resolve_features().features
    image = _image_column(form, features)
    label = _label_column(form, features, image)
    if not _is_pixels(features[image]):
        stream = stream.cast_column(image, Image(decode=False))
    stream = stream.select_columns([image, label])
    rows, size = {image: [], label: []}, 0
    try:
        for row in stream if first is None else stream.take(first):
            size += _bytes_of(row[image])
            if size > STREAMED_BYTES:
                break
            for name, values in rows.items():
                values.append(row[name])
    except Exception as error:
        raise InputError(f"{form.given}: its split {called} cannot be streamed ({described(error)})") from None
    if size > STREAMED_BYTES:
        raise InputError(
            f"{form.given}: what is streamed is held in memory, and the pictures of {called} are over "
            f"{STREAMED_BYTES / 1e9:.2g} GB: leave ,streaming out, and it is mapped from the disk"
        )
    return Dataset.from_dict(rows, features=stream.features)


def _bytes_of(value: Any) -> int:
    """How large a picture is, encoded, or its pixels."""
    if isinstance(value, dict):
        return len(value.get("bytes") or b"")
    return np.asarray(value).nbytes
