"""Compiled trainings are eager ones in weights, names and states; what cannot be compiled goes on with a line."""

import json
import re
import shutil
import sys
from importlib import util
from pathlib import Path

import pytest
import torch
import toys
from torch import nn

from apps.training.compiling import blocks, check_compiler
from priors.errors import InputError

sys.path.append(str(Path(__file__).parents[2] / "fake_device"))  # where all trainings are listed

import trainings

PROGRAM = Path(__file__).with_name("compiled.py")


class Block(nn.Module):
    def __init__(self, inner=None):
        super().__init__()
        self.layer, self.inner = nn.Linear(2, 2), inner


def test_blocks_are_the_outermost_modules_of_a_kind_that_stands_several_times():
    one, other = Block(), Block(Block())
    assert blocks(nn.Sequential(nn.Linear(2, 2), one, nn.ModuleList([other]), nn.Linear(2, 2))) == [one, other]
    alone = nn.Sequential(nn.Linear(2, 2), one, nn.Linear(2, 2))
    assert blocks(alone) == [alone]


@pytest.mark.parametrize(
    ("device", "missing", "said"),
    [
        ("cpu", "compiler", "no C++ compiler nothing-of-the-kind here"),
        ("cuda", "compiler", "no C compiler, such as gcc here"),
        ("cuda", "triton", "pip install triton"),
    ],
)
def test_without_a_compiler_a_line_says_so(monkeypatch, device, missing, said):
    monkeypatch.setenv("CXX", "nothing-of-the-kind")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None if missing == "compiler" or device == "cpu" else name)
    found = None if missing == "triton" else util.find_spec("torch")
    monkeypatch.setattr("apps.training.compiling.find_spec", lambda name: found)
    with pytest.raises(InputError, match=f"^--compile: .*{said.replace('+', '[+]')}.* leave --compile out$"):
        check_compiler(torch.device(device))


def test_without_a_compiler_nothing_is_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CXX", "nothing-of-the-kind")
    words = ("train", "toy", "--compile", "--device", "cpu", "--runs", tmp_path / "runs")
    assert toys.penult(*words) == 2 and "no C++ compiler" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def compared(machine, folder: Path, backend: str, *words, **job) -> dict:
    job = {"folder": str(folder)} | job
    ran = machine([folder, backend, *words, "--threads", 1], program=PROGRAM, **job)
    assert ran["status"] == 0, ran["errors"][-3000:]
    return json.loads(next(line for line in ran["output"].splitlines() if line.startswith("{")))  # the first process's


def test_a_compiled_training_is_the_eager_one_and_each_goes_on_as_the_other(machine, tmp_path):
    """Turns, phases, dropout, batch norm, an average; the critic's forward pass cannot be compiled as one graph."""
    words = ("train", "toy", "--kind", "branching", "--epochs", 3, "--batch-size", 12, "--ema", 0.9)
    found = compared(machine, tmp_path, "eager", *words, "--checkpoint-every", 5, "--clip", 1)
    assert found.pop("left compiled") == 0
    for name, one in found.items():
        assert one["names"] and one["weights"] == one["losses"] == 0, name
    reason, first = found["compiled"]["said"]
    assert reason.startswith("--compile: Critic is not compiled and goes on as it is: ")
    assert first.startswith("--compile: 1 part compiled; the first step took ")
    assert found["from"]["said"] == [] and len(found["to"]["said"]) == 2


@pytest.mark.slow
def test_processes_train_compiled_as_they_do_eagerly(machine, tmp_path):
    words = ("train", "toy", "--kind", "branching", "--epochs", 3, "--batch-size", 12, "--checkpoint-every", 5)
    found = compared(machine, tmp_path, "eager", *words, processes=2)["compiled"]
    assert found["names"] and found["weights"] == found["losses"] == 0
    assert "1 part compiled" in found["said"][-1]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return trainings.Given(tmp_path_factory.mktemp("given"))


FEW = {"classifier wrn-16-1", "hvae-l of 8", "sngan vmf", "distill attention", "invert colour none,penultimate"}
"""One of each kind, by the compiler that makes code; the others by one that only takes them apart, which is quicker."""


@pytest.mark.slow
@pytest.mark.parametrize("training", [pytest.param(one, id=one.name) for one in trainings.trainings()])
def test_every_training_compiled_is_the_eager_one(machine, tmp_path, given, training):
    """To rounding: after the first step, and less closely after two more, which tell of its gradients."""
    short = ("--steps", 3) if training.name.startswith("sngan") else ("--epochs", 0.34)
    words = training.words(given, *short, "--lr", 1e-4)
    found = compared(machine, tmp_path, "inductor" if training.name in FEW else "aot_eager", *words, seconds=1200)
    assert found["compiled"]["names"], "weights and losses are called alike"
    assert found["compiled"]["first losses"] < 1e-5 and found["compiled"]["losses"] < 1e-3
    assert re.search(r"[1-9][0-9]* parts? compiled", found["compiled"]["said"][-1])
