"""Batch norm over all processes is that of one process with all images."""

import json

import pytest
import torch
from torch import nn

from apps.training.batch_norm import synchronised
from priors import zoo
from priors.errors import InputError
from priors.files.tensors import read_tensors

CPU = torch.device("cpu")


def network():
    """Convolutions and a row, one of both with a plain average of all batches."""
    torch.manual_seed(0)
    rows = nn.Flatten(), nn.BatchNorm1d(48, momentum=None)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), *rows)


def test_one_process_has_torch_s_own_batch_norm():
    """Outputs, gradients, running statistics; the same names, and nothing else when it is used."""
    plain, ours = network(), synchronised(network(), "a network", CPU)
    assert list(ours.state_dict()) == list(plain.state_dict())
    for _ in range(3):
        images, weights = torch.randn(5, 2, 6, 6), torch.randn(5, 48)
        found = [(one(images) * weights).sum() for one in (plain, ours)]
        torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)
        theirs, own = (
            torch.autograd.grad(sum, one.parameters()) for sum, one in zip(found, (plain, ours), strict=True)
        )
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-4)
        for name, value in plain.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.eval()(images), plain.eval()(images), rtol=1e-5, atol=1e-5)


def test_a_network_without_batch_norm_is_refused():
    with pytest.raises(InputError, match="--arch mlp has no batch norm; leave it out"):
        synchronised(zoo.build("mlp", classes=3, image_shape=(1, 8, 8)), "--arch mlp", CPU)


def test_bfloat16_stays_bfloat16():
    network = synchronised(nn.Sequential(nn.BatchNorm1d(3)), "a network", CPU)
    assert network(torch.randn(4, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


CLASSIFIER = [
    *["train", "classifier", "--arch", "convnet", "--device", "cpu", "--threads", "1", "--batch-size", "24"],
    *["--epochs", "0.1", "--train-images", "120", "--lr", "0.05", "--optimizer", "sgd", "--augment", "none"],
    *["--log-every", "4", "--sync-batchnorm"],
]  # fmt: skip


@pytest.mark.parametrize(
    ("processes", "accumulate"), [(2, 1), pytest.param(3, 2, marks=pytest.mark.slow)], ids=["two", "three"]
)
def test_processes_train_as_one_with_the_whole_batch(machine, penult, tmp_path, processes, accumulate):
    """Also running statistics. Parts that are taken one after the other are batches of their own, as without it."""
    words = [*CLASSIFIER, "--accumulate", accumulate, "--name"]
    ran = machine([*words, "several", "--runs", tmp_path], processes=processes)
    assert ran["status"] == 0, ran["errors"]
    assert penult(*words, "one", "--runs", tmp_path).status == 0
    several, one = (read_tensors(tmp_path / name / "model.safetensors")[0] for name in ("several", "one"))
    assert several.keys() == one.keys() and any(name.endswith("running_var") for name in one)
    fresh = zoo.build("convnet", classes=10, image_shape=(1, 8, 8)).state_dict()
    for name, value in one.items():
        torch.testing.assert_close(several[name], value, rtol=2e-4, atol=2e-4, msg=name)
    assert not torch.allclose(one["head.weight"], fresh["head.weight"], atol=1e-2)
    kept = json.loads((tmp_path / "several/config.json").read_text())
    assert kept["config"]["sync_batchnorm"] is True and kept["environment"]["processes"] == processes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train classifier --arch mlp", "--arch mlp has no batch norm; leave it out"),
        ("distill ce --student mlp", "--student mlp has no batch norm; leave it out"),
    ],
)
def test_what_has_none_is_refused_before_there_is_a_folder(penult, tmp_path, words, said):
    ran = penult(*words.split(), "--device", "cpu", "--sync-batchnorm", "--runs", tmp_path / "runs")
    assert (ran.status, ran.out) == (2, "") and ran.err == f"penult: --sync-batchnorm: {said}\n"
    assert not (tmp_path / "runs").exists()
