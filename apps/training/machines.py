"""Processes on several machines: what they must share."""

from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from accelerate import Accelerator

from apps.command.launch import local_processes, processes
from apps.training.session import from_main, on_main
from apps.training.shares import everywhere
from priors.errors import InputError


def check_shared(accelerator: Accelerator, runs: Path) -> None:
    """Make sure that a folder of runs is one folder for all machines; where there is one machine, nothing is done.

    The first process writes runs, and all read them: what is finished, and what a training goes on from. It puts a file
    there for a moment, which all look for.

    Raises:
        InputError: a machine does not see it.
        OSError: nothing can be written there.
    """
    if processes() == local_processes():
        return
    mark = from_main(accelerator, lambda: _marked(runs))
    seen = everywhere((runs / mark).exists())

    def remove() -> None:
        (runs / mark).unlink()
        with suppress(OSError):  # it holds something
            runs.rmdir()

    on_main(accelerator, remove)
    if not all(seen):
        raise InputError(
            f"--runs {runs}: process {seen.index(False)} is on a machine that has another folder there; give one that "
            "all machines share"
        )


def _marked(runs: Path) -> str:
    """The name of a new file in a folder."""
    runs.mkdir(parents=True, exist_ok=True)
    name = f".{uuid4()}.seen"
    (runs / name).touch()
    return name
