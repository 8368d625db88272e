"""Small finished and stopped runs of every kind, and what is made of them: what the attacks damage, read and kill.

They are the runs that `tests/apps/runs/formats/make_runs.py` trains, in seconds. A scene is a folder that commands are
given in: `done` holds the finished ones; `stopped-KIND` one that was interrupted, with what its command needs.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import unseen
from PIL import Image

from apps import figures

_spec = importlib.util.spec_from_file_location(
    "make_runs", Path(__file__).parents[1] / "apps/runs/formats/make_runs.py"
)
make_runs = importlib.util.module_from_spec(_spec)
sys.modules["make_runs"] = make_runs  # its dataclass looks itself up there
_spec.loader.exec_module(make_runs)

PLACE, SHARED = make_runs.PLACE, make_runs.SHARED
TRAIN = {name: kind.train for name, kind in make_runs.KINDS.items()}
SCORE = {name: kind.score for name, kind in make_runs.KINDS.items() if kind.score}
CACHED = (
    "distill ce+hinton --teacher runs/classifier --student convnet-half --penultimate 4 --epochs 2 "
    f"--cache-logits logits --name cached {SHARED}"
)
FIXED = ("images.npz", "image.png", "prior.safetensors")


def make(folder: Path, kinds: Sequence[str] = tuple(TRAIN)) -> Path:
    """Train everything; the folder then holds the scenes."""
    done = folder / "done"
    done.mkdir(parents=True)
    before, save = Path.cwd(), figures.save
    figures.save = unseen.leave_blank
    os.chdir(done)
    try:
        np.savez_compressed("images.npz", **(arrays := make_runs._images()))
        Image.fromarray(arrays["x_test"][0]).save("image.png")
        for name in kinds:
            _make_one(name, folder)
        if "student" in kinds:
            _done(CACHED)
    finally:
        os.chdir(before)
        figures.save = save
    return folder


def _make_one(name: str, folder: Path) -> None:
    kind = make_runs.KINDS[name]
    stopped = make_runs.interrupted(kind.train, kind.stop)
    assert stopped == 130, f"{name} was not interrupted: {stopped}"
    scene = folder / f"stopped-{name}"
    for run in (kind.runs[0], *kind.needs):
        shutil.copytree(Path("runs") / run, scene / "runs" / run)
    _done(kind.train)
    if name == "classifier":
        _done("prior runs/classifier --concentration 20 --out prior.safetensors")
    for file in FIXED:
        shutil.copy(file, scene)
    if kind.score:
        _done(kind.score)
    if name != "inversion":
        _done(f"export runs/{name} exported-{name}")
    if kind.draw and name != "inversion":
        _done(kind.draw)
        Path("samples.npz").rename(f"drawn-{name}.npz")


def _done(command: str) -> None:
    assert make_runs.penult(command) == 0, command
