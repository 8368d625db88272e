"""Write one page on a run, or on several side by side: an HTML file that holds its pictures and needs no network.

It shows the configuration, the curves of the training, all scores beside the published ones, samples, the classes of
the prior, and every picture in the run's folder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from apps.command.options import ONE_OR_MORE
from apps.command.ranges import Range, Seed


@dataclass(frozen=True)
class Config:
    """Write a run's page."""

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], ONE_OR_MORE]
    """Folders of finished runs (see `penult ls runs`)."""
    out: Path | None = None
    """The page; unset: report.html in the run's folder, or here for several runs. An earlier page is replaced."""
    n: Annotated[int, Range(0, most=100)] = 8
    """Samples a class to draw of a generator, ten times as many of an unconditional one; 0 draws nothing."""
    seed: Seed = 0
    """Seed of the samples."""
    overwrite: bool = False
    """Whether --out may replace a file that is no page of this kind."""


def main(config: Config) -> None:
    """Read, draw and write."""
    from apps.report.writing import write_page

    write_page(config.runs, config.out, config.n, config.seed, config.overwrite)
