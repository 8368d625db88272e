"""Data sets in one `.npz` file: x_train, y_train, x_test, y_test and, if wanted, classes."""

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from apps.command.console import counted
from apps.data.image_set import ImageSet
from apps.data.sources.finding import readable
from apps.data.sources.npz_arrays import DAMAGED, array, header, into_bytes
from priors.errors import InputError, reason
from priors.files.regular import open_regular

_LAYOUT = "x_train, y_train, x_test, y_test and optionally classes"


def read_npz(path: Path, split: str, class_names: tuple[str, ...] | None = None) -> ImageSet:
    """Read one split of an `.npz` file, and check that both splits fit together.

    x_*: uint8, (n, height, width), (n, height, width, channels) or (n, channels, height, width) with 1 or 3 channels;
    y_*: integers 0 ... classes - 1, (n,) or (n, 1); classes: one name a class.

    Args:
        path: the file.
        split: "train" or "test".
        class_names: names to use where the file has none; otherwise the numbers are the names.

    Raises:
        InputError: an array is missing, of the wrong type or shape, or does not fit the others; labels are out of
            range; a class has no training images.
    """
    if not path.is_file():
        raise InputError(f"no data set at {path}: an .npz file with {_LAYOUT} was expected")
    try:
        with open_regular(path, "data set") as file, zipfile.ZipFile(file) as archive:
            held = {name.removesuffix(".npy") for name in archive.namelist()}
            missing = [name for name in ("x_train", "y_train", "x_test", "y_test") if name not in held]
            if missing:
                raise InputError(
                    f"{path} has no {' and no '.join(missing)}: it needs {_LAYOUT} (found: {', '.join(sorted(held))})"
                )
            shapes = {part: _image_shape(archive, path, f"x_{part}") for part in ("train", "test")}
            labels = {part: _labels(archive, path, part, shapes[part][0]) for part in ("train", "test")}
            if shapes["train"][1:] != shapes["test"][1:]:
                raise InputError(
                    f"{path}: x_train holds images of shape {shapes['train'][1:]}, x_test of {shapes['test'][1:]}"
                )
            if "classes" in held:
                class_names = _names(archive, path)
            _check_classes(path, labels, class_names)
            class_names = class_names or tuple(str(i) for i in range(int(labels["train"].max()) + 1))
            images = array(archive, path, f"x_{split}")
    except DAMAGED as error:
        raise InputError(
            f"{path} is damaged or no .npz file ({reason(error)}): replace it by one with {_LAYOUT}"
        ) from None
    return ImageSet(
        name=readable(path.stem),
        split=split,
        images=_channels_first(images),
        labels=torch.from_numpy(labels[split]),
        class_names=class_names,
        source=str(path),
    )


def read_samples(path: Path) -> ImageSet:
    """Read an `.npz` of images without splits, as `penult sample` writes: x, of the types and shapes of x_train.

    Raises:
        InputError: there is no such file, no x in it, or one of the wrong type or shape.
    """
    try:
        with open_regular(path, "data set") as file, zipfile.ZipFile(file) as archive:
            held = sorted(name.removesuffix(".npy") for name in archive.namelist())
            if "x" not in held:
                raise InputError(f"{path} has neither x (images) nor {_LAYOUT} (found: {', '.join(held)})")
            _image_shape(archive, path, "x")
            images = _channels_first(array(archive, path, "x"))
    except DAMAGED as error:
        raise InputError(f"{path} is damaged or no .npz file ({reason(error)}): replace it") from None
    labels = torch.zeros(len(images), dtype=torch.int64)
    return ImageSet(readable(path.stem), "all", images, labels, ("unlabelled",), str(path))


def has_splits(path: Path) -> bool:
    """Whether an `.npz` file has the arrays of a data set, rather than images alone."""
    try:
        with open_regular(path, "data set") as file, zipfile.ZipFile(file) as archive:
            return any(name.startswith(("x_", "y_")) for name in archive.namelist())
    except (*DAMAGED, InputError):
        return False


