"""Runs command lines and programs in processes forked from one that has imported torch: importing takes the longest.

`python forking.py` reads one JSON job a line and answers each with one. Every job is a process of its own, so that a
kill is a kill, or several over gloo, as torchrun starts them. Nothing here computes before it forks.

A job: `arguments` of penult, or of `program`, a file, where that is given; `processes` (one, which counts its events:
see dying.py, whose words a job may use too; or more); the `folder` to run in; `environment`; `file_limit`, in bytes;
`seconds` that it may take; `kill_after`, seconds after which it is killed; `left`, whether one process that fails
leaves the others to end by themselves. The answer: `status` as the shell has it (-9 for a kill), the first that is not
0, and the `statuses` of all; `output` and `errors`, the first process's first; the `events` that it went through.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from dying import Script
from importing import imports_from

ROOT = Path(__file__).parents[2]


class Machine:
    """Gives jobs to a server of its own, which starts with the first of them; `all`: it imports all of apps first."""

    def __init__(self, all: bool = False):
        self.process, self.all = None, all

    def __call__(self, arguments, **job) -> dict:
        """Run a job to its end: its answer."""
        if self.process is None:
            environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"} | imports_from(ROOT)
            command = [sys.executable, __file__, *["all"] * self.all]
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd="/")
            assert self.process.stdout.readline() == "ready\n"
        words = [str(word) for word in arguments]
        job = {"folder": os.getcwd(), **job}
        self.process.stdin.write(json.dumps({"arguments": words, **job}, default=str) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(timeout=60)
            self.process.stdout.close()


def _child(job: dict, events: int) -> None:
    """The whole life of a job's process; only what it registers itself is done at its exit."""
    atexit._clear()
    signal.alarm(job.get("seconds", 300))
    os.chdir(job["folder"])
    os.environ.update(job.get("environment", {}))
    if "file_limit" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_limit"], job["file_limit"]))
    script, status = Script(job), 70
    try:
        status = _run(job, script)
    except BaseException:
        import traceback

        sys.last_value = sys.exc_info()[1]  # as at the end of a program that an error ends
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(events, json.dumps(script.events).encode())
        os._exit(status)


def _run(job: dict, script: Script) -> int:
    if "program" in job:
        sys.argv = [job["program"], *job["arguments"]]
        try:
            runpy.run_path(job["program"], run_name="__main__")
        except SystemExit as end:
            return end.code or 0
        return 0
    from apps.command.cli import main

    if job.get("processes", 1) == 1:
        script.install()
    return main(job["arguments"])


def _fork(job: dict, place: dict[str, str]) -> tuple[int, list]:
    """A process of the job: its number, and the files that it writes output, errors and events to."""
    files = [tempfile.TemporaryFile() for _ in range(3)]
    child = os.fork()
    if child == 0:
        os.environ.update(place)
        os.dup2(files[0].fileno(), 1)
        os.dup2(files[1].fileno(), 2)
        _child(job, files[2].fileno())
    return child, files


def _store() -> tuple[int, str]:
    """A process that keeps what the others of a launch tell one another to meet, and its port."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        from torch.distributed import TCPStore

        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        os.write(writing, str(store.port).encode())
        os.close(writing)
        signal.alarm(600)
        signal.pause()
    os.close(writing)
    with os.fdopen(reading) as port:
        return child, port.read()


def _ended(children: list[int], left: bool = False) -> list[int]:
    """Statuses, in order; one that fails ends the others, as torchrun has it, unless they are left alone."""
    statuses = {}
    while len(statuses) < len(children):
        child, status = os.wait()
        statuses[child] = os.waitstatus_to_exitcode(status)
        if statuses[child] and not left:
            for other in set(children) - set(statuses):
                os.kill(other, signal.SIGKILL)
    return [statuses[child] for child in children]


def _kill(child: int, seconds: float) -> None:
    """Kill a process after so many seconds, or wait for its end; its number is its own until `_ended` has it."""
    killing = threading.Timer(seconds, os.kill, (child, signal.SIGKILL))
    killing.start()
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    killing.cancel()
    killing.join()


def _launch(job: dict) -> tuple[list[int], list]:
    """Start the job's processes and wait for all: statuses, and each one's files."""
    count = job.get("processes", 1)
    if count == 1:
        child, files = _fork(job, {})
        if "kill_after" in job:
            _kill(child, job["kill_after"])
        return _ended([child]), [files]
    store, port = _store()
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    place |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0", "ACCELERATE_USE_CPU": "true"}
    ranks = [_fork(job, place | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(count)]
    statuses = _ended([child for child, _ in ranks], job.get("left", False))
    os.kill(store, signal.SIGKILL)
    os.waitpid(store, 0)
    return statuses, [files for _, files in ranks]


def _answer(statuses: list[int], files: list) -> dict:
    texts = []
    for own in files:
        for file in own:
            file.seek(0)
        texts.append([file.read().decode(errors="replace") for file in own])
        for file in own:
            file.close()
    output, errors, events = ([text[place] for text in texts] for place in range(3))
    status = next((status for status in statuses if status), 0)
    return {
        "status": status,
        "statuses": statuses,
        "output": "".join(output),
        "errors": "".join(errors),
        "events": json.loads(events[0] or "[]"),
    }


def import_all(package) -> None:
    """Import every module of a package, and what its modules import only when they are asked for something."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _serve() -> None:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import matplotlib.pyplot  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch
    import torch._dynamo  # noqa: F401  an optimiser loads it
    import torchvision  # noqa: F401
    import toys  # noqa: F401
    import unseen

    import apps.classifiers.training
    import apps.figures
    import apps.generators.train_hvae
    import apps.training.loop
    import apps.training.train
    import apps.verbs.train_hvae  # noqa: F401
    from apps.command.cli import VERBS

    VERBS["train toy"] = ("toys", "a small task")
    apps.figures.save = unseen.leave_blank
    if sys.argv[1:] == ["all"]:
        import_all(apps)
    torch.set_num_threads(1)
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(*_launch(json.loads(line)))), flush=True)


if __name__ == "__main__":
    _serve()
