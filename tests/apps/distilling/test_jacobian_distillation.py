"""Distillation by slopes through the command: few images, the angle of Jacobians, one line of errors."""

import json
from math import acos, degrees

import pytest
import torch
from torch import nn

from apps.data.image_set import balanced_subset
from apps.data.sources import load
from apps.data.sweep import sweep
from apps.distilling.jacobian_angle import JacobianAngle, some_of
from priors import zoo

SHARED = ["--data", "digits", "--device", "cpu", "--threads", 1]
WORDS = ["--teacher", "runs/teacher", "--student", "convnet-half", *SHARED, "--lr", 0.01, "--batch-size", 20]
WORDS += ["--epochs", 2, "--train-images", 40]


@pytest.fixture
def distilled(penult, tmp_path):
    """A function that distils in an empty folder; `runs/teacher` is there already."""
    words = ["train", "classifier", *SHARED, "--arch", "convnet", "--epochs", 0.3, "--lr", 0.01, "--name", "teacher"]
    assert penult(*words).status == 0

    def distilled(*words):
        said = penult("distill", *words)
        assert said.status == 0, said.err
        return said.out

    return distilled


def metrics(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def angle_of(student: nn.Module, teacher: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """The mean of arc cosines, image by image."""
    found = []
    for image, label in zip(images, labels, strict=True):
        slopes = []
        for network in (student, teacher):
            x = image[None].clone().requires_grad_()
            network(x)[0, label].backward()
            slopes.append(x.grad.flatten().double())
        one, other = slopes
        found.append(degrees(acos(one @ other / (one.norm() * other.norm()))))
    return sum(found) / len(found)


def test_the_angle_is_that_of_both_networks_at_each_validation(distilled, tmp_path):
    said = distilled("ce+full-jacobian", *WORDS, "--name", "full")
    assert "Bias-Jacobians: body.norm1, body.norm3, body.norm4 of the student with body.norm1, body.norm3" in said
    logged = [
        line["validation/jacobian angle"]
        for line in metrics(tmp_path / "runs/full")
        if "validation/accuracy" in line or "validation/test accuracy" in line
    ]
    assert len(logged) == 2
    images = balanced_subset(load("digits"), 40, 0)
    networks = (zoo.load(tmp_path / f"runs/{name}").eval() for name in ("full", "teacher"))
    expected = angle_of(*networks, images.images.float() / 255, images.labels)
    assert logged[-1] == pytest.approx(expected, rel=1e-4) and 10 < expected < 120
    distilled("ce", *WORDS, "--jacobian-angle", "--name", "ce")
    assert all("validation/jacobian angle" in line for line in metrics(tmp_path / "runs/ce") if "images/s" not in line)


def test_layers_that_were_named_are_the_same_when_a_run_goes_on(distilled, penult):
    layers = ["--bias-jacobian.student-layers", "body.norm1", "--bias-jacobian.teacher-layers", "body.norm1"]
    words = ["ce+bias-jacobian", *WORDS, "--epochs", 1, "--name", "named"]
    distilled(*words, *layers)
    assert "is finished already" in distilled(*words, *layers)
    layers[-1] = "body.norm2"
    said = penult("distill", *words, *layers)
    assert said.status == 2 and "teacher_layers: ['body.norm1'] before, ['body.norm2'] now" in said.err


def test_the_few_images_are_those_of_a_seed_for_every_method(distilled, penult, tmp_path):
    def digest(name: str) -> str:
        return json.loads((tmp_path / f"runs/{name}/config.json").read_text())["config"]["data_digest"]

    short = ["--epochs", 1]
    distilled("ce+activation", *WORDS, *short)
    (named,) = [path.name for path in (tmp_path / "runs").iterdir() if "activation" in path.name]
    assert named.endswith("-images40-seed0")
    distilled("ce+attention", *WORDS, *short, "--attention.p", 1, "--name", "attention")
    distilled("ce+attention", *WORDS, *short, "--seed", 1, "--name", "other")
    words = ["train", "classifier", *SHARED, "--arch", "mlp", "--epochs", 1, "--batch-size", 20, "--train-images", 40]
    assert penult(*words, "--name", "few").status == 0
    assert digest(named) == digest("attention") == digest("few")
    assert digest("other") != digest("attention") != digest("teacher")
    steps = [line["step"] for line in metrics(tmp_path / "runs/attention")]
    assert max(steps) == 2  # an epoch is of the images that there are


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ce", "--jacobian-angle"], "--jacobian-angle compares the student with a teacher: give --teacher MODEL"),
        (["ce+jacobian"], "ce+jacobian looks at a teacher: give --teacher MODEL"),
        (["ce+hinton", "--teacher", "runs/teacher", "--train-images", 9], "9 of the 1437 images of digits"),
        (
            ["ce+bias-jacobian", "--teacher", "runs/teacher", "--bias-jacobian.student-layers", "body.norm7"],
            "the student: unknown module 'body.norm7': did you mean 'body.norm",
        ),
        (
            ["ce+bias-jacobian", "--teacher", "runs/teacher", "--bias-jacobian.student-layers", "body.norm1"],
            "bias-jacobian compares layers one by one, and of the student there are 1, of the teacher 3",
        ),
        (["ce+attention", "--teacher", "runs/teacher", "--attention.p", 3], "--attention.p 3: expected 1 or 2"),
        (
            ["ce+jacobian", "--teacher", "runs/teacher", "--jacobian.norms", "batch", "--sync-batchnorm"],
            "--sync-batchnorm: ce+jacobian derives the student's outputs",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(distilled, penult, words, said):
    found = penult("distill", *words, "--student", "convnet-half", *SHARED)
    assert found.status == 2 and found.err.count("\n") == 1 and said in found.err


def test_a_network_is_at_no_angle_to_itself_and_images_are_spread():
    torch.manual_seed(0)
    images = load("digits")
    network = zoo.build("convnet-half", classes=10, image_shape=images.image_shape, mean=0.5, std=0.3).eval()
    some = some_of(images)
    assert len(some) == 256 and some_of(some) is some
    assert JacobianAngle(network, some).of(network, sweep) < 0.01
