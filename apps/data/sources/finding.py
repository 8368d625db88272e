"""Which image files a folder holds: at any depth, through links, whatever their names are."""

import os
from collections import deque
from pathlib import Path

from priors.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")

UPRIGHT = "-upright"
"""What the digest of a set that stays in files ends in: its pictures are turned as EXIF says, which shows in no name
and size. Programs before runs of format 2 did not turn them; their digests end without it."""


def pictures_under(folder: Path, part: str = "") -> list[str]:
    """The image files under `folder/part` at any depth, relative to `folder`, with "/" between the parts, in order.

    Links are followed, but for one to a folder that it is in itself, which would lead round for ever. A folder that is
    reached more than once is read once: where it is itself, or else through the first link. Hidden files, and those
    that do not end like an image, are passed over.

    Raises:
        InputError: a folder that cannot be read, or a link that leads nowhere: its images would be missed.
    """
    found, seen, waiting = [], set(), deque([folder / part])
    while waiting:  # what is there itself goes before what is reached through its links
        for parent, folders, names in os.walk(waiting.popleft(), onerror=_refuse):
            place = os.stat(parent)
            if (place.st_dev, place.st_ino) in seen:
                folders.clear()
                continue
            seen.add((place.st_dev, place.st_ino))
            waiting += [link for name in sorted(folders) if _leads_on(link := Path(parent, name))]
            for name in names:
                if name[0] == ".":
                    continue
                if name.lower().endswith(IMAGE_SUFFIXES):
                    found.append(Path(parent, name).relative_to(folder).as_posix())
                else:
                    check_link(Path(parent, name))
    return sorted(found)


def class_folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, in order; hidden ones are passed over.

    Raises:
        InputError: the folder cannot be read, or a link in it leads nowhere: a class may be missed.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if name[0] != ".")
    except OSError as error:
        _refuse(error)
    for name in names:
        check_link(folder / name)
    return [name for name in names if (folder / name).is_dir()]


def is_split(folder: Path, split: str) -> bool:
    """Whether `folder/split` is a split of a data set: it holds folders of classes itself.

    A folder with pictures alone is none, whatever it is called: CIFAR-100 has a class of the name "train".
    """
    place = folder / split
    return place.is_dir() and any(name[0] != "." and (place / name).is_dir() for name in os.listdir(place))


def readable(name: str) -> str:
    r"""A file's name as text that can be printed and stored: bytes that are not UTF-8 are written out, as \xe9."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def check_link(path: Path) -> None:
    """Refuse a link that leads nowhere, or to itself."""
    if path.is_symlink() and not os.path.exists(path):
        raise InputError(
            f"{readable(str(path))} is a link to {readable(os.readlink(path))}, which is not there: mend or remove it"
        )


def _leads_on(path: Path) -> bool:
    """Whether a folder is a link, and not to one that it is in itself."""
    if not path.is_symlink():
        return False
    here, target = (os.path.join(os.path.realpath(place), "") for place in (path.parent, path))
    return not here.startswith(target)


def _refuse(error: OSError) -> None:
    raise InputError(f"{readable(str(error.filename))} cannot be read ({error.strerror}): its images would be missed")
