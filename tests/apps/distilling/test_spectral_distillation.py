"""The three terms that share one pair of reduced maps, on the command line: one set of connectors, saved once."""

import json

import pytest
import torch

from distill.reduced_maps import margin_of
from priors import zoo
from priors.files.tensors import digest_of, read_tensors

SHARED = ["--data", "digits", "--device", "cpu", "--threads", 1]


@pytest.mark.slow
def test_connectors_are_saved_once_and_the_teacher_stays_as_it_is(penult, tmp_path):
    words = ["train", "classifier", *SHARED, "--arch", "convnet", "--epochs", 0.1, "--name", "teacher"]
    assert penult(*words).status == 0
    runs = tmp_path / "runs"
    before = digest_of(read_tensors(runs / "teacher/model.safetensors", "weights")[0])
    words = ["distill", "ce+overhaul+spectral-l1+cross-power", *SHARED, "--teacher", "runs/teacher", "--student"]
    words += ["convnet-half", "--teacher-norms", "batch", "--epochs", 0.1, "--log-every", 1, "--name", "ours"]
    said = penult(*words)
    assert said.status == 0, said.err
    lines = [json.loads(line) for line in (runs / "ours/metrics.jsonl").read_text().splitlines()]
    for name in ("overhaul", "spectral-l1", "cross-power"):
        found = [line[f"train/{name}"] for line in lines if f"train/{name}" in line]
        assert found and all(0 < value < float("inf") for value in found)
    assert {"shared-reduced-maps.safetensors"} == {path.name for path in (runs / "ours").glob("shared*.safetensors")}
    maps = read_tensors(runs / "ours/shared-reduced-maps.safetensors", "weights")[0]
    teacher = zoo.load(runs / "teacher")
    norms = [module for module in teacher.body if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == len(teacher.stages) == 4
    for number, norm in enumerate(norms):
        torch.testing.assert_close(maps[f"margin{number}"], margin_of(norm).float())
    assert digest_of(read_tensors(runs / "teacher/model.safetensors", "weights")[0]) == before
