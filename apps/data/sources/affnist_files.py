"""Where affNIST's own files are kept. Nothing heavy is imported: listing data sets is instant."""

from pathlib import Path

TRAINING = "training_and_validation_batches"
"""Folder of the training batches."""


def own_files(folder: Path) -> dict[str, list[Path]]:
    """The files of each split, batches in the order of their numbers; empty where there are none.

    Args:
        folder: of the data set, under the root of data sets.
    """
    found = {"train": _batches(folder / TRAINING), "test": _batches(folder / "test_batches")}
    if (folder / "test.mat").is_file():
        found["test"] = [folder / "test.mat"]
    return found


def _batches(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.mat"), key=lambda path: (len(path.stem), path.stem))
