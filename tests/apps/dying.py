"""Runs command lines in forked processes that die, are interrupted or fail where they are told to.

`python dying.py` reads one JSON job a line and answers each with one: torch is imported once, and every job is a
process of its own, so that a kill is a kill. Nothing here computes before it forks.

A job: `arguments`; `at`, the number of the event to act at, counted from 1 (0: never); `act`, a signal's name, or an
error's such as ENOSPC, raised instead of the event; `only`, the kind of event counted (all by default); `file_limit`,
in bytes. Events are whatever changes the disk (fsync, replace, link, mkdir, rmtree, a line of metrics) and each step of
an optimiser. The answer: `status` as the shell has it (-9 for a kill), `output`, `errors`, and the `events` that a
finished job went through.
"""

import errno
import functools
import gc
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
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


def _child(job: dict, answers: int) -> None:
    os.environ.update(job.get("environment", {}))
    if "file_limit" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_limit"], job["file_limit"]))
    from apps.command.cli import main

    script, status = Script(job), 70
    try:
        script.install()
        status = main(job["arguments"])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(answers, json.dumps(script.events).encode())
        os._exit(status)


def _serve() -> None:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import matplotlib.pyplot  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch
    import torchvision  # noqa: F401
    import toys  # noqa: F401

    import apps.classifiers.training
    import apps.figures
    import apps.generators.train_hvae
    import apps.training.loop
    import apps.training.train
    import apps.verbs.train_hvae  # noqa: F401
    from apps.command.cli import VERBS

    VERBS["train toy"] = ("toys", "a small task")
    torch.set_num_threads(1)
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reading)
                os.dup2(output.fileno(), 1)
                os.dup2(errors.fileno(), 2)
                _child(job, writing)
            os.close(writing)
            with os.fdopen(reading) as pipe:
                events = pipe.read()
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            output.seek(0)
            errors.seek(0)
            answer = {
                "status": status,
                "output": output.read().decode(),
                "errors": errors.read().decode(),
                "events": json.loads(events or "[]"),
            }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
