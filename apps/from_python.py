"""Runs from Python: what a run's folder holds, by name."""

from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from apps.command import own_code
from apps.runs.columns import Columns
from apps.runs.run import Run
from priors.errors import InputError, shown
from priors.files.json_files import read_json

_NO_SCORES = {"config.json", "result.json", "model.json"}
"""Files of JSON in a run's folder that hold no scores."""


class LoadedRun:
    """A run, read as it is asked for. `load_run` makes it.

    Attributes:
        path: its folder.
    """

    def __init__(self, path: Path):
        self.path, self._run = path, Run(path)
        self._stored = self._run.config()

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.path.name

    @property
    def verb(self) -> str:
        """What made it, such as "train classifier"."""
        return self._stored["verb"]

    @property
    def config(self) -> dict[str, Any]:
        """Its settings by the names of the flags, with _ for -, as they are stored."""
        return dict(self._stored["config"])

    @property
    def stored(self) -> MappingProxyType:
        """The whole of config.json: also the command, the environment and the number of the run's format."""
        return MappingProxyType(self._stored)

    @property
    def finished(self) -> bool:
        """Whether its training is done."""
        return self._run.finished

    @property
    def step(self) -> int | None:
        """Updates done: of a finished run all, else those of its newest checkpoint; None without one."""
        if self.finished:
            return self.result.get("steps")
        states = self._run.states()
        return int(states[-1].name.removeprefix("step-")) if states else None

    @cached_property
    def result(self) -> dict[str, Any]:
        """What the training came to: numbers, and objects of numbers, by name.

        Raises:
            InputError: it is not finished, or the file is damaged.
        """
        if not self.finished:
            raise InputError(f"{self.path} is not finished: it has no result; give its training command again")
        return self._run.result()

    @cached_property
    def metrics(self) -> Columns:
        """What was measured during the training, by name: "step", "train/cross-entropy", "validation/accuracy", ...

        A row is an entry of metrics.jsonl; NaN stands where an entry has no such number. `.frame()` is a DataFrame.
        """
        rows = self._run.metrics()
        names = dict.fromkeys(name for row in rows for name in row)
        return Columns(rows, ["step", *(name for name in names if name != "step")])

    @cached_property
    def evaluations(self) -> dict[str, list[dict[str, Any]]]:
        """All scores that are kept in the folder, by kind: "evaluation" of penult evaluate, "layers", "discard", ...

        A kind has as many entries as it was measured by protocols. Each entry is as it is kept: its numbers, mostly
        under "scores", and all that they were made by. NAME.json in the folder is the kind NAME.

        Raises:
            InputError: a file is damaged.
        """
        files = sorted(path for path in self.path.glob("[!.]*.json") if path.name not in _NO_SCORES)
        found = {path.stem: read_json(path, "file of scores") for path in files}
        return {kind: entries if isinstance(entries, list) else [entries] for kind, entries in found.items()}

    @property
    def pictures(self) -> dict[str, Path]:
        """The pictures in the folder and in the folders in it, by their names without the ending: "curves", ...

        What a training drew on the way is named by its folder too, as "grids/step-500". Snapshots, which are runs of
        their own, have their own.
        """
        from apps.figures import PICTURE_SUFFIXES  # the plotting library is slow to load

        found = (path for path in sorted(self.path.rglob("[!.]*")) if path.suffix.lower() in PICTURE_SUFFIXES)
        names = {path.relative_to(self.path).with_suffix(""): path for path in found if path.is_file()}
        return {name.as_posix(): path for name, path in names.items() if name.parts[0] not in ("snapshots", "state")}

    @property
    def snapshots(self) -> dict[int, Path]:
        """Folders of the snapshots of its training, by updates; `load_run` takes them too."""
        return {int(path.name.removeprefix("step-")): path for path in self._run.snapshots()}

    @cached_property
    def model(self) -> Any:
        """What it trained, on the CPU and in evaluation mode, read when it is first asked for.

        A classifier maps images (N, C, H, W) in [0, 1] to logits; a generator has `generate(labels)`. Of other kinds of
        runs it is the trained network as the run's method reads it.

        Raises:
            InputError: the run is not finished, its files are damaged, or it was made with code of your own, which a
                file never has run: name it by `load_run(path, allow="import:...")`.
        """
        from apps.models.named import open_run
        from apps.models.registry import kind_of

        run = open_run(self.path)
        return kind_of(run).read(run)

    def __repr__(self) -> str:
        return f"<run {self.path}: {self.verb}, {'finished' if self.finished else 'not finished'}>"


def load_run(path: str | Path, unfinished: bool = False, *, allow: str | None = None) -> LoadedRun:
    """A run by its folder: settings, metrics, scores, pictures, and the model.

    Args:
        path: of the folder of a run, of a snapshot, or of an export; or pretrained:NAME of penult ls pretrained.
        unfinished: whether a run that is not finished will do; it has no `result` and no `model`.
        allow: import:package.module:factory that the run was made with: the same text, which lets `model` call it.

    Raises:
        InputError: there is no run (the nearest is offered), it is not finished, damaged, another program's or of a
            newer penult.
    """
    from apps.models.named import open_run

    if not isinstance(path, str | Path):
        raise InputError(f"load_run of {shown(path)}: expected the path of a run's folder")
    if allow is not None:
        own_code.allow_in_python(allow)
    return LoadedRun(open_run(path, finished=not unfinished).folder)
