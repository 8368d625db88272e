"""Fine-tuning and linear probing: what is frozen stays to the bit, whatever trains the rest, and goes on as it was."""

import json

import pytest
import torch

from apps.classifiers.training import training_of
from apps.models.named import open_run
from priors import zoo
from priors.files.tensors import read_tensors

SHARED = ["--data", "digits", "--train-images", 40, "--batch-size", 20, "--device", "cpu", "--threads", 1]
TRAIN = ["train", "classifier", *SHARED, "--arch", "wrn-16-1", "--epochs", 2, "--validate-every", 9]
DISTIL = ["distill", "ce+attention", *SHARED, "--student", "wrn-16-1", "--teacher", "base", "--epochs", 2]
FROZEN = {"body": lambda name: name.startswith(("body.", "projection.")), "group1": lambda name: ".group1." in name}


@pytest.fixture(scope="module")
def base(machine, tmp_path_factory):
    """A short run of ten classes, and its weights."""
    folder = tmp_path_factory.mktemp("base")
    words = [*TRAIN, "--runs", folder, "--name", "base", "--lr", 0.01]
    answer = machine(words, folder=folder)
    assert answer["status"] == 0, answer["errors"]
    return folder / "base"


def weights(run, file="model"):
    return read_tensors(run / f"{file}.safetensors")[0]


def told(penult, *words):
    said = penult(*words)
    assert said.status == 0, said.err
    return said.out


@pytest.mark.parametrize(
    ("verb", "part", "more"),
    [
        (TRAIN, "body", ("--weight-decay", 0.1, "--ema", 0.9, "--snapshots", 2, "--clip", 1)),
        (TRAIN, "group1", ("--weight-decay", 0.1, "--optimizer", "adamw", "--precision", "bf16", "--ema", 0.5)),
        (TRAIN, "group1", ("--regularise", "bias-jacobian:0.1", "dropout:0.2@body.group1", "--sync-batchnorm")),
        (DISTIL, "group1", ("--weight-decay", 0.1, "--sync-batchnorm")),
    ],
)
def test_what_is_frozen_stays_to_the_bit(penult, tmp_path, base, verb, part, more):
    """Weights and running statistics; the rest is trained, and its batch norms follow it."""
    words = [str(base) if word == "base" else word for word in verb]
    said = told(penult, *words, *more, "--init", base, "--freeze", part, "--name", "a")
    before, after = weights(base), weights(tmp_path / "runs/a")
    assert f"--freeze {part}: " in said and "weights are taken, all there are." in said
    same = {name for name in before if torch.equal(before[name], after[name])}
    frozen = {name for name in before if FROZEN[part](name)}
    assert frozen <= same and {"head.weight", "head.bias"}.isdisjoint(same)
    others = set(before) - frozen - {"mean", "std", "head.weight", "head.bias"}
    if part == "group1":
        # One bias before a batch norm could stay, and nothing else.
        assert {name for name in others if "running" in name}.isdisjoint(same)
        assert {"body.group2.0.conv1.weight", "body.stem.weight"} & others - same == {"body.group2.0.conv1.weight"}
    for kept in (tmp_path / "runs/a").glob("snapshots/*"):
        assert all(torch.equal(weights(kept)[name], before[name]) for name in frozen)
        assert not torch.equal(weights(kept)["head.weight"], before["head.weight"])
    assert zoo.load(tmp_path / "runs/a").provenance["initial weights"] == str(base)


