"""Runs on digits that are trained once a session."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

from apps.command.cli import main

sys.path.insert(0, str(Path(__file__).parent))  # toys and the like are no package

import unseen

from apps.training import curves

LATENT = 5
VARIANTS = ("hvae", "hvae-c", "hvae-l")


@pytest.fixture(scope="session", autouse=True)
def blank_curves():
    """No test but test_curves.py looks at a training's curves."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(curves, "save", unseen.leave_blank)
        yield


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
