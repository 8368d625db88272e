"""Data sets that come from elsewhere: scikit-learn's digits, and what torchvision downloads."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

from apps.data.image_set import ImageSet
from apps.data.sources.catalogue import DatasetInfo
from priors.errors import InputError

_DIGITS_TEST = 36


def read_digits(info: DatasetInfo, split: str) -> ImageSet:
    """scikit-learn's 1,797 digits, cut once and for all into 1,437 for training and 360 for testing.

    The test set is 36 images of each class: those whose position in scikit-learn's array has the smallest blake2b
    digest. So the split hangs on no random number generator. Pixels 0 ... 16 become 0 ... 255, rounded half up.
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    digests = [blake2b(f"digits {i}".encode(), digest_size=8).digest() for i in range(len(labels))]
    tested = np.zeros(len(labels), dtype=bool)
    for label in range(info.classes):
        members = sorted(np.flatnonzero(labels == label).tolist(), key=digests.__getitem__)
        tested[members[:_DIGITS_TEST]] = True
    chosen = tested if split == "test" else ~tested
    images = (pixels[chosen].astype(np.int64) * 255 + 8) // 16
    return ImageSet(
        name=info.name,
        split=split,
        images=torch.from_numpy(images.astype(np.uint8)).reshape(-1, *info.image_shape),
        labels=torch.from_numpy(labels[chosen].astype(np.int64)),
        class_names=info.class_names,
        source="scikit-learn",
    )


def read_torchvision(info: DatasetInfo, split: str, root: Path) -> ImageSet:
    """One of torchvision's data sets, downloaded into `root` on first use; processes wait for one to do it.

    Raises:
        InputError: it can be neither downloaded nor read; says where to put what.
    """
    import torchvision.datasets
    from filelock import FileLock

    home = getattr(torchvision.datasets, info.home)
    choice = {"split": split} if info.home == "SVHN" else {"train": split == "train"}
    try:
        try:
            found = home(str(root), download=False, **choice)
        except Exception as error:
            # Not there yet, or another process is unpacking it now. A folder that has it is only read, so it may be
            # one that cannot be written.
            if root.is_dir() and not os.access(root, os.W_OK) and not isinstance(error, RuntimeError):
                raise
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / f".{info.name}.lock"), _quiet():
                found = home(str(root), download=True, **choice)
    except Exception as error:
        # torchvision lets through whatever urllib, tarfile, gzip, scipy and its own checks raise.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{info.name} is not in {root} and could not be downloaded into it ({reason}): put {info.name}.npz with "
            f"x_train, y_train, x_test, y_test there, or torchvision's {info.home} files, or name another folder "
            "(--data-root)"
        ) from None
    images = torch.as_tensor(found.data)
    if images.ndim == 3:
        images = images[:, None]
    elif tuple(images.shape[1:]) != info.image_shape:
        images = images.permute(0, 3, 1, 2)
    return ImageSet(
        name=info.name,
        split=split,
        images=images.contiguous(),
        labels=torch.as_tensor(found.labels if info.home == "SVHN" else found.targets, dtype=torch.int64),
        class_names=info.class_names,
        source=str(root),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torchvision's remarks off the output; its bars stay where they can be seen move."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.ExitStack() as also:
        if not sys.stderr.isatty():
            also.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield
