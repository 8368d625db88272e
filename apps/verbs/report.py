"""Write one page on a run, or on several side by side: an HTML file that holds its pictures and needs no network.

It shows the configuration, the curves of the training, all scores beside the published ones, samples, the classes of
the prior, and every picture in the run's folder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from apps.command.options import ONE_OR_MORE
from apps.command.ranges import Range, Seed, Threads


@dataclass(frozen=True)
class Config:
    """Write a run's page."""

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], ONE_OR_MORE]
    """Folders of finished runs (see `penult ls runs`)."""
    out: Path | None = None
    """The page; unset: report.html in the run's folder, or here for several runs. An earlier page is replaced."""
    n: Annotated[int, Range(0, most=100)] = 8
    """How many samples of each class to draw of a generator, 0 (none) to 100; of one without classes, ten times as many
    in all."""
    seed: Seed = 0
    """Seed of the samples."""
    overwrite: bool = False
    """Whether --out may replace a file that is no page of this kind."""
    threads: Threads | None = None
    """CPU threads; unset: 1, since a few small blocks gain nothing by more."""


def main(config: Config) -> None:
    """Read, draw and write."""
    from apps.report.writing import write_page

    write_page(config.runs, config.out, config.n, config.seed, config.overwrite, config.threads)
