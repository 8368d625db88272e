"""A distillation on two processes over gloo is the one that a single process does."""

import json

import pytest
import torch

from priors.files.tensors import read_tensors

SHARED = ["--data", "digits", "--device", "cpu", "--threads", "1"]
TERMS = "ce+ckd+hinton+crd+rkd+dist+dkd+nd"


def test_two_processes_are_one(machine, tmp_path):
    train = ["train", "classifier", *SHARED, "--epochs", "1", "--name", "teacher"]
    words = ["distill", TERMS, "--teacher", "runs/teacher", "--student", "mlp", *SHARED, "--lr", "0.003"]
    words += ["--batch-size", "32", "--epochs", "0.2", "--crd.negatives", "64", "--log-every", "1"]
    words += ["--shift", "photometric:0.3", "--name"]
    for command, processes in ((train, 1), ([*words, "two"], 2), ([*words, "one"], 1)):
        finished = machine(command, processes=processes, folder=tmp_path)
        assert finished["status"] == 0, finished["errors"]
    for name in ("model", "crd"):
        first, second = (read_tensors(tmp_path / f"runs/{run}/{name}.safetensors", "w")[0] for run in ("one", "two"))
        for key in first:
            torch.testing.assert_close(second[key], first[key], rtol=1e-3, atol=1e-5)
    logs = [
        [json.loads(line) for line in (tmp_path / f"runs/{run}/metrics.jsonl").read_text().splitlines()]
        for run in ("one", "two")
    ]
    assert len(logs[0]) > 8
    for single, double in zip(*logs, strict=True):
        for name in single.keys() - {"images/s"}:
            assert double[name] == pytest.approx(single[name], rel=1e-3, abs=1e-5), (name, single["step"])


def test_phases_of_their_own_go_through_several_processes(machine, tmp_path):
    """What a phase leaves without a gradient, such as a paraphraser after its own, is not waited for."""
    train = ["train", "classifier", *SHARED, "--arch", "convnet", "--epochs", "0.1"]
    words = ["distill", "ce+ft+ab", "--teacher", "runs/teacher", "--student", "convnet-half", *SHARED]
    words += ["--lr", "0.001", "--epochs", "0.1", "--pretraining", "0.05", "--log-every", "1", "--name", "two"]
    for command, processes in (([*train, "--name", "teacher"], 1), (words, 2)):
        finished = machine(command, processes=processes, folder=tmp_path)
        assert finished["status"] == 0, finished["errors"]
    entries = [json.loads(line) for line in (tmp_path / "runs/two/metrics.jsonl").read_text().splitlines()]
    seen = [sorted(name for name in entry if name.startswith("train/")) for entry in entries if "images/s" in entry]
    assert seen[0] == ["train/ft"] and seen[1] == ["train/ab"] and seen[-1] == ["train/ce", "train/ft"]
