"""Dies, is interrupted or fails where it is told to: what a job of the forking machine may ask of its process.

Events are whatever changes the disk (fsync, replace, link, mkdir, rmtree, a line of metrics) and each step of an
optimiser. A job says `at`, the number of the event to act at, counted from 1 (0: never); `act`, a signal's name, or an
error's such as ENOSPC, raised instead of the event; `only`, the kind of event counted (all by default).
"""

import errno
import functools
import json
import os
import shutil
import signal
from pathlib import Path


class Script:
    """Counts events, and acts at one of them."""

    def __init__(self, job: dict):
        self.at, self.act, self.only = job.get("at", 0), job.get("act", "SIGKILL"), job.get("only")
        self.events: list[str] = []

    def event(self, kind: str, broken=None) -> None:
        """Note an event about to happen; `broken` leaves it half done, as a kill may."""
        if self.only not in (None, kind):
            return
        self.events.append(kind)
        if len(self.events) != self.at:
            return
        if not self.act.startswith("SIG"):
            raise OSError(getattr(errno, self.act), os.strerror(getattr(errno, self.act)))
        if self.act == "SIGKILL" and broken is not None:
            broken()
        os.kill(os.getpid(), getattr(signal, self.act))

    def before(self, module, name: str, kind: str, broken=None) -> None:
        """Make each call of `module.name` an event."""
        function = getattr(module, name)

        @functools.wraps(function)
        def noted(*args, **options):
            self.event(kind, broken and (lambda: broken(*args)))
            return function(*args, **options)

        setattr(module, name, noted)

    def install(self) -> None:
        """Watch this process."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        from apps.runs.run import Run

        self.before(os, "fsync", "fsync", _truncate)
        self.before(os, "replace", "replace")
        self.before(os, "link", "link")
        self.before(os, "mkdir", "mkdir")
        self.before(shutil, "rmtree", "rmtree", _remove_some)
        self.before(Run, "log", "log", _half_a_line)
        register_optimizer_step_post_hook(lambda *_: self.event("step"))


def _truncate(handle: int) -> None:
    if os.path.isfile(f"/proc/self/fd/{handle}"):
        size = os.fstat(handle).st_size
        if not os.readlink(f"/proc/self/fd/{handle}").endswith("metrics.jsonl"):  # its lines are there already
            with open(f"/proc/self/fd/{handle}", "r+b") as file:
                file.truncate(size // 2)


def _remove_some(folder, *_) -> None:
    for path in sorted(Path(folder).glob("*"))[::2]:
        path.unlink()


def _half_a_line(run, entry) -> None:
    with open(run.folder / "metrics.jsonl", "a") as file:
        file.write(json.dumps(entry)[:20])
