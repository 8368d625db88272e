"""Which image files a folder holds: at any depth, through links, whatever their names are."""

import os
from collections import deque
from pathlib import Path
from typing import NoReturn

from apps.command.console import counted
from apps.data.sources.forms import holds_shards
from priors.errors import InputError
from priors.remarks import remark

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")

_OF_BIRDS = ("images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt")
UPRIGHT = "-upright"
"""What the digest of a set that stays in files ends in: its pictures are turned as EXIF says, which shows in no name
and size. Programs before runs of format 2 did not turn them; their digests end without it."""
_said: set[str] = set()
"""What was left out and mentioned already: names of hidden folders, and places of images without a class."""


def pictures_under(folder: Path, part: str = "") -> list[str]:
    """The image files under `folder/part` at any depth, relative to `folder`, with "/" between the parts, in order.

    Links are followed, but for one to a folder that it, or `folder/part`, lies in: it would lead round, and to other
    classes. A folder that is reached more than once is read once: where it is itself, or else through the first link.
    What is hidden, and what does not end like an image, is passed over; of a hidden folder with images that is said.

    Raises:
        InputError: a folder that cannot be read, or a link that leads nowhere: its images would be missed.
    """
    top = folder / part
    found, seen, waiting = [], set(), deque([top])
    while waiting:  # what is there itself goes before what is reached through its links
        for parent, folders, names in os.walk(waiting.popleft(), onerror=_refuse):
            place = os.stat(parent)
            if (place.st_dev, place.st_ino) in seen:
                folders.clear()
                continue
            seen.add((place.st_dev, place.st_ino))
            folders[:] = _visible(parent, folders)
            within = Path(parent).relative_to(folder).as_posix()
            before = "" if within == "." else f"{within}/"
            waiting += [link for name in folders if _leads_on(link := Path(parent, name), top)]
            for name in names:
                if name[0] == ".":
                    continue
                if name.lower().endswith(IMAGE_SUFFIXES):
                    found.append(before + name)  # a path for each would take a minute for ImageNet's
                else:
                    check_link(Path(parent, name))
    return sorted(found)


def class_folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, in order; hidden ones are passed over, as by `pictures_under`.

    Raises:
        InputError: the folder cannot be read, or a link in it leads nowhere: a class may be missed.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        _refuse(error)
    for name in names:
        if name[0] != ".":
            check_link(folder / name)
    return _visible(folder, [name for name in names if (folder / name).is_dir()])


def say_without_class(folder: Path) -> None:
    """Say, once, of images that lie beside the folders of classes: they are in none."""
    names = (name for name in os.listdir(folder) if name[0] != "." and name.lower().endswith(IMAGE_SUFFIXES))
    count = sum(not (folder / name).is_dir() for name in names)
    if count:
        place = readable(str(folder))
        _say_once(place, f"Left out: {counted(count, 'image')} in {place} itself, in no folder of a class.")


def is_split(folder: Path, split: str) -> bool:
    """Whether `folder/split` is a split of a data set: it holds folders of classes itself.

    A folder with pictures alone is none, whatever it is called: CIFAR-100 has a class of the name "train".

    Raises:
        InputError: as for `class_folders`.
    """
    return (folder / split).is_dir() and bool(class_folders(folder / split))


def is_birds(folder: Path) -> bool:
    """Whether a folder is CUB-200-2011, as Caltech publishes it, whole or in part."""
    return all((folder / name).is_file() for name in ("images.txt", "bounding_boxes.txt"))


def birds_missing(folder: Path) -> list[str]:
    """What a folder lacks of CUB-200-2011: names of files, and the folder of pictures."""
    files = [name for name in _OF_BIRDS if not (folder / name).is_file()]
    return files + ([] if (folder / "images").is_dir() else ["images"])


def holds_splits(folder: Path) -> bool:
    """Whether a folder is a data set with splits, rather than pictures.

    Raises:
        InputError: as for `class_folders`.
    """
    return is_birds(folder) or any(is_split(folder, part) for part in ("train", "test")) or holds_shards(folder)


def readable(name: str) -> str:
    r"""A file's name as text that can be printed and stored: bytes that are not UTF-8 are written out, as \xe9."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def check_link(path: Path) -> None:
    """Refuse a link that leads nowhere, or to itself."""
    if path.is_symlink() and not os.path.exists(path):
        raise InputError(
            f"{readable(str(path))} is a link to {readable(os.readlink(path))}, which is not there: mend or remove it"
        )


def _visible(parent: str | Path, folders: list[str]) -> list[str]:
    """The folders of a folder that are not hidden, in order; of hidden ones with images it is said, once a name."""
    for name in (name for name in folders if name[0] == "." and name not in _said):
        place = os.path.join(parent, name)
        if any(file.lower().endswith(IMAGE_SUFFIXES) for _, _, files in os.walk(place) for file in files):
            _say_once(name, f"Images in hidden folders are left out, such as those in {readable(place)}.")
    return sorted(name for name in folders if name[0] != ".")


def _say_once(what: str, text: str) -> None:
    if what not in _said:
        _said.add(what)
        remark(text)


def _leads_on(path: Path, top: Path) -> bool:
    """Whether a folder is a link, and not to one that it or `top` lies in."""
    if not path.is_symlink():
        return False
    parent, top, target = (os.path.join(os.path.realpath(place), "") for place in (path.parent, top, path))
    return not parent.startswith(target) and not top.startswith(target)


def _refuse(error: OSError) -> NoReturn:
    raise InputError(f"{readable(str(error.filename))} cannot be read ({error.strerror}): its images would be missed")
