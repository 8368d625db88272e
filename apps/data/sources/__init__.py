"""Data sets by name or path: one way to load any of them. The readers are imported when a set is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from apps.data.sources.catalogue import DATASETS, DatasetInfo, data_root
from apps.data.sources.finding import class_folders, holds_splits, is_birds, is_split
from apps.data.sources.forms import Form, form_of, holds_shards, is_form
from priors.errors import InputError, unknown

if TYPE_CHECKING:
    from apps.data.image_set import ImageSet

IN_MEMORY_BYTES = 2**30
"""Image folders of up to this many bytes of pixels are held in memory, larger ones decoded as they are needed."""
_OTHERWISE = (
    "or give an .npz file, a folder of images or of shards by its path, hf:NAME, wds:PATTERN or "
    "import:package.module:factory"
)


def load(
    name_or_path: str | Path,
    split: str = "train",
    *,
    root: str | Path | None = None,
    image_size: int | None = None,
    resize: int | None = None,
    memory_limit: int = IN_MEMORY_BYTES,
    first: int | None = None,
    classes: str | None = None,
    known: Sequence[str] | bool = False,
) -> ImageSet:
    """Load one split of a data set.

    Args:
        name_or_path: a name in `DATASETS`, an `.npz` file, a folder with `train/CLASS/*` and `test/CLASS/*`, with
            shards, or as CUB-200-2011 is published, or one of `apps.data.sources.forms`: hf:..., wds:..., import:...
        split: "train" or "test".
        root: where data sets are kept, see `data_root`. `NAME.npz` there is taken first; otherwise torchvision
            downloads into it, but for sets of pictures.
        image_size: height and width in pixels that the images of a folder or a form are brought to (shorter side
            resized, then the centre cut out; of CUB-200-2011 see `apps.data.sources.birds`); needed where they differ
            in size. Of other sets it can only confirm the size.
        resize: what the shorter side is resized to before that; None: `image_size`.
        memory_limit: bytes of decoded pixels of the split over which a folder's images are decoded as they are needed.
        first: how many of the split's images are wanted, the first ones; None: all. Of a folder no others are decoded.
        classes: which of its classes are wanted, see `apps.data.class_choice.chosen`; None: all.
        known: as for `chosen`.

    Raises:
        InputError: the set is unknown, unreadable or inconsistent, or its download failed; one line says which and what
            to do.
    """
    if split not in ("train", "test"):
        raise unknown("split", split, ("train", "test"))
    brought = {"image_size": image_size, "resize": resize}
    if classes is None:
        found = _whole(str(name_or_path), split, root, memory_limit=memory_limit, first=first, **brought)
    else:
        from apps.data.class_choice import chosen

        # Nothing is decoded before it is known to be wanted.
        found = chosen(_whole(str(name_or_path), split, root, memory_limit=0, **brought), classes, known)
        whole = len(found)
        found = found if first is None or first >= whole else found.subset(range(first))
        if not found.in_memory:
            from apps.data.sources.stored_images import held_pixels

            found = replace(found, images=held_pixels(found.images, memory_limit, whole))
    if split == "train" and first is None and is_form(str(name_or_path)):
        from apps.data.sources.labelled import check_filled

        check_filled(found)
    return found


def _whole(
    name: str,
    split: str,
    root: str | Path | None,
    *,
    image_size: int | None,
    resize: int | None,
    memory_limit: int,
    first: int | None = None,
) -> ImageSet:
    """All classes of a split, or the first images; the arguments are those of `load`."""
    info = DATASETS.get(name)
    if info is None and (form := _form(name)):
        return _formed(form, split, image_size, resize, memory_limit, first)
    if (info is not None and info.folders) or (info is None and is_birds(Path(name))):
        from apps.data.sources.birds import read_folder_of_birds, read_named
        from apps.data.sources.stored_images import Brought

        brought = Brought(image_size, resize, memory_limit, first)
        if info is None:
            return read_folder_of_birds(Path(name), split, brought)
        return read_named(info, split, data_root(root), brought)
    if info is not None:
        found = _named(info, split, data_root(root))
    elif Path(name).is_dir():
        from apps.data.sources.folder import read_folder

        brought = {"image_size": image_size, "resize": resize, "memory_limit": memory_limit, "first": first}
        return read_folder(Path(name), split, **brought)
    elif name.lower().endswith(".npz"):
        from apps.data.sources.npz import read_npz

        found = read_npz(Path(name), split)
    elif os.sep in name or Path(name).exists():
        raise InputError(
            f"no data set at {name}: an .npz file or a folder with train/CLASS/* and test/CLASS/* was expected"
        )
    else:
        raise unknown("data set", name, DATASETS, _OTHERWISE)
    if resize is not None:
        raise InputError(f"--resize {resize}: only image folders are resized, and {name} is none; leave it out")
    _, height, width = found.image_shape
    if image_size is not None and (height, width) != (image_size, image_size):
        raise InputError(
            f"image size {image_size} asked for, but {name} has {height}x{width} images: only image folders are resized"
        )
    return found if first is None or first >= len(found) else found.subset(range(first))


def load_pictures(
    name_or_path: str | Path,
    split: str,
    *,
    root: str | Path | None = None,
    image_size: int | None = None,
    resize: int | None = None,
    memory_limit: int = IN_MEMORY_BYTES,
    classes: str | None = None,
) -> ImageSet:
    """As `load`, where images without splits will do as well: an `.npz` as `penult sample` writes, or any folder.

    A folder has splits where `train` or `test` in it hold folders of classes themselves, or where it has no folders
    but these: `train` with pictures alone, beside other classes, is a class of that name. Without splits all its
    pictures are taken, at any depth.

    The arguments are those of `load`.

    Raises:
        InputError: as for `load`, or no images are there.
    """
    path = Path(name_or_path)
    if str(name_or_path) not in DATASETS and not is_form(str(name_or_path)):
        if path.is_dir() and not holds_splits(path):
            from apps.data.sources.folder import read_pictures

            splits = set(class_folders(path)) <= {"train", "test"} and (path / split).is_dir()
            place = path / split if splits else path
            _without(classes, path)
            return read_pictures(place, image_size=image_size, resize=resize, memory_limit=memory_limit)
        if path.is_file() and path.suffix.lower() == ".npz":
            from apps.data.sources.npz import has_splits, read_samples

            if not has_splits(path):
                _without(classes, path)
                return read_samples(path)
    brought = {"image_size": image_size, "resize": resize, "memory_limit": memory_limit, "classes": classes}
    return load(name_or_path, split, root=root, **brought)


def _without(classes: str | None, path: Path) -> None:
    """Refuse classes of what has none."""
    if classes is not None:
        raise InputError(f"--classes {classes}: {path} holds images without classes; leave it out")


def _form(name: str) -> Form | None:
    """What a name says by a form; a folder of shards is one as well."""
    folder = Path(name)
    if folder.is_dir() and not any(is_split(folder, part) for part in ("train", "test")) and holds_shards(folder):
        return Form("wds", name, given=name)
    return form_of(name)


def _formed(
    form: Form, split: str, image_size: int | None, resize: int | None, memory_limit: int, first: int | None
) -> ImageSet:
    """A set by its form."""
    from apps.data.sources.stored_images import Brought

    if form.kind == "hf":
        from apps.data.sources.hugging_face import read_hf as read
    elif form.kind == "wds":
        from apps.data.sources.shards import read_shards as read
    else:
        from apps.data.sources.own_dataset import read_own as read
    return read(form, split, Brought(image_size, resize, memory_limit, first))


def _named(info: DatasetInfo, split: str, root: Path) -> ImageSet:
    """A data set of the table: from `root/NAME.npz` if it is there, else from where it is published."""
    local = root / f"{info.name}.npz"
    if local.is_file():
        from apps.data.sources.npz import read_npz

        found = read_npz(local, split, class_names=info.class_names)
        if found.image_shape != info.image_shape or found.classes != info.classes:
            raise InputError(
                f"{local} holds {found.classes} classes of images of shape {found.image_shape}, but {info.name} has "
                f"{info.classes} of shape {info.image_shape}: move it away, or give it as a path under another name"
            )
        return replace(found, name=info.name)
    if info.made_from is not None:
        from apps.data.sources.affnist import read_affnist

        return read_affnist(info, split, root, lambda: load(info.made_from, split, root=root))
    from apps.data.sources.published import read_digits, read_torchvision

    return read_digits(info, split) if info.home is None else read_torchvision(info, split, root)
