"""Robustness: searches by another package against closed forms, which classes are wrong, and what is counted."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from analysis import minimal_perturbation
from apps.classifiers.robustness import attacks, measuring
from apps.classifiers.robustness.attacks import attack
from apps.classifiers.robustness.measuring import Robustness
from apps.classifiers.robustness.results import scored, scores
from apps.classifiers.robustness.settings import RobustnessMeasuring
from apps.data.sources import load
from apps.scores.kind import Command
from apps.scores.known import found as left_by
from priors import zoo
from priors.files.tensors import read_tensors

ROBUST = ["analyse", "robustness", "--device", "cpu", "--threads", 1]
FEW = ["--images", 12, "--steps", 10]


@pytest.mark.parametrize(("method", "most"), [("pgd", 1.001), ("ddn", 1.03)])
def test_no_search_is_below_the_distance_to_a_plane_and_each_near_it(method, most):
    """|z_1 - z_0| / |w_1 - w_0|, inside the box."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval()
    nn.init.normal_(network[1].weight, std=3.0)
    images = 0.4 + 0.2 * torch.rand(20, 3, 4, 4)
    logits, weight = network(images).detach().double(), network[1].weight.detach().double()
    exact = (logits[:, 1] - logits[:, 0]).abs() / (weight[1] - weight[0]).norm()
    random = torch.get_rng_state()
    found, again = (attack(method, network, images, 1 - logits.argmax(1), 100, seed=3) for _ in range(2))
    assert torch.equal(random, torch.get_rng_state())
    assert bool(found.reached.all()) and torch.equal(found.images, again.images)
    ratio = found.norm / exact
    assert ratio.min() > 1 - 1e-5 and ratio.max() < most
    assert found.images.min() >= 0 and found.images.max() <= 1
    assert torch.equal(found.norm, (found.images.double() - images.double()).flatten(1).norm(dim=1))
    assert all(one.grad is None for one in network.parameters())


def test_means_and_errors_are_over_images_and_what_failed_is_left_out():
    nan = math.nan
    norm = torch.tensor([[1.0, 3.0], [0.0, 4.0], [5.0, nan], [nan, nan]]).double()
    already = torch.tensor([[False, False], [True, False], [False, False], [False, False]])
    found = Robustness(norm, torch.zeros(4, 2, dtype=torch.int64), already, torch.tensor([True, False, True, True]), 16)
    own = scores(found)
    assert own["L2"] == pytest.approx((2 + 2 + 5) / 3)
    assert own["L2 error"] == pytest.approx(np.std([2, 2, 5], ddof=1) / 3**0.5)
    assert own["RMS"] == pytest.approx(own["L2"] / 4) and own["RMS error"] == pytest.approx(own["L2 error"] / 4)
    assert own["L2 moved"] == pytest.approx((2 + 4 + 5) / 3)
    assert (own["pairs"], own["failed"], own["already"], own["accuracy"]) == (8, 3, 1, 0.75)
    assert own["L2 by rank"] == {"1": pytest.approx(2.0), "2": pytest.approx(3.5)}


def test_wrong_classes_are_the_most_probable_ones_and_norms_are_kept(penult, copied, monkeypatch):
    run = copied("classifier")
    said = penult(*ROBUST, run, *FEW, "--wrong", 3)
    assert said.status == 0, said.err
    network, test = zoo.load(run), load("digits", "test")
    images, labels = test.images[:12] / 255, test.labels[:12]
    probable = network(images).detach().argsort(1, descending=True).tolist()
    wrong = [[one for one in row if one != label][:3] for row, label in zip(probable, labels.tolist(), strict=True)]
    kept, _ = read_tensors(run / "robustness.safetensors")
    assert kept["target"].tolist() == wrong
    alone = minimal_perturbation(network, images[:1].repeat(3, 1, 1, 1), kept["target"][0], steps=10)
    torch.testing.assert_close(alone.norm, kept["norm"][0], rtol=1e-3, atol=1e-6)
    (entry,) = json.loads((run / "robustness.json").read_text())
    own = entry["scores"]
    assert own["L2"] == pytest.approx(float(kept["norm"].nanmean()), rel=1e-6)
    assert own["pairs"] == 36 and own["failed"] == int(kept["norm"].isnan().sum()) == 0
    assert own["accuracy"] == float((network(images).argmax(1) == labels).double().mean())
    config = RobustnessMeasuring(str(run), images=12, steps=10, wrong=3)
    assert scored(config, run) == own and scored(RobustnessMeasuring(str(run), images=12), run) is None
    command = ("analyse", "robustness", str(run), *map(str, FEW), "--wrong", "3")
    known = left_by(Command(command, run))
    assert known["L2"] == own["L2"] and known["RMS"] == own["RMS"]
    assert left_by(Command((*command, "--method", "ddn"), run)) is None
    assert f"{own['L2']:.4g}" in said.out and (run / "robustness.png").stat().st_size > 5000

    def never(*_):
        raise AssertionError("the parts are there already")

    monkeypatch.setattr(measuring, "attack", never)
    again = penult(*ROBUST, run, *FEW, "--wrong", 3)
    assert again.status == 0 and again.out == said.out
    assert len(json.loads((run / "robustness.json").read_text())) == 1
    # An image that has more classes than a batch has places is changed towards some at a time.
    monkeypatch.setattr(measuring, "attack", attack)
    monkeypatch.setattr(measuring, "_PAIRS", 2)
    assert penult(*ROBUST, run, "--steps", 10, "--wrong", 3, "--images", 2, "--out", "few").status == 0
    few, _ = read_tensors(Path("few/robustness.safetensors"))
    assert few["target"].tolist() == wrong[:2]
    torch.testing.assert_close(few["norm"], kept["norm"][:2], rtol=1e-3, atol=1e-6)


