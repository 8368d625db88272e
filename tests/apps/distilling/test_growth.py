"""Terms that share a learnt map, take derivatives and read a batch norm, through the one loop: no edit but their files.

The student has no batch norm, so that two processes can be one; the teacher has.
"""

from pathlib import Path

import grown_terms
import plain_loop
import pytest
import torch
from grown_terms import grown_terms as grown
from safetensors.torch import load_file

from apps.distilling.distillation import Distillation
from priors.files.tensors import read_tensors

SHARED = ["--data", "digits", "--device", "cpu", "--threads", 1]
WORDS = ["distill", "ce+directions+means+slopes+crd", "--teacher", "runs/teacher", "--student", "mlp", *SHARED]
WORDS += ["--lr", 0.003, "--batch-size", 32, "--epochs", 0.2, "--crd.negatives", 64, "--slopes.layer", "body.relu1"]
NETWORKS = ("model", "crd", "shared-reduced-3")


@pytest.fixture
def distilled(penult, tmp_path):
    """A function that distils in this process; `runs/one` is there already."""
    words = ["train", "classifier", *SHARED, "--arch", "convnet", "--epochs", 0.1, "--name", "teacher"]
    assert penult(*words).status == 0
    with grown():
        said = penult(*WORDS, "--name", "one")
        assert said.status == 0, said.err
        yield lambda *words: penult(*WORDS, *words)


def weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {name: read_tensors(folder / f"{name}.safetensors", "weights")[0] for name in NETWORKS}


def test_they_are_trained_and_saved_and_go_on_to_the_bit(distilled, tmp_path, monkeypatch):
    losses = Distillation.losses

    def dying(task, turn, batch, step):
        if step == 5:
            raise ZeroDivisionError
        return losses(task, turn, batch, step)

    with monkeypatch.context() as patched:
        patched.setattr(Distillation, "losses", dying)
        with pytest.raises(ZeroDivisionError):
            distilled("--name", "died", "--checkpoint-every", 2)
    assert (tmp_path / "runs/died/state/step-4/network-shared-reduced-3.safetensors").is_file()
    assert distilled("--name", "died", "--checkpoint-every", 2).status == 0
    whole, resumed = (weights(tmp_path / f"runs/{name}") for name in ("one", "died"))
    assert all(torch.equal(whole[name][key], resumed[name][key]) for name in NETWORKS for key in whole[name])


def test_two_processes_are_one(distilled, machine, tmp_path):
    words = [*WORDS, "--name", "two"]
    finished = machine(words, program=grown_terms.__file__, processes=2, folder=tmp_path)
    assert finished["status"] == 0, finished["errors"]
    one, two = (weights(tmp_path / f"runs/{name}") for name in ("one", "two"))
    for name in NETWORKS:
        for key in one[name]:
            torch.testing.assert_close(two[name][key], one[name][key], rtol=1e-3, atol=1e-5)


def test_two_processes_are_one_in_a_loop_of_ones_own_too(machine, tmp_path):
    finished = machine([tmp_path / "two.safetensors"], program=plain_loop.__file__, processes=2)
    assert finished["status"] == 0, finished["errors"]
    with grown():
        student, objective, _, step = plain_loop.training(plain_loop.terms())
    for number in range(plain_loop.STEPS):
        step(number)
    one, two = plain_loop.state(student, objective), load_file(tmp_path / "two.safetensors")
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=1e-4, atol=1e-6, msg=lambda said, key=key: f"{key}: {said}")
