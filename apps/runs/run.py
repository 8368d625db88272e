"""A run's folder: its configuration, its metrics, the states to resume from and, last of all, its result."""

import json
import math
import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from apps.command.config import differences
from apps.command.console import say
from apps.command.given import given_words
from apps.command.places import SHORT, is_at, lock
from apps.pretrained_models.finding import place_of
from apps.runs.format import DIGESTS_OF_IMAGES, FORMAT, as_stored, format_of
from apps.runs.logged import is_damaged, logged_lines
from apps.runs.result import no_number
from priors.errors import InputError
from priors.files.json_files import read_json, write_json
from priors.files.regular import write_bytes

KEPT_STATES = 2
"""The newest states that stay: one that is damaged falls back to the one before it."""


class Run:
    """The folder of one run, opened for training by one program at a time.

    Layout: `config.json`, `metrics.jsonl`, `state/step-N/` and `snapshots/step-N/` (complete by construction: written
    under another name, then renamed), the weights, and `result.json`, which is there only when the run is finished.

    Args:
        folder: its place, or pretrained:NAME.
        format: number that it gets where it is new; a run that repeats another one gets the other's.
    """

    def __init__(self, folder: str | Path, format: int = FORMAT):
        self.folder = place_of(folder)
        self._new_format, self._lock = format, None

    @property
    def quoted(self) -> str:
        """Its folder as a word of a command, quoted where a shell would take it apart."""
        return shlex.quote(str(self.folder))

    @property
    def format(self) -> int:
        """The number of its format, which its arithmetic goes by: what it was made with, or else will be.

        Raises:
            InputError: a newer program made it, or its configuration is damaged.
        """
        path = self.folder / "config.json"
        return format_of(self.config(), path) if path.exists() and self._begun() else self._new_format

    @property
    def finished(self) -> bool:
        """Whether `result.json` is there; where that is no file it is `result` that says so."""
        return os.path.lexists(self.folder / "result.json")

    def result(self) -> dict[str, Any]:
        """What the finished run came to: numbers, and objects of numbers, by name.

        Raises:
            InputError: it is missing or damaged, or something stands in the place of a number.
        """
        path = self.folder / "result.json"
        result = read_json(path, "result of a finished run")
        if not isinstance(result, dict):
            raise InputError(f"{path} is not the result of a run: remove it to finish that run again")
        if (wrong := no_number(result)) is not None:
            raise InputError(f"{path} is damaged: its {wrong!r} is no number; put back a copy of it")
        return result

    def config(self) -> dict[str, Any]:
        """The whole of `config.json`.

        Raises:
            InputError: it is missing, damaged, of something else, or of a newer program.
        """
        path = self.folder / "config.json"
        stored = read_json(path, "run configuration (config.json)")
        if not isinstance(stored, dict) or not stored.get("verb") or not isinstance(stored.get("config"), dict):
            raise InputError(f"{path} is not the configuration of a run: give another folder or --name")
        if not isinstance(stored.get("command") or [], list):
            raise InputError(f"{path} is damaged: its 'command' is no list of words; put back a copy of it")
        format_of(stored, path)
        return stored

    def open(
        self,
        verb: str,
        identity: dict[str, Any],
        environment: dict[str, Any],
        older: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the folder, or check that it is this very run, and take its lock.

        Args:
            verb: what makes the run.
            identity: the flat configuration that decides its numbers.
            environment: where it is made.
            older: by key, what a run does that was made before the key, see `apps.command.config.older_values`.

        Raises:
            InputError: the folder holds something else, another configuration (the differences are listed), or is being
                written by another program now.
        """
        try:
            if self.folder.exists() and not self.folder.is_dir():
                raise InputError(f"{self.folder} is a file; a run needs a folder: choose another --name")
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno not in SHORT:
                raise InputError(
                    f"no folder can be made at {self.folder} ({error.strerror}): choose another --name or --runs"
                ) from None
            raise
        self._acquire()
        try:
            self._claim(verb, identity, environment, older or {})
            self._tidy()
        except BaseException:
            self.close()
            raise

    def _claim(
        self, verb: str, identity: dict[str, Any], environment: dict[str, Any], older: Mapping[str, Any]
    ) -> None:
        """Write the configuration into an empty folder, or check that the one there is the same."""
        path = self.folder / "config.json"
        if not path.exists():
            if any(not entry.name.startswith(".") for entry in self.folder.iterdir()):
                raise InputError(f"{self.folder} exists and is no run (it has no config.json): choose another --name")
        else:
            stored = self.config()
            if self._begun():
                self._compare(stored, verb, identity, older)
                return
        # New, or stopped before its first step was logged: nothing there to lose.
        told = {"verb": verb, "config": identity} | ({"older": dict(older)} if older else {})
        write_json(path, {"format": self._new_format, **told, "environment": environment, "command": given_words()})

    def check(self, verb: str, identity: dict[str, Any], older: Mapping[str, Any] | None = None) -> None:
        """Whether `open` would take the run, as far as can be seen without opening it.

        Raises:
            InputError: the folder holds a run with another configuration (the differences are listed).
        """
        if (self.folder / "config.json").exists() and self._begun():
            self._compare(self.config(), verb, identity, older or {})

    def _begun(self) -> bool:
        return bool(self.finished or self.states() or self.metrics())

    def _compare(self, stored: dict[str, Any], verb: str, identity: dict[str, Any], older: Mapping[str, Any]) -> None:
        number = format_of(stored, self.folder / "config.json")
        now = as_stored(identity, number)
        if stored["verb"] == verb:
            changed = differences(stored["config"], now, older)
        else:  # whose flags are others: a list of them would hide what matters
            changed = [f"verb: {stored['verb']} before, {verb} now"]
        if not changed:
            return
        if all(line.startswith(DIGESTS_OF_IMAGES) for line in changed):
            unread = (
                ""
                if number >= 2
                else (", or are in linked folders or lie on their side by EXIF, which the penult of then passed over")
            )
            raise InputError(
                f"{self.folder} was begun with other images than {now.get('data', 'these')} holds now "
                f"({'; '.join(changed)}): they have changed{unread}; put them back as they were, or train anew under "
                "another --name"
            )
        raise InputError(
            f"{self.folder} holds a run with another configuration ({'; '.join(changed)}): choose another --name "
            "or --runs, or give the flags it was started with"
        )

    def _tidy(self) -> None:
        """Remove what a kill left half written."""
        for leftover in (*(self.folder / "state").glob(".step-*"), *(self.folder / "snapshots").glob(".step-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        for leftover in self.folder.glob(".*.partial"):
            leftover.unlink(missing_ok=True)
        if self.finished:
            shutil.rmtree(self.folder / "state", ignore_errors=True)

    def _acquire(self) -> None:
        """Hold an advisory lock for as long as this process lives; a kill releases it."""
        taken = f"{self.folder} is being written by another process: wait for it, or choose another --name"
        self._lock = lock(self.folder / ".lock", taken)

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def check_held(self) -> None:
        """Make sure that the folder is still the one that was opened, before anything is written into it.

        Raises:
            InputError: it was removed meanwhile, or also made anew by another program.
        """
        if self._lock is not None and not is_at(self._lock, self.folder / ".lock"):
            raise InputError(
                f"{self.folder} was removed or replaced while this program was writing it: nothing more is written "
                "there; give the same command again to begin anew"
            )

    # States to resume from.

    @property
    def ours(self) -> bool:
        """Whether its configuration looks like one of penult's; a damaged one does, and is told elsewhere."""
        try:
            stored = read_json(self.folder / "config.json", "run configuration")
        except InputError:
            return True
        return isinstance(stored, dict) and "verb" in stored

    def states(self) -> list[Path]:
        """The complete states, oldest first."""
        return _by_step(self.folder / "state")

    def state(self, step: int) -> Path:
        """Where the complete state of `step` belongs."""
        return self.folder / "state" / f"step-{step}"

    def state_beside(self, step: int) -> Path:
        """Where the state of `step` is while it is being written."""
        return _hidden(self.state(step))

    def begin_state(self, step: int) -> Path:
        """A fresh folder to write the state of `step` into, not yet visible as one.

        Raises:
            InputError: as for `check_held`.
        """
        self.check_held()
        beside = self.state_beside(step)
        self.drop_state(beside)
        beside.mkdir(parents=True)
        return beside

    def drop_state(self, beside: Path) -> None:
        """Remove a state that was not committed."""
        shutil.rmtree(beside, ignore_errors=True)

    def commit_state(self, beside: Path) -> None:
        """Make a fully written state the newest one, then remove all but the one before it.

        What was logged before it is on the disk before it, and the older go only when it is itself: a power cut loses
        no more than a kill.
        """
        place = beside.with_name(beside.name.removeprefix("."))
        if place.exists():  # the same step again is the same state: never take away the only complete one
            self.drop_state(beside)
            return
        with suppress(FileNotFoundError):
            _flush(self.folder / "metrics.jsonl")
        _flush(beside)
        os.replace(beside, place)
        _flush(place.parent)
        for older in self.states()[:-KEPT_STATES]:
            with suppress(OSError):
                _remove(older)

    def rewind_states(self, step: int) -> None:
        """Drop the states after `step`, which were damaged: they are about to be made again."""
        for place in self.states():
            if _step(place) > step:
                _remove(place)

    # Snapshots: the model as it was on the way.

    def snapshots(self) -> list[Path]:
        """The complete snapshots, oldest first; each is a finished run's folder by itself, called `step-N`."""
        return _by_step(self.folder / "snapshots")

    def save_snapshot(self, step: int, write: Callable[[Path], None], result: dict[str, Any]) -> None:
        """Keep a model as a finished run of its own, which appears when it is complete.

        Args:
            step: updates done.
            write: puts the model into the folder it is given.
            result: what that run came to.

        Raises:
            InputError: as for `check_held`.
            OSError: it could not be written; nothing of it is left.
        """
        self.check_held()
        place = self.folder / "snapshots" / f"step-{step}"
        beside = _hidden(place)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        try:
            write(beside)
            write_json(beside / "config.json", self.config())
            write_json(beside / "result.json", result)
            _flush(beside)
            os.replace(beside, place)
            _flush(place.parent)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise

    def rewind_snapshots(self, step: int) -> None:
        """Drop the snapshots after `step`, since those steps are about to be done again."""
        for place in self.snapshots():
            if _step(place) > step:
                _remove(place)

    # Metrics.

    def log(self, entry: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`.

        Raises:
            InputError: as for `check_held`.
        """
        self.check_held()
        path = self.folder / "metrics.jsonl"
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error

    def metrics(self) -> list[dict[str, Any]]:
        """All complete lines of `metrics.jsonl`: each one's step, and what else in it is a finite number."""
        return [entry for _, entry in logged_lines(self.folder / "metrics.jsonl") if entry is not None]

    def rewind_metrics(self, step: int) -> None:
        """Drop what was logged after `step`, since those steps are about to be done again.

        What cannot be read goes too. That is said, but for an end that a kill has cut off.
        """
        path = self.folder / "metrics.jsonl"
        logged = logged_lines(path)
        lost = sum(entry is None for _, entry in logged[:-1]) + (bool(logged) and is_damaged(*logged[-1]))
        if lost:
            say(f"{path} is damaged: {lost} of its lines cannot be read, and are left out of it.")
        kept = [line for line, entry in logged if entry is not None and entry["step"] <= step]
        write_bytes(path, "".join(f"{line}\n" for line in kept).encode())

    def finish(self, result: dict[str, Any]) -> None:
        """Write `result.json`, then drop the states: there is nothing left to resume.

        Raises:
            InputError: a number of the result is not finite, or as for `check_held`.
        """
        self.check_held()
        wrong = [name for name, value in result.items() if isinstance(value, float) and not math.isfinite(value)]
        if wrong:
            raise InputError(
                f"{self.folder} is trained, but its {', '.join(wrong)} is not finite: train it another way"
            )
        write_json(self.folder / "result.json", result)
        _flush(self.folder)
        shutil.rmtree(self.folder / "state", ignore_errors=True)


def _by_step(folder: Path) -> list[Path]:
    """The folders called `step-N` in a folder, by N."""
    found = [path for path in folder.glob("step-*") if path.name[5:].isdecimal()]
    return sorted(found, key=_step)


def _step(place: Path) -> int:
    """The N of a folder called `step-N`."""
    return int(place.name.removeprefix("step-"))


def _remove(place: Path) -> None:
    """Remove a folder, hidden first: what is visible is complete."""
    gone = _hidden(place)
    shutil.rmtree(gone, ignore_errors=True)
    os.replace(place, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}")


def _flush(path: Path) -> None:
    """Make what was written to a file, or renamed in a folder, last through a power cut, where the file system can."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
