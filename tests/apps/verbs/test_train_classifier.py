"""What train classifier takes of a data set and tells an architecture, and what is kept of that."""

import json
import re

import pytest
import torch
from torch import nn

from apps.classifiers.training import training_of
from apps.data.image_set import balanced_subset, channel_statistics, split_validation
from apps.data.sources import load
from apps.models.named import open_run
from priors import zoo

TRAIN = ["train", "classifier", "--epochs", 1, "--device", "cpu", "--threads", 1]


def kept(run):
    return json.loads((run / "config.json").read_text())["config"]


def test_few_images_are_a_balanced_part_of_what_is_not_held_out(penult, tmp_path):
    said = penult(*TRAIN, "--train-images", 30, "--validation", 200, "--batch-size", 10, "--seed", 2)
    assert said.status == 0, said.err
    run = tmp_path / "runs/digits-mlp-images30-seed2"
    result = json.loads((run / "result.json").read_text())
    assert result["steps"] == 3 and result["epochs"] == 1 and result["test/images"] == 360
    assert "accuracy" in result["best"], "the held-out images choose the checkpoint, as they do with all images"
    part = balanced_subset(split_validation(load("digits"), 200, 2)[0], 30, 2)
    assert kept(run)["train_images"] == 30 and kept(run)["data_digest"] == part.digest
    assert part.labels.bincount().tolist() == [3] * 10
    network = zoo.load(run)
    assert torch.equal(network.mean, torch.tensor(channel_statistics(part)[0])), "the others are not looked at at all"
    assert training_of(open_run(run)).train_images == 30


def test_few_images_are_learnt_by_heart(penult, tmp_path):
    """100 images, 200 updates: every one is found, and of new ones many are not. That is what the option is for."""
    words = ["--train-images", 100, "--epochs", 100, "--batch-size", 50, "--validate-every", 100, "--lr", 3e-3]
    assert penult(*TRAIN, *words, "--name", "few").status == 0
    network, part = zoo.load(tmp_path / "runs/few"), balanced_subset(load("digits"), 100, 0)
    with torch.no_grad():
        assert (network(part.images / 255).argmax(1) == part.labels).all()
    assert json.loads((tmp_path / "runs/few/result.json").read_text())["test/accuracy"] < 0.95


def test_a_run_of_all_images_is_resumed_as_before(penult, tmp_path):
    """Runs that were made before there were such options have none of them in their configuration."""
    assert penult(*TRAIN, "--name", "a").status == 0
    path = tmp_path / "runs/a/config.json"
    stored = json.loads(path.read_text())
    assert stored["config"].pop("train_images") is None and stored["config"].pop("dropout") is None
    path.write_text(json.dumps(stored))
    assert "finished already" in penult(*TRAIN, "--name", "a").out
    for words, said in (
        (["--train-images", 50], "train_images: not set before, 50 now"),
        (["--dropout", 0], "dropout"),
    ):
        refused = penult(*TRAIN, "--name", "a", *words)
        assert refused.status == 2 and said in refused.err and refused.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--train-images", 9], "9 of the 1437 images of digits"),
        (["--train-images", 1238, "--validation", 200], "1238 of the 1237 images .* from 10 to 1237"),
        (["--dropout", 0.5], "--dropout 0.5: mlp has no dropout; leave --dropout out"),
        (["--dropout", 0.5, "--arch", "mpl"], "did you mean 'mlp'"),
        (["--dropout", 1, "--arch", "lenet-fc"], "--dropout 1: expected 0 or more, below 1"),
        (["--arch", "lenet-32-32"], "images of 8x8 pixels are too small"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(penult, tmp_path, words, said):
    refused = penult(*TRAIN, *words)
    assert refused.status == 2 and refused.err.count("\n") == 1 and re.search(said, refused.err)
    assert not list(tmp_path.glob("runs/*/*.safetensors"))


def test_dropout_reaches_the_architecture(penult, tmp_path):
    assert penult(*TRAIN, "--arch", "wrn-16-1", "--epochs", 0.02, "--dropout", 0.25).status == 0
    network = zoo.load(tmp_path / "runs/digits-wrn-16-1-dropout0.25-seed0")
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.25] * 6


def test_a_narrowed_layer_is_trained_kept_and_resumed(penult, tmp_path):
    words = [*TRAIN, "--arch", "vgg-4", "--epochs", 0.1, "--narrow", "block3.0", "--narrow-filters", 2]
    assert penult(*words).status == 0
    run = tmp_path / "runs/digits-vgg-4-narrow-block3.0-filters2-seed0"
    network = zoo.load(run)
    assert str(network.body.block3[0]).startswith("Conv2d(128, 2, kernel_size=(7, 7), stride=(1, 1), padding=(3, 3)")
    assert network.head.in_features == 2 and kept(run)["narrow"] == "block3.0"
    assert "finished already" in penult(*words).out
    other = penult(*words, "--name", run.name, "--narrow-kernel", 5)
    assert other.status == 2 and "narrow_kernel" in other.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--narrow", "blok3.0"], "unknown convolution of vgg-4 'blok3.0': did you mean 'block3.0'"),
        (["--narrow-filters", 2], "--narrow-filters 2 without --narrow LAYER"),
        (["--narrow", "block3.0", "--narrow-kernel", 4], "narrow_kernel is 4: an odd number"),
        (["--narrow", "block3.0", "--narrow-filters", 0], "--narrow-filters 0: expected 1 or more"),
    ],
)
def test_what_cannot_be_narrowed_is_refused_before_anything_is_done(penult, tmp_path, words, said):
    refused = penult(*TRAIN, "--arch", "vgg-4", *words)
    assert refused.status == 2 and refused.err.count("\n") == 1 and said in refused.err
    assert not list(tmp_path.glob("runs/*/*"))
