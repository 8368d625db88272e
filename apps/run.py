"""A run's folder: its configuration, its metrics, the states to resume from and, last of all, its result."""

import fcntl
import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from apps.config import differences
from priors.errors import InputError
from priors.storage import read_json, write_bytes, write_json


class Run:
    """The folder of one run, opened for training by one program at a time.

    Layout: `config.json`, `metrics.jsonl`, `state/step-N/` (complete by construction: written under another name, then renamed), the
    weights, and `result.json`, which is there only when the run is finished.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._lock = None

    @property
    def finished(self) -> bool:
        """Whether `result.json` is there."""
        return (self.folder / "result.json").is_file()

    def result(self) -> dict[str, Any]:
        """What the finished run came to."""
        return read_json(self.folder / "result.json", "result of a finished run")

    def config(self) -> dict[str, Any]:
        """The whole of `config.json`."""
        return read_json(self.folder / "config.json", "run configuration (config.json)")

    def open(self, verb: str, identity: dict[str, Any], environment: dict[str, Any]) -> None:
        """Make the folder, or check that it is this very run, and take its lock.

        Raises:
            InputError: the folder holds something else, another configuration (the differences are listed), or is being written by
                another program now.
        """
        path = self.folder / "config.json"
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file; a run needs a folder: choose another --name")
        if not path.exists() and self.folder.is_dir():
            others = [entry for entry in self.folder.iterdir() if not entry.name.startswith(".")]
            if others:
                raise InputError(f"{self.folder} exists and is no run (it has no config.json): choose another --name")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._acquire()
        begun = self.finished or bool(self.states()) or bool(self.metrics())
        if path.exists() and begun:
            stored = self.config()
            if not isinstance(stored, dict) or stored.get("verb") is None or not isinstance(stored.get("config"), dict):
                raise InputError(f"{path} is not the configuration of a run: choose another --name")
            changed = [f"verb: {stored['verb']} before, {verb} now"] if stored["verb"] != verb else []
            changed += differences(stored["config"], identity)
            if changed:
                raise InputError(
                    f"{self.folder} holds a run with another configuration ({'; '.join(changed)}): choose another --name, "
                    "or give the flags it was started with"
                )
        else:  # new, or stopped before its first checkpoint: nothing there to lose
            write_json(path, {"verb": verb, "config": identity, "environment": environment, "command": sys.argv[1:]})
        for leftover in (self.folder / "state").glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for leftover in self.folder.glob(".*.partial"):
            leftover.unlink(missing_ok=True)

    def _acquire(self) -> None:
        """Hold an advisory lock for as long as this process lives; a kill releases it."""
        self._lock = open(self.folder / ".lock", "w")  # noqa: SIM115 - held open on purpose
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            self._lock = None
            raise InputError(f"{self.folder} is being written by another process: wait for it, or choose another --name") from None
        except OSError:
            pass  # a file system without locks: nothing to hold

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # States to resume from.

    def states(self) -> list[Path]:
        """The complete states, oldest first."""
        found = [path for path in (self.folder / "state").glob("step-*") if path.name[5:].isdigit()]
        return sorted(found, key=lambda path: int(path.name[5:]))

    def begin_state(self, step: int) -> Path:
        """A fresh folder to write the state of `step` into, not yet visible as one."""
        beside = self.folder / "state" / f".step-{step}"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        return beside

    def commit_state(self, beside: Path) -> None:
        """Make a fully written state the newest one, then remove the older."""
        place = beside.with_name(beside.name[1:])
        if place.exists():  # the same step again is the same state: never take away the only complete one
            shutil.rmtree(beside, ignore_errors=True)
            return
        os.replace(beside, place)
        _flush(place.parent)
        for older in self.states():
            if older != place:
                shutil.rmtree(older, ignore_errors=True)

    # Metrics.

    def log(self, entry: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All complete lines of `metrics.jsonl`."""
        entries = []
        with suppress(FileNotFoundError):
            for line in (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
                with suppress(json.JSONDecodeError):
                    entries.append(json.loads(line))
        return entries

    def rewind_metrics(self, step: int) -> None:
        """Drop what was logged after `step`, since those steps are about to be done again."""
        kept = [entry for entry in self.metrics() if entry.get("step", 0) <= step]
        write_bytes(self.folder / "metrics.jsonl", "".join(json.dumps(entry) + "\n" for entry in kept).encode())

    def finish(self, result: dict[str, Any]) -> None:
        """Write `result.json`, then drop the states: there is nothing left to resume."""
        write_json(self.folder / "result.json", result)
        shutil.rmtree(self.folder / "state", ignore_errors=True)


def _flush(folder: Path) -> None:
    """Make a rename in `folder` last through a power cut, where the file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