def test_what_is_given_already_takes_nothing_and_what_cannot_be_reached_is_counted(penult, copied):
    run = copied("classifier")
    network, test = zoo.load(run), load("digits", "test")
    with torch.no_grad():
        network.head.bias[3] = -1e5  # which no image within [0, 1] makes up for
    zoo.save(network, run)
    missed = int((network(test.images[:60] / 255).argmax(1) != test.labels[:60]).sum())
    three = int((test.labels[:60] == 3).sum())
    assert missed > 3 and three
    said = penult(*ROBUST, run, "--images", 60, "--steps", 10)
    assert said.status == 0, said.err
    kept, _ = read_tensors(run / "robustness.safetensors")
    assert kept["norm"].shape == (60, 9), "there are no more than nine wrong classes"
    assert int(kept["already"].sum()) == int((kept["norm"] == 0).sum()) == missed
    unreached = kept["norm"].isnan()
    assert bool(unreached[kept["target"] == 3].all()) and int((kept["target"] == 3).sum()) == 60 - three
    (entry,) = json.loads((run / "robustness.json").read_text())
    assert entry["scores"]["failed"] == int(unreached.sum()) >= 60 - three
    assert f"{int(unreached.sum())} pairs of 540 failed" in re.sub(r"\s+", " ", said.out)
    assert f"Without the {missed} pairs" in said.out
    penult(*ROBUST, run, "--images", 60, "--steps", 10, "--wrong", 1, "--from", "prediction")
    *_, entry = json.loads((run / "robustness.json").read_text())
    assert entry["scores"]["already"] == 0 and entry["from"] == "prediction"
    with torch.no_grad():  # one class for all images, whatever they are
        network.head.weight.zero_()
    zoo.save(network, run)
    fixed = penult(*ROBUST, run, "--images", 60, "--steps", 10, "--wrong", 2)
    assert fixed.status == 0 and "already" in fixed.out and "nan" not in fixed.out
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    zoo.save(network, run)
    dead = penult(*ROBUST, run, "--images", 5, "--steps", 10)
    assert dead.status == 2 and "no wrong class was reached of any image" in dead.err and dead.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", 9], "--steps 9: expected 10 or more"),
        (["--wrong", 0], "--wrong 0: expected 1 or more"),
        (["--images", 0], "--images 0: expected 1 or more"),
        (["--method", "pdg"], "did you mean|pgd"),
        (["--data", "wrong.npz"], "give --from prediction"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(penult, copied, tmp_path, words, said):
    np.savez(
        tmp_path / "wrong.npz",
        x_train=np.zeros((4, 8, 8), np.uint8),
        y_train=np.arange(4) % 2,
        x_test=np.zeros((4, 8, 8), np.uint8),
        y_test=np.arange(4) % 2,
    )
    run = copied("classifier")
    refused = penult(*ROBUST, run, *words)
    assert refused.status == 2 and re.search(said, refused.err)
    assert not (run / "robustness.json").exists()


def test_without_foolbox_its_searches_are_refused(penult, trained, monkeypatch):
    monkeypatch.setattr(attacks, "find_spec", lambda name: None)
    refused = penult(*ROBUST, trained / "classifier", "--method", "ddn")
    assert refused.status == 2 and "pip install foolbox" in refused.err and refused.err.count("\n") == 1