def test_a_linear_probe_is_logistic_regression_on_what_the_network_gives(penult, tmp_path, base):
    """Two updates of SGD by hand, on activations of evaluation mode, with a learning rate of the final layer's own."""
    rate, words = 0.5, ["--optimizer", "momentum", "--lr", 0.01, "--schedule", "constant", "--batch-size", 40]
    told(penult, *TRAIN, *words, "--init", base, "--freeze", "body", "--head-lr", rate, "--name", "a")
    from apps.data.image_set import balanced_subset
    from apps.data.sources import load

    images, network = balanced_subset(load("digits"), 40, 0), zoo.load(base)
    with torch.no_grad():
        a, y = network.penultimate(images.images / 255).double(), images.labels
    w, b = (network.head.weight.detach().double(), network.head.bias.detach().double())
    moving = [torch.zeros_like(w), torch.zeros_like(b)]
    for _ in range(2):
        wrong = (a @ w.T + b).softmax(1) - torch.nn.functional.one_hot(y, 10)
        moving = [0.9 * m + g for m, g in zip(moving, (wrong.T @ a / 40, wrong.mean(0)), strict=True)]
        w, b = w - rate * moving[0], b - rate * moving[1]
    found = weights(tmp_path / "runs/a")
    torch.testing.assert_close(found["head.weight"].double(), w, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["head.bias"].double(), b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("verb", [TRAIN, DISTIL])
def test_schedules_scale_both_rates(penult, tmp_path, base, verb):
    """After one update the final layer has gone ten times as far, and the others as far as ever."""
    words = [str(base) if word == "base" else word for word in verb]
    words += ["--optimizer", "momentum", "--lr", 0.01, "--batch-size", 40, "--epochs", 1, "--warmup", 0.9]
    for name, more in (("usual", ()), ("own", ("--head-lr", 0.1))):
        told(penult, *words, "--init", base, *more, "--name", name)
    before, usual, own = weights(base), weights(tmp_path / "runs/usual"), weights(tmp_path / "runs/own")
    for name in before:
        if name.startswith("head."):
            gone = usual[name] - before[name]
            torch.testing.assert_close(own[name] - before[name], 10 * gone, rtol=1e-3, atol=1e-6)
            assert gone.abs().max() > 0
        else:
            assert torch.equal(own[name], usual[name]), name


def left_behind(run):
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*.safetensors"))}


def test_interrupted_it_ends_the_same(machine, tmp_path, base):
    words = [*TRAIN, "--init", base, "--freeze", "group1", "--head-lr", 0.01, "--ema", 0.9, "--weight-decay", 0.01]
    words += ["--checkpoint-every", 1, "--snapshots", 3, "--name", "a"]
    assert machine([*words, "--runs", tmp_path / "whole"], folder=tmp_path)["status"] == 0
    broken = [*words, "--runs", tmp_path / "broken"]
    assert machine(broken, folder=tmp_path, at=3, act="SIGINT", only="step")["status"] == 130
    assert machine(broken, folder=tmp_path)["status"] == 0
    assert left_behind(tmp_path / "broken/a") == left_behind(tmp_path / "whole/a")


def test_two_processes_are_one(machine, tmp_path, base):
    """Frozen parameters are not waited for, and frozen batch norms hang on no batch."""
    words = [*TRAIN, "--init", base, "--freeze", "body", "--head-lr", 0.01, "--ema", 0.9]
    for processes in (1, 2):
        answer = machine([*words, "--name", str(processes)], processes=processes, folder=tmp_path)
        assert answer["status"] == 0, answer["errors"]
        assert answer["output"].count("--init") == 1
    one, two = (weights(tmp_path / f"runs/{name}") for name in (1, 2))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-6)
    part = [*TRAIN, "--init", base, "--freeze", "group1", "--name", "part"]
    answer = machine(part, processes=2, folder=tmp_path)
    assert answer["status"] == 0, answer["errors"]
    found, before = weights(tmp_path / "runs/part"), weights(base)
    assert all(torch.equal(found[name], before[name]) for name in before if ".group1." in name)


def test_a_plan_counts_what_is_trained(penult, base):
    said = " ".join(told(penult, *TRAIN, "--init", base, "--freeze", "body", "--plan").split())
    assert "weights: model 174,778 (650 trained);" in said


