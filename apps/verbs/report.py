"""Write one page on a run, or on several side by side: an HTML file that holds its pictures and needs no network.

It shows the configuration, the curves of the training, all scores beside the published ones, samples, the classes of
the prior, and every picture in the run's folder.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Config:
    """Write a run's page."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of finished runs."""
    out: Path | None = None
    """The page; unset: report.html in the run's folder, or here for several runs. An earlier page is replaced."""
    n: int = 8
    """Samples a class to draw of a generator, ten times as many of an unconditional one; 0 draws nothing."""
    seed: int = 0
    """Seed of the samples."""
    overwrite: bool = False
    """Whether --out may replace a file that is no page of this kind."""


def main(config: Config) -> None:
    """Read, draw and write."""
    import torch

    from apps.command.console import say
    from apps.models.named import open_run
    from apps.report.contents import contents
    from apps.report.page import is_page, page
    from apps.runs.outputs import check_file
    from priors.errors import InputError
    from priors.storage import write_bytes

    if not config.runs:
        raise InputError("no run was given: name the folders of one or more finished runs (see penult ls runs)")
    if not 0 <= config.n <= 100:
        raise InputError(f"--n {config.n}: expected 0 to 100; penult sample draws more")
    places = [folder.resolve() for folder in config.runs]
    for number, folder in enumerate(config.runs):
        open_run(folder)
        if places[number] in places[:number]:
            raise InputError(f"{folder} was given twice: name each run once")
    out = config.out or (config.runs[0] if len(config.runs) == 1 else Path()) / "report.html"
    check_file(out, (".html", ".htm"), config.overwrite or is_page(out))
    torch.set_num_threads(1)  # a few small blocks: a second thread costs more than it brings
    text = page([contents(folder, config.n, config.seed) for folder in config.runs])
    write_bytes(out, text.encode(errors="replace"))
    say(f"{len(config.runs)} {'run' if len(config.runs) == 1 else 'runs'} in {out}: open it in a browser")
