"""The data sets that have a name as a table. No torch is imported: listing them is instant."""

from contextlib import suppress
from pathlib import Path

from apps.command.answer import tell
from apps.command.console import table
from apps.data.sources.affnist_files import own_files
from apps.data.sources.catalogue import BIRDS, DATASETS, RANDOM, DatasetInfo, data_root
from apps.data.sources.finding import birds_missing
from priors.errors import InputError


def list_datasets(root: Path | None) -> None:
    """Print a row a data set: what it holds, and whether it is here.

    Args:
        root: folder of the data sets; None for the usual one.
    """
    root = data_root(root)
    for info in DATASETS.values():
        train, test = _counts(info, root)
        shape = info.image_shape and list(info.image_shape)
        told = {"name": info.name, "description": info.description, "image_shape": shape, "classes": info.classes}
        tell("data set", told | {"training": train, "test": test, "here": _here(info, root)})
    table(
        "data sets",
        ("name", "what it is", "images", "classes", "training", "test", "here"),
        [
            (
                info.name,
                info.description,
                "any size" if info.image_shape is None else "x".join(map(str, info.image_shape)),
                info.classes,
                *("-" if count is None else f"{count:,}" for count in _counts(info, root)),
                _here(info, root),
            )
            for info in DATASETS.values()
        ],
        f"kept in {root} (--data-root, $PENULT_DATA); an .npz file or a folder with train/CLASS/* and test/CLASS/* "
        "will do as well, and a folder of WebDataset's .tar shards (wds:PATTERN), hf:NAME[:CONFIG] or hf:FOLDER "
        "[,image=COLUMN,label=COLUMN,train=SPLIT,test=SPLIT,streaming] by the datasets library, and your own torch "
        f"Dataset, import:package.module:factory; {BIRDS}, as Caltech publishes it, and {RANDOM}, any other pictures, "
        "are put there by hand; pictures of any size take --image-size",
    )


def _here(info: DatasetInfo, root: Path) -> str:
    """Whether a data set is there, or where it will come from."""
    if info.folders:
        whole = all((root / folder).is_dir() for folder in info.folders) and not birds_missing(root / BIRDS)
        return "yes" if whole else "no"
    if (root / f"{info.name}.npz").is_file():
        return "yes"
    if info.made_from is not None:
        return "yes" if any(own_files(root / info.name).values()) else f"made from {info.made_from}"
    if info.home is None:
        return "built in"
    return "yes" if all((root / file).is_file() for file in info.files) else "on first use"


def _counts(info: DatasetInfo, root: Path) -> tuple[int | None, int | None]:
    """Training and test images: of the file that is there, else as they are published.

    A set that is made from another has one image for each of that one's. How many its own files hold is not known
    without reading them all, nor is that of a set of the user's own pictures.
    """
    if info.folders:
        return info.train, info.test
    local = root / f"{info.name}.npz"
    if local.is_file():
        from apps.data.sources.npz_arrays import counts

        with suppress(InputError):  # what is damaged is said where it is read
            return counts(local)
    if info.made_from is not None:
        if any(own_files(root / info.name).values()):
            return None, None
        return _counts(DATASETS[info.made_from], root)
    return info.train, info.test
