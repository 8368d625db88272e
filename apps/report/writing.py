"""Writing the page of one run or of several: what can be refused before the work is, then the file."""

from collections.abc import Sequence
from pathlib import Path

import torch

from apps.command.console import say
from apps.models.named import open_run, results_in
from apps.report.contents import contents
from apps.report.page import is_page, page
from apps.runs.outputs import check_file
from priors.errors import InputError
from priors.files.regular import write_bytes


def write_page(
    runs: Sequence[Path], out: Path | None, samples: int, seed: int, overwrite: bool, threads: int | None = None
) -> None:
    """Read the runs, draw samples of the generators among them, and write the page.

    Args:
        runs: folders of finished runs.
        out: the page; None for report.html in the run's folder, or here for several and for one of penult's own.
        samples: a class to draw of a generator, as --n says.
        seed: of the samples.
        overwrite: whether a file that is no page of this kind may be replaced.
        threads: of the CPU; None: one.

    Raises:
        InputError: a run that is not finished or given twice, or a place that cannot be written.
    """
    _check(runs)
    folder = results_in(str(runs[0])) if len(runs) == 1 else None
    out = out or (folder or Path()) / "report.html"
    check_file(out, (".html", ".htm"), overwrite or is_page(out))
    torch.set_num_threads(threads or 1)  # a few small blocks: a second thread costs more than it brings
    text = page([contents(folder, samples, seed) for folder in runs])
    write_bytes(out, text.encode(errors="replace"))
    say(f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} in {out}: open it in a browser")


def _check(runs: Sequence[Path]) -> None:
    """Refuse what makes no page."""
    places = [folder.resolve() for folder in runs]
    for number, folder in enumerate(runs):
        open_run(folder)
        if places[number] in places[:number]:
            raise InputError(f"{folder} was given twice: name each run once")
