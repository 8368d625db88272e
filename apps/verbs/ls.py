"""List runs, classifiers, datasets, pretrained models, terms or tables. Answers at once: nothing heavy is imported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from apps.command.ranges import DataFolder, RunsFolder


@dataclass(frozen=True)
class Config:
    """List what there is."""

    what: tyro.conf.Positional[Literal["runs", "classifiers", "datasets", "pretrained", "terms", "tables"]] = "runs"
    """What to list."""
    runs: RunsFolder = Path("runs")
    """Folder of the runs."""
    data_root: DataFolder | None = None
    """Folder of the data sets; unset: $PENULT_DATA, else data."""


def main(config: Config) -> None:
    """Print the list."""
    from apps.data.listing import list_datasets
    from apps.distilling.listing import list_terms
    from apps.models.listing import list_classifiers
    from apps.models.pretrained_listing import list_pretrained
    from apps.recipes.listing import list_tables
    from apps.runs.listing import print_runs

    {
        "runs": lambda: print_runs(config.runs),
        "classifiers": list_classifiers,
        "datasets": lambda: list_datasets(config.data_root),
        "pretrained": list_pretrained,
        "terms": list_terms,
        "tables": list_tables,
    }[config.what]()