def _image_shape(archive: zipfile.ZipFile, path: Path, name: str) -> tuple[int, int, int, int]:
    """(n, channels, height, width) of an image array, from its header."""
    shape, dtype = header(archive, path, name)
    if shape and shape[0] == 0:
        raise InputError(f"{path}: {name} holds no images: its shape is {shape}")
    if dtype != np.uint8:
        advice = into_bytes(array(archive, path, name))
        raise InputError(f"{path}: {name} is {dtype}, expected uint8 from 0 to 255: {advice}")
    if len(shape) == 3:
        shape = (*shape, 1)
    if len(shape) != 4 or min(shape) < 1 or (shape[3] not in (1, 3) and shape[1] not in (1, 3)):
        raise InputError(
            f"{path}: {name} has shape {shape}, expected (n, height, width), (n, height, width, channels) or "
            "(n, channels, height, width) with 1 or 3 channels"
        )
    count, *rest = shape
    return (count, rest[2], rest[0], rest[1]) if rest[2] in (1, 3) else (count, *rest)


def _channels_first(images: np.ndarray) -> torch.Tensor:
    """Bring images to (n, channels, height, width), as `_image_shape` understands them."""
    if images.ndim == 3:
        return torch.from_numpy(images)[:, None].contiguous()
    images = torch.from_numpy(images)
    return (images.permute(0, 3, 1, 2) if images.shape[3] in (1, 3) else images).contiguous()


def _labels(archive: zipfile.ZipFile, path: Path, part: str, count: int) -> np.ndarray:
    """The labels of a split, one an image; int64, unless they are out of its range."""
    name = f"y_{part}"
    labels = array(archive, path, name)
    if labels.shape not in ((count,), (count, 1)):
        raise InputError(
            f"{path}: {name} has shape {labels.shape}, expected ({count},): one label for each image of x_{part}"
            f"{'; one-hot rows become y.argmax(1)' if _one_hot(labels, count) else ''}"
        )
    if labels.dtype.kind not in "iu":
        raise InputError(f"{path}: {name} is {labels.dtype}{_into_labels(labels)}")
    labels = labels.ravel()
    return labels if labels.dtype.kind == "u" and labels.max() >= 2**63 else labels.astype(np.int64)


def _one_hot(values: np.ndarray, count: int) -> bool:
    """Whether there is a row for each image, with one 1 among zeros."""
    if values.ndim != 2 or len(values) != count or values.dtype.kind not in "biuf":
        return False
    return bool(((values == 0) | (values == 1)).all() and (values.sum(1) == 1).all())


def _into_labels(values: np.ndarray) -> str:
    """What is to be done with labels that are no integers."""
    expected = ", expected integers from 0"
    if values.dtype.kind in "US":
        return f"{expected}: names, y = np.unique(y, return_inverse=True), over both splits; the names are the classes"
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return f" and holds {'NaN' if np.isnan(values).any() else 'infinite values'}{expected}"
    whole = values.dtype.kind == "b" or (values.dtype.kind == "f" and (values == values.round()).all())
    return expected + (": y.astype('int64')" if whole else "")


def _names(archive: zipfile.ZipFile, path: Path) -> tuple[str, ...]:
    """The names of the classes as text; bytes are UTF-8.

    Raises:
        InputError: they are neither text nor whole numbers, or a name is there twice: scores are told by it.
    """
    names = array(archive, path, "classes").ravel()
    if names.dtype.kind not in "USiu":
        raise InputError(f"{path}: classes is {names.dtype}, expected one name a class, as text")
    as_bytes = names.dtype.kind == "S"
    names = [name.decode("utf-8", "backslashreplace") if as_bytes else str(name) for name in names.tolist()]
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise InputError(f"{path}: {count} classes are called {name!r}: give each a name of its own")
    return tuple(names)


def _check_classes(path: Path, labels: dict[str, np.ndarray], class_names: tuple[str, ...] | None) -> None:
    """Make sure that labels are 0 to the number of classes, with training images of each.

    Raises:
        InputError: a label is out of range, or a class without training images.
    """
    train = labels["train"]
    # A class has a training image: where there are no names, there are at most as many classes as those.
    classes = len(class_names) if class_names else min(int(train.max()) + 1, len(train))
    why = f"for {counted(classes, 'class')}"
    if not class_names and train.max() >= classes:
        why += f": each has one of the {len(train)} training images or more"
    for part, values in labels.items():
        outside = np.flatnonzero((values < 0) | (values >= classes))
        if outside.size:
            raise InputError(
                f"{path}: label {values[outside[0]]} at position {outside[0]} of y_{part}, expected 0 to {classes - 1} "
                f"{why}"
            )
    empty = np.flatnonzero(np.bincount(train, minlength=classes) == 0)
    if empty.size:
        name = class_names[empty[0]] if class_names else empty[0]
        raise InputError(f"{path}: class {empty[0]} ({name}) has no training images: number classes without gaps")
