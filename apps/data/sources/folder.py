"""Data sets in folders of image files: `train/CLASS/*` and `test/CLASS/*`."""

from dataclasses import replace
from pathlib import Path

import torch

from apps.data.image_set import ImageSet
from apps.data.sources.finding import IMAGE_SUFFIXES, class_folders, pictures_under, readable, say_without_class
from apps.data.sources.image_files import ImageFiles
from apps.data.sources.kept_listing import listing_of
from apps.data.sources.stored_images import Look, check_agreement, check_resize, held_pixels, look
from priors.errors import InputError

_UNKNOWN = (3, 1, 1)
"""Shape of files before their headers are looked at."""


def read_folder(
    folder: Path,
    split: str,
    *,
    image_size: int | None,
    memory_limit: int,
    resize: int | None = None,
    first: int | None = None,
) -> ImageSet:
    """Read one split of an image folder; classes are the names of the folders in alphabetical order.

    Images are RGB, or grey if all are; transparency is dropped; pictures of cameras are turned as they were held (EXIF
    orientation); of animations the first picture is taken. Links are followed. Files that do not end like an image are
    passed over. So are hidden files and folders, and images that lie in no class; where images are lost so, it is said.

    Where an `image_size` is given, the headers of at most 10,000 files are looked at beforehand, otherwise all of them;
    of the training images also those of the test images, where they are there: they must agree before anything is
    trained.

    Raises:
        InputError: there is no such split, a class is empty, train and test have other classes, sizes or colours, sizes
            differ and no `image_size` is given, `resize` is less than that, or a file is damaged.
    """
    check_resize(image_size, resize)
    class_names = _classes(folder, split)
    files, found = _looked_at(folder, split, class_names, image_size)
    if split == "train" and (folder / "test").is_dir():
        tested = _looked_at(folder, "test", class_names, image_size)
        check_agreement((files, found), tested, (f"{folder}/train", f"{folder}/test"))
    files = replace(files, image_shape=found.shape, side=resize)
    number = {name: label for label, name in enumerate(class_names)}
    whole = len(files)
    files = files if first is None else files.subset(torch.arange(min(first, whole)))
    labels = [number[path.split("/", 2)[1]] for path in files.paths]
    return ImageSet(
        name=_name(folder),
        split=split,
        images=held_pixels(files, memory_limit, whole),
        labels=torch.tensor(labels, dtype=torch.int64),
        class_names=tuple(map(readable, class_names)),
        source=str(folder),
    )


def read_pictures(
    folder: Path, *, image_size: int | None, memory_limit: int, resize: int | None = None, colour: bool = False
) -> ImageSet:
    """Read all pictures in a folder, at any depth and in the order of their paths, without labels.

    Args:
        folder: where they are.
        image_size: height and width that they are brought to; None: they have one size.
        memory_limit: bytes of decoded pixels over which they are decoded as they are needed.
        resize: their shorter side before the centre of that size is cut out; None: `image_size`.
        colour: whether they are RGB also where all are grey; then none is looked at beforehand where an `image_size` is
            given.

    Raises:
        InputError: there are none, sizes differ and no `image_size` is given, `resize` is less than that, or a file is
            damaged.
    """
    check_resize(image_size, resize)
    paths = pictures_under(folder)
    if not paths:
        raise InputError(f"{folder} holds no images ({' '.join(IMAGE_SUFFIXES)}), at any depth")
    if colour and image_size is not None:
        shape = (3, image_size, image_size)
    else:
        shape = look(ImageFiles(folder, tuple(paths), _UNKNOWN, image_size is not None), image_size).shape
        shape = (3, *shape[1:]) if colour else shape
    files = ImageFiles(folder, tuple(paths), shape, image_size is not None, resize)
    return ImageSet(
        name=_name(folder),
        split="all",
        images=held_pixels(files, memory_limit),
        labels=torch.zeros(len(files), dtype=torch.int64),
        class_names=("unlabelled",),
        source=str(folder),
    )


def _name(folder: Path) -> str:
    return readable(folder.resolve().name)


def _looked_at(folder: Path, split: str, class_names: list[str], image_size: int | None) -> tuple[ImageFiles, Look]:
    """The files of a split, and what their headers say; both are kept of a large one."""
    listing = listing_of(folder, split, lambda: _of_classes(folder, split, class_names))
    files = ImageFiles(folder, listing.paths, _UNKNOWN, image_size is not None, listing=listing)
    if listing.facts is None:
        return files, look(files, image_size)

    def find() -> list:
        found = look(files, image_size)
        return [list(found.shape), *(files.paths[position] for position in (found.first, found.witness))]

    name = "shape where sizes may differ" if image_size is not None else "shape"
    shape, *paths = listing.facts.known(name, find, lambda value: _is_look(value, files.paths))
    sides = shape[1:] if image_size is None else (image_size, image_size)
    return files, Look((shape[0], *sides), *map(files.paths.index, paths))


def _is_look(value: object, paths: tuple[str, ...]) -> bool:
    """Whether a value that was kept says a shape and two of the files."""
    match value:
        case [[1 | 3, int(), int()], str() as first, str() as witness]:
            return first in paths and witness in paths
    return False


def _of_classes(folder: Path, split: str, class_names: list[str]) -> list[str]:
    """The files of a split, class by class."""
    paths = []
    for name in class_names:
        found = pictures_under(folder, f"{split}/{name}")
        if not found:
            raise InputError(
                f"class folder {folder / split / name} holds no images ({' '.join(IMAGE_SUFFIXES)}): fill it or remove "
                "it"
            )
        paths += found
    return paths


def _classes(folder: Path, split: str) -> list[str]:
    """The class folders of `split`, checked against those of the other split where that is there."""
    names = {part: class_folders(folder / part) for part in ("train", "test") if (folder / part).is_dir()}
    if split not in names:
        raise InputError(f"no folder {folder / split}: expected {folder}/train/CLASS/* and {folder}/test/CLASS/*")
    if not names[split]:
        raise InputError(f"{folder / split} holds no class folders: images are expected in {folder / split}/CLASS/*")
    if len(set(map(tuple, names.values()))) > 1:
        apart = sorted(set(names["train"]) ^ set(names["test"]))
        where = "train" if apart[0] in names["train"] else "test"
        raise InputError(
            f"{folder}/train and {folder}/test have other classes ({len(apart)} differ; {apart[0]!r} is only in "
            f"{where}): both need the same class folders"
        )
    say_without_class(folder / split)
    return names[split]
