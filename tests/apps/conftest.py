"""A command line that is called in this process, and runs on digits that are trained once a session."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from apps.command.cli import main

sys.path.insert(0, str(Path(__file__).parent))  # toys and the like are no package

import unseen
from forking import Machine

from apps import figures

LATENT = 5
VARIANTS = ("hvae", "hvae-c", "hvae-l")


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def blank_curves():
    """No test but test_curves.py looks at a training's curves."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(figures, "save", unseen.leave_blank)
        yield


@pytest.fixture
def penult(capsys, monkeypatch, tmp_path):
    """`penult(*words)` in an empty current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENULT_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "path", list(sys.path))  # the current folder is put there for a MODEL of one's own

    def call(*words: object) -> Said:
        capsys.readouterr()
        status = main([str(word) for word in words])
        return Said(status, *capsys.readouterr())

    known = set(sys.modules)
    yield call
    for name in set(sys.modules) - known:  # another test may have a module of the same name
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def machine():
    """`machine(arguments, processes=2)`: a command line in processes of its own; see forking.py."""
    machine = Machine()
    yield machine
    machine.close()


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """Finished runs: `classifier`, `hvae`, `hvae-c` and `hvae-l`. Not to be changed: copy what you break."""
    runs = tmp_path_factory.mktemp("trained") / "runs"
    before = os.getcwd()
    os.chdir(runs.parent)
    try:
        shared = ["--data", "digits", "--device", "cpu", "--threads", "1", "--runs", str(runs)]
        words = [
            "--arch",
            "mlp",
            "--penultimate",
            str(LATENT + 1),
            "--epochs",
            "3",
            "--lr",
            "3e-3",
            "--name",
            "classifier",
        ]
        assert main(["train", "classifier", *shared, *words]) == 0
        for variant in VARIANTS:
            words = ["--variant", variant, "--latent-dim", str(LATENT), "--epochs", "1", "--kl-warmup", "0"]
            if variant == "hvae-l":
                words += ["--classifier", str(runs / "classifier"), "--concentration", "20"]
            assert main(["train", "hvae", *shared, *words, "--name", variant]) == 0
    finally:
        os.chdir(before)
        torch.set_num_threads(1)
    return runs


@pytest.fixture
def copied(trained, tmp_path):
    """`copied("hvae-l")`: a copy of that run, to break or to write into."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(trained / name, tmp_path / "runs" / name))

    return copy