def test_other_classes_get_a_new_head_and_what_is_new_is_trained(penult, tmp_path, base):
    """Digits below 5 from a run of ten: the body is the run's, and a projection that it does not have is trained."""
    import numpy as np

    from apps.data.sources import load

    parts = {}
    for split in ("train", "test"):
        images = load("digits", split)
        few = images.labels < 5
        parts |= {f"x_{split}": images.images[few].squeeze(1).numpy(), f"y_{split}": images.labels[few].numpy()}
    np.savez(tmp_path / "five.npz", **parts)
    words = [*TRAIN, "--data", "five.npz", "--init", base, "--freeze", "body", "--penultimate", 7, "--name", "five"]
    words += ["--snapshots", 0]
    said = told(penult, *words)
    assert "174,128 of 174,623 weights are taken; new: projection.weight, projection.bias, head.weight, head.b" in said
    assert "--freeze body: 495 of 174,623 weights are trained; 13 batch norms" in said
    after, before = weights(tmp_path / "runs/five"), weights(base)
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("body."))
    assert after["head.weight"].shape == (5, 7)
    drawn = weights(tmp_path / "runs/five/snapshots/step-0")
    for name in ("projection.weight", "head.weight"):
        assert not torch.equal(after[name], drawn[name]), name


def test_the_initial_weights_are_part_of_what_a_run_is(penult, tmp_path, base):
    import shutil

    shutil.copytree(base, tmp_path / "mine")
    words = [*TRAIN, "--init", "mine", "--freeze", "body", "--head-lr", 0.1]
    said = told(penult, *words)
    run = tmp_path / "runs/digits-wrn-16-1-images40-from-mine-frozen-body-head-lr0.1-seed0"
    assert run.is_dir(), said
    kept = json.loads((run / "config.json").read_text())["config"]
    assert (kept["init"], kept["freeze"], kept["head_lr"]) == ("mine", "body", 0.1) and len(kept["init_digest"]) == 16
    settings = training_of(open_run(run)).tuning
    assert (settings.init, settings.freeze, settings.head_lr) == ("mine", "body", 0.1)
    again = told(penult, *words)
    assert "finished already" in again and "--init" not in again and "--freeze" not in again
    shutil.rmtree(tmp_path / "mine")
    told(penult, *TRAIN, "--epochs", 1, "--name", "other")
    shutil.copytree(tmp_path / "runs/other", tmp_path / "mine")
    refused = penult(*words)
    assert refused.status == 2 and refused.err.count("\n") == 1 and "init_digest: " in refused.err


def test_a_random_body_is_cautioned_against(penult, tmp_path):
    said = told(penult, *TRAIN, "--freeze", "body", "--name", "a")
    assert "--freeze body without --init: --arch wrn-16-1 has fresh weights, and what is frozen stays as it is" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*TRAIN, "--freeze", "gruop2"), "unknown module to freeze 'gruop2': did you mean 'group2'"),
        ((*TRAIN, "--freeze", "head"), "nothing of --arch wrn-16-1 is left to train"),
        ((*TRAIN, "--head-lr", 0), "--head-lr 0: expected a number above 0"),
        ((*TRAIN, "--head-lr", -1), "--head-lr -1: expected a number above 0"),
        ((*TRAIN, "--init", "nowhere"), "unknown run 'nowhere'"),
        ((*TRAIN, "--arch", "mlp", "--init", "BASE"), "fits --arch mlp by name and shape: it holds a wrn-16-1"),
        ((*TRAIN, "--init", "BASE", "--freeze", "body", "--regularise", "bias-decay:1"), "that layer is frozen"),
        ((*DISTIL, "--init", "BASE", "--freeze", "gruop2"), "unknown module to freeze 'gruop2'"),
        ((*DISTIL, "--student", "mlp", "--init", "BASE"), "fits --student mlp by name and shape"),
        (
            ("distill", "ce+ab", *DISTIL[2:], "--init", "BASE", "--freeze", "body"),
            "--freeze body: ab has a phase of its own",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(penult, tmp_path, base, words, said):
    refused = penult(*(str(base) if word in ("base", "BASE") else word for word in words))
    assert refused.status == 2 and said in refused.err and refused.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
