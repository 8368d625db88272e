"""The data sets that have a name as a table. No torch is imported: listing them is instant."""

from pathlib import Path

from apps.command.console import table
from apps.data.sources.catalogue import DATASETS, DatasetInfo, data_root


def list_datasets(root: Path | None) -> None:
    """Print a row a data set: what it holds, and whether it is here.

    Args:
        root: folder of the data sets; None for the usual one.
    """
    root = data_root(root)
    table(
        "data sets",
        ("name", "what it is", "images", "classes", "training", "test", "here"),
        [
            (
                info.name,
                info.description,
                "x".join(map(str, info.image_shape)),
                info.classes,
                f"{info.train:,}",
                f"{info.test:,}",
                _here(info, root),
            )
            for info in DATASETS.values()
        ],
        f"kept in {root} (--data-root, $PENULT_DATA); an .npz file or a folder with train/CLASS/* and test/CLASS/* "
        "will do as well",
    )


def _here(info: DatasetInfo, root: Path) -> str:
    """Whether a data set is there, or where it will come from."""
    if (root / f"{info.name}.npz").is_file():
        return "yes"
    if info.made_from is not None:
        return "yes" if (root / info.name).is_dir() else f"made from {info.made_from}"
    return "built in" if info.home is None else "on first use"
