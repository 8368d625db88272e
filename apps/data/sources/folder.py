"""Data sets in folders of image files: `train/CLASS/*` and `test/CLASS/*`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from apps.data.image_set import ImageSet
from apps.data.sources.finding import IMAGE_SUFFIXES, class_folders, pictures_under, readable, say_without_class
from apps.data.sources.image_files import ImageFiles, channels_of, opened, size_of
from apps.data.sources.kept_listing import Listing, bar, listing_of
from priors.errors import InputError

_LOOKED_AT = 10_000


@dataclass(frozen=True)
class _Look:
    """What the headers of a split's files say.

    Attributes:
        shape: (channels, height, width) that all images have, or are brought to.
        first: the first file.
        witness: the first in colour, where there is one; else the first.
    """

    shape: tuple[int, int, int]
    first: Path
    witness: Path


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
    if image_size is not None and image_size < 1:
        raise InputError(f"image size {image_size} given: a positive number of pixels was expected")
    check_resize(image_size, resize)
    class_names = _classes(folder, split)
    listing, look = _looked_at(folder, split, class_names, image_size)
    if split == "train" and (folder / "test").is_dir():
        _check_agreement(folder, look, _looked_at(folder, "test", class_names, image_size)[1])
    files = ImageFiles(folder, listing.paths, look.shape, image_size is not None, resize, listing=listing)
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
        shape = _look(folder, paths, image_size).shape
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


def check_resize(image_size: int | None, resize: int | None) -> None:
    """Refuse a size that nothing can be cut out of."""
    if resize is not None and image_size is None:
        raise InputError(f"--resize {resize} without --image-size: say how much is to be cut out of the centre")
    if resize is not None and resize < image_size:
        raise InputError(f"--resize {resize}: nothing of {image_size}x{image_size} can be cut out of that")


def _name(folder: Path) -> str:
    return readable(folder.resolve().name)


def held_pixels(files: ImageFiles, memory_limit: int, whole: int | None = None) -> torch.Tensor | ImageFiles:
    """The decoded pixels where they fit into memory.

    Args:
        files: the images.
        memory_limit: in bytes.
        whole: how many images the limit is for, where these are some of them: a part is held as the whole is.
    """
    count = len(files) if whole is None else whole
    return files.read_all() if count * math.prod(files.image_shape) <= memory_limit else files


def _looked_at(folder: Path, split: str, class_names: list[str], image_size: int | None) -> tuple[Listing, _Look]:
    """The files of a split, and what their headers say; both are kept of a large one."""
    listing = listing_of(folder, split, lambda: _of_classes(folder, split, class_names))
    if listing.facts is None:
        return listing, _look(folder, listing.paths, image_size)

    def find() -> list:
        found = _look(folder, listing.paths, image_size)
        return [list(found.shape), *(str(path.relative_to(folder)) for path in (found.first, found.witness))]

    name = "shape where sizes may differ" if image_size is not None else "shape"
    shape, *paths = listing.facts.known(name, find, _is_look)
    sides = shape[1:] if image_size is None else (image_size, image_size)
    return listing, _Look((shape[0], *sides), *(folder / path for path in paths))


def _is_look(value: object) -> bool:
    """Whether a value that was kept says a shape and two files."""
    match value:
        case [[1 | 3, int(), int()], str(), str()]:
            return True
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


def _look(folder: Path, paths: Sequence[str], image_size: int | None) -> _Look:
    """The shape that images have, or are brought to, by their headers."""
    step = 1 if image_size is None else -(-len(paths) // _LOOKED_AT)
    coloured, first, size = None, folder / paths[0], None
    for path in bar((folder / path for path in paths[::step]), len(paths[::step]), "headers of files"):
        with opened(path) as image:
            if channels_of(image, path) == 3:
                coloured = coloured or path
            if image_size is None:
                found = size_of(image, path)
                size = size or found
                if found != size:
                    raise InputError(
                        f"images in {folder} differ in size ({first} is {size[1]}x{size[0]}, {path} is "
                        f"{found[1]}x{found[0]}): give an image size (--image-size) for all"
                    )
    width, height = (image_size, image_size) if image_size is not None else size
    return _Look((1 if coloured is None else 3, height, width), first, coloured or first)


def _check_agreement(folder: Path, train: _Look, test: _Look) -> None:
    """Refuse test images that what is trained could not be shown.

    Raises:
        InputError: they have another size or number of channels; a file of each split is named.
    """
    (channels, *sides), (other, *theirs) = train.shape, test.shape
    if sides != theirs:
        raise InputError(
            f"the images in {folder}/train and {folder}/test differ in size ({train.first} is {sides[0]}x{sides[1]}, "
            f"{test.first} is {theirs[0]}x{theirs[1]}): give an image size (--image-size) for all"
        )
    if channels != other:
        grey, colour = (train, test) if channels == 1 else (test, train)
        raise InputError(
            f"the images in {folder}/train and {folder}/test differ in colour (all looked at like {grey.first} are "
            f"grey, {colour.witness} is not): make both grey or both RGB"
        )
