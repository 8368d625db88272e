"""An SNGAN on two processes over gloo is the one that a single process trains in two parts."""

import json

import pytest
import torch

from priors.files.tensors import read_tensors

WORDS = [
    *["train", "sngan", "--data", "digits", "--device", "cpu", "--threads", "1", "--generator-width", "4"],
    *["--discriminator-width", "4", "--batch-size", "16", "--steps", "4", "--score-every", "4", "--log-every", "1"],
    *["--augment", "translation", "--r1", "1", "--r1-every", "2", "--labels", "uniform", "--ema", ".5"],
]

# Without batch norm and power iterations, which see a process's own images: everything else must agree.
PROGRAM = """
import atexit, json, os, sys
import torch
from torch import nn
import apps.generators.residual as residual, apps.generators.sngan as sngan
from apps.generators.latents import Gaussian

class Unnormalised(nn.Module):
    def __init__(self, features, *_):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(features))

    def forward(self, x, labels):
        return x * self.gain[:, None, None]

residual.ConditionalBatchNorm = sngan.ConditionalBatchNorm = sngan.PlainBatchNorm = Unnormalised
sngan.spectral_norm = lambda module: module
drawn, rank = [], int(os.environ.get("RANK", 0))
sample = Gaussian.sample

def keep(self, labels, generator=None, concentration=None):
    z = sample(self, labels, generator, concentration)
    drawn.append(z[0, :3].tolist())
    return z

Gaussian.sample = keep
# Registered before the command's own, and so run after it.
@atexit.register
def keep_found():
    left = not torch.distributed.is_initialized()
    json.dump({"left": left, **found}, open(f"{sys.argv[2]}-{rank}.json", "w"))

from apps.command.cli import main
status = main(json.loads(sys.argv[1]))
world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
found = {"status": status, "world": world, "drawn": drawn}
"""


def test_two_processes_are_one_with_noise_of_their_own(machine, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    for name, processes, how in (("two", 2, []), ("one", 1, ["--accumulate", "2"])):
        words = json.dumps([*WORDS, *how, "--name", name])
        finished = machine([words, name], program=tmp_path / "program.py", processes=processes, folder=tmp_path)
        assert finished["status"] == 0, finished["errors"]
    found = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one-0", "two-0", "two-1")]
    assert [(process["world"], process["status"]) for process in found] == [(1, 0), (2, 0), (2, 0)]
    assert all(process["left"] for process in found)  # a backend's threads must not outlive the interpreter
    for network in ("model", "discriminator"):
        one, two = (read_tensors(tmp_path / f"runs/{run}/{network}.safetensors", "w")[0] for run in ("one", "two"))
        for key in one:
            torch.testing.assert_close(two[key], one[key], atol=1e-5, rtol=1e-4)
    logs = [
        [json.loads(line) for line in (tmp_path / f"runs/{run}/metrics.jsonl").read_text().splitlines()]
        for run in ("one", "two")
    ]
    for single, double in zip(*logs, strict=True):
        assert single.keys() == double.keys()
        for name in single.keys() - {"images/s"}:
            assert double[name] == pytest.approx(single[name], abs=1e-5), (name, single["step"])
    drawn = [process["drawn"] for process in found[1:]]
    first, second = ({tuple(z) for z in own} for own in drawn)
    assert len(first) == len(drawn[0]) and not first & second
    assert sorted(path.name for path in (tmp_path / "runs/two/grids").iterdir()) == ["step-0000004.png"]
