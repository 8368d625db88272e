"""Pruning: which weights stay, by slow obvious ways to choose them; and that the others are 0 whatever is trained."""

import json
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torchs

from apps.classifiers.classification import Classification
from apps.classifiers.pruning.masks import held, kept_by_threshold, kept_share, prunable, zero
from apps.scores.kind import Command
from apps.scores.known import found as left_by
from priors import zoo
from priors.errors import InputError

PRUNE = ["prune", "--device", "cpu", "--threads", 1]


def small() -> nn.Module:
    """Layers of several kinds: 27 + 3 + 6 + 60 + 5 + 1 parameters, of which 87 are weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 5), nn.PReLU()
    )


def smallest(network: nn.Module, count: int) -> dict[str, list[int]]:
    """By layer, the places of the so many smallest weights of all layers, one after the other."""
    weights = sorted(
        (abs(float(value)), name, place)
        for name, layer in prunable(network).items()
        for place, value in enumerate(layer.weight.detach().flatten())
    )
    found = {name: [] for name in prunable(network)}
    for _, name, place in weights[:count]:
        found[name].append(place)
    return {name: sorted(places) for name, places in found.items()}


def gone(mask: torch.Tensor) -> list[int]:
    return (~mask).flatten().nonzero().flatten().tolist()


@pytest.mark.parametrize("share", [1.0, 0.75, 0.38, 0.2, 15 / 102])
def test_the_largest_weights_of_all_layers_stay_so_that_a_share_of_all_parameters_does(share):
    network = small()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    masks = kept_share(network, share)
    assert masks.parameters == sum(one.numel() for one in network.parameters()) == 102
    assert masks.left == round(share * 102)
    assert {name: gone(mask) for name, mask in masks.kept.items()} == smallest(network, 102 - masks.left)
    after = network.state_dict()
    assert list(after) == list(before) and all(torch.equal(before[name], after[name]) for name in before)
    zero(network, masks)
    for name, mask in masks.kept.items():
        weight = prunable(network)[name].weight
        assert torch.equal(weight, torch.where(mask, before[f"{name}.weight"], torch.zeros(())))
    assert sum(int((one == 0).sum()) for one in (network[0].weight, network[5].weight)) == 102 - masks.left


def test_by_layer_each_keeps_the_same_part_and_all_together_the_share():
    network = small()
    masks = kept_share(network, 0.5, by_layer=True)
    assert masks.left == round(0.5 * 102)
    part = (masks.left - 15) / 87
    for name, mask in masks.kept.items():
        weight = prunable(network)[name].weight.detach().abs()
        assert abs(int(mask.sum()) - part * mask.numel()) <= 1
        assert weight[mask].min() > weight[~mask].max()


def test_a_threshold_is_of_each_layers_own_deviation():
    network = small()
    masks = kept_by_threshold(network, 0.8)
    for name, mask in masks.kept.items():
        weight = prunable(network)[name].weight.detach().double().numpy()
        assert np.array_equal(mask.numpy(), np.abs(weight) >= 0.8 * np.std(weight))
    zero(network, masks)
    again = kept_by_threshold(network, 0.8)
    for name, mask in again.kept.items():
        weight = prunable(network)[name].weight.detach().double().numpy()
        assert np.array_equal(mask.numpy(), np.abs(weight) >= 0.8 * np.std(weight[weight != 0]))
    assert again.left < masks.left and masks.left == 15 + sum(int(mask.sum()) for mask in masks.kept.values())
    with torch.no_grad():
        network[5].weight[:] = torch.zeros(5, 12).index_put((torch.tensor(2), torch.tensor(7)), torch.tensor(0.3))
    only = kept_by_threshold(network, 0.8).kept["5"]
    assert only.nonzero().tolist() == [[2, 7]], "a weight that is alone has no deviation, and brings none back"


def test_a_shared_weight_counts_once_and_what_has_none_is_refused():
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    masks = kept_share(nn.Sequential(first, second), 0.5)
    assert masks.parameters == 16 and masks.left == 8 and list(masks.kept) == ["0"]
    with pytest.raises(InputError, match="no convolution or linear layer"):
        prunable(nn.Sequential(nn.BatchNorm1d(3)))
    with pytest.raises(InputError, match=r"--keep 0.1: 14.7\d*% of the parameters are biases"):
        kept_share(small(), 0.1)


def test_training_is_that_of_torchs_own_pruning():
    """Its weights are `weight_orig` times `weight_mask`; without decay, ours are the same after ten steps of each."""
    ours, theirs = small().double(), small().double()
    masks = kept_share(ours, 0.4)
    zero(ours, masks)
    for name, layer in prunable(theirs).items():
        torchs.custom_from_mask(layer, "weight", masks.kept[name])
    images, labels = torch.rand(20, 1, 6, 6, dtype=torch.float64), torch.arange(20) % 5
    with held(ours, masks):
        for network in (ours, theirs):
            optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9, nesterov=True)
            for _ in range(10):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(images), labels).backward()
                optimizer.step()
    for name in masks.kept:
        layer = torchs.remove(theirs.get_submodule(name), "weight")
        torch.testing.assert_close(prunable(ours)[name].weight, layer.weight, rtol=1e-12, atol=1e-14)
        assert (prunable(ours)[name].weight == 0).equal(~masks.kept[name])
    nn.functional.cross_entropy(ours(images), labels).backward()
    assert (ours[0].weight.grad != 0).all(), "and afterwards all weights have gradients again"


def weights(folder) -> dict[str, torch.Tensor]:
    return {name: layer.weight.detach() for name, layer in prunable(zoo.load(folder)).items()}


@pytest.mark.parametrize(
    "words",
    [
        ["--optimizer", "momentum", "--lr", 0.1, "--weight-decay", 0.01, "--ema", 0.9],
        ["--optimizer", "adamw", "--lr", 0.01, "--weight-decay", 0.1, "--clip", 0.1, "--accumulate", 2],
        ["--weight-decay", 0.01, "--precision", "bf16", "--schedule", "constant"],
    ],
)
def test_pruned_weights_are_0_at_the_end_and_others_are_trained(penult, trained, tmp_path, words):
    source = trained / "classifier"
    said = penult(*PRUNE, source, "--keep", 0.25, "--epochs", 1, *words)
    assert said.status == 0, said.err
    run = tmp_path / "runs/classifier-keep0.25"
    before, after, network = weights(source), weights(run), zoo.load(source)
    total = sum(one.numel() for one in network.parameters())
    lost = smallest(network, total - round(0.25 * total))
    for name, weight in after.items():
        assert (weight == 0).flatten().nonzero().flatten().tolist() == lost[name]
        assert (weight != before[name]).float().mean() > 0.9
    result = json.loads((run / "result.json").read_text())
    assert result["share left"] == round(0.25 * total) / total and result["parameters"] == total
    assert result["left by layer"] == {name: float((one != 0).sum()) / one.numel() for name, one in after.items()}
    assert zoo.describe(run)["provenance"]["pruned from"] == str(source)
    assert f"{result['parameters left']:,}" in said.out and "25.00%" in said.out
    command = ("prune", str(source), "--keep", "0.25", "--epochs", "1", *map(str, words))
    scores = left_by(Command(command, run))
    assert scores["parameters left"] == 100 * result["share left"] and 0 < scores["accuracy"] <= 100
    assert left_by(Command((*command, "--batch-size", "32"), run)) is None, "which was not what made it"
    assert not re.search(r"weight_(orig|mask)", " ".join(zoo.load(run).state_dict()))


def test_without_epochs_the_others_stay_as_they_were(penult, trained, tmp_path):
    source, run = trained / "classifier", tmp_path / "runs/classifier-threshold0.9"
    assert penult(*PRUNE, source, "--threshold", 0.9, "--epochs", 0).status == 0
    for name, weight in weights(run).items():
        before = weights(source)[name]
        stays = before.double().abs() >= 0.9 * before.double().std(correction=0)
        assert torch.equal(weight, before.where(stays, torch.zeros(())))
    result = json.loads((run / "result.json").read_text())
    assert result["steps"] == 0 and 0 < result["test/accuracy"] < 1
    again = penult(*PRUNE, source, "--threshold", 0.9, "--epochs", 0)
    assert "finished already" in again.out and "in all" in again.out
    other = penult(*PRUNE, source, "--threshold", 0.9, "--epochs", 1)
    assert other.status == 2 and "epochs: 0.0 before, 1.0 now" in other.err
    # And on from there: what is lost stays lost.
    more = penult(*PRUNE, run, "--keep", 0.9, "--name", "more")
    assert more.status == 2 and "would give" in more.err and more.err.count("\n") == 1
    assert penult(*PRUNE, run, "--keep", 0.1, "--epochs", 1, "--name", "less").status == 0
    for name, weight in weights(tmp_path / "runs/less").items():
        assert not bool(weight[weights(run)[name] == 0].any())
    stored = json.loads((tmp_path / "runs/less/config.json").read_text())["config"]
    assert stored["split_seed"] == 0 and stored["data"] == "digits"
    assert penult("evaluate", tmp_path / "runs/less", "--device", "cpu").status == 0


def test_a_training_that_is_stopped_goes_on_with_the_same_weights_at_0(penult, trained, tmp_path, monkeypatch):
    words = [*PRUNE, trained / "classifier", "--keep", 0.3, "--epochs", 1, "--ema", 0.8, "--weight-decay", 0.1]
    assert penult(*words, "--name", "whole").status == 0
    losses, steps = Classification.losses, []

    def stopping(self, turn, batch, step):
        steps.append(step)
        if len(steps) == 15:
            raise KeyboardInterrupt
        return losses(self, turn, batch, step)

    monkeypatch.setattr(Classification, "losses", stopping)
    words += ["--name", "cut", "--checkpoint-every", 5]
    assert penult(*words).status == 130
    assert penult(*words).status == 0 and steps[15] == 10
    for name, weight in weights(tmp_path / "runs/cut").items():
        assert torch.equal(weight, weights(tmp_path / "runs/whole")[name])


def test_images_are_held_out_by_the_first_trainings_seed(penult, tmp_path):
    train = ["train", "classifier", "--epochs", 1, "--validation", 200, "--train-images", 300, "--seed", 3]
    assert penult(*train, "--device", "cpu", "--name", "a", "--snapshots", 2).status == 0
    assert penult(*PRUNE, tmp_path / "runs/a", "--keep", 0.5, "--epochs", 1, "--seed", 4, "--name", "b").status == 0
    assert penult(*PRUNE, tmp_path / "runs/b", "--keep", 0.3, "--epochs", 1, "--patience", 2, "--name", "c").status == 0
    a, b, c = (json.loads((tmp_path / f"runs/{name}/config.json").read_text())["config"] for name in "abc")
    assert b["split_seed"] == c["split_seed"] == 3 and b["seed"] == 4
    assert a["data_digest"] == b["data_digest"] == c["data_digest"]
    assert penult(*PRUNE, tmp_path / "runs/a/snapshots/step-2", "--keep", 0.5, "--epochs", 0).status == 0
    assert (tmp_path / "runs/a-step-2-keep0.5/result.json").is_file(), "which says of which run the snapshot is"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give --keep"),
        (["--keep", 0], "--keep 0: expected a number above 0, at most 1"),
        (["--keep", 1.5], "--keep 1.5: expected a number above 0, at most 1"),
        (["--threshold", -1], "--threshold -1: expected a number above 0"),
        (["--keep", 0.5, "--threshold", 1], "--keep 0.5 and --threshold 1: give one of them"),
        (["--threshold", 1, "--keep-by", "layer"], "--keep-by layer with --threshold"),
        (["--keep", 0.5, "--keep-by", "layers"], "did you mean 'layer'|one of global, layer|global,layer"),
        (["--keep", 0.0001], "are biases and parameters of norms, which stay"),
        (["--keep", 0.5, "--patience", 1], "held none out"),
        (["--keep", 0.5, "--epochs", -1], "--epochs -1: expected 0 or more"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(penult, trained, tmp_path, words, said):
    refused = penult(*PRUNE, trained / "classifier", *words)
    assert refused.status == 2 and re.search(said, refused.err)
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("torchvision:resnet18", "torchvision:resnet18 is no run"),
        ("hvae", "is a generator, not a classifier"),
        ("clasifier", "did you mean"),
    ],
)
def test_no_run_of_a_classifier_is_refused_in_a_line(penult, trained, model, said):
    refused = penult(*PRUNE, model if ":" in model else trained / model, "--keep", 0.5)
    assert refused.status == 2 and said in refused.err and refused.err.count("\n") == 1
