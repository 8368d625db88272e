"""Inverting a classifier's layers by the command line: what is trained, scored, drawn, and refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.inversion.cross_entropy import uniform_nats
from apps.command.config import Where
from apps.data import sources
from apps.data.image_set import balanced_subset, split_validation
from apps.inverting.inverted import inverted_run
from apps.inverting.overfitting import overfit, overfitting
from apps.models.representation import check_order, representation
from apps.training.session import start
from priors import zoo
from priors.errors import InputError
from priors.files.json_files import read_json
from priors.files.tensors import read_tensors

SMALL = [
    "--layers",
    1,
    "--filters",
    4,
    "--epochs",
    0.3,
    "--decoder-filters",
    2,
    "--decoder-epochs",
    0.3,
    "--ema",
    "None",
]
SMALL += ["--test-images", 30, "--shown", 2, "--n", 2, "--threads", 1, "--device", "cpu"]


@pytest.fixture(scope="module")
def network() -> zoo.Classifier:
    torch.manual_seed(0)
    return zoo.build("lenet-32-32", classes=10, image_shape=(1, 16, 16)).eval()


def test_layers_go_by_the_papers_names(network):
    images = torch.rand(3, 1, 16, 16)
    conv1, conv2, fc3, logits, input_of_head, first = (
        representation(network, name, (1, 16, 16))
        for name in ("conv1", "conv2", "fc3", "logits", "penultimate", "body.conv1.convolution")
    )
    assert [one.shape for one in (conv1, conv2, fc3, logits, first)] == [(32, 6, 6), (32,), (256,), (10,), (32, 12, 12)]
    with torch.no_grad():
        maps = network.body.conv1(network.normalise(images))
        assert torch.equal(conv1(images), maps) and torch.equal(logits(images), network(images))
        assert torch.equal(fc3(images), network.penultimate(images)) and torch.equal(fc3(images), input_of_head(images))
    network.train()  # its dropout is left out all the same, and its mode as it was
    assert torch.equal(logits(images), logits(images)) and network.training
    network.eval()


def test_layers_are_expected_in_the_order_of_their_own_calls():
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.relu, self.head = torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 10)

        def forward(self, images):
            return self.head(self.relu(self.first(self.relu(images.flatten(1)))))

    shape = (1, 2, 2)
    network = zoo.wrap(Twice())
    layers = {name: representation(network, name, shape) for name in ("relu#1", "first", "relu#2", "head")}
    check_order(layers, shape)
    for wrong in (("relu#2", "relu#1"), ("relu#2", "first"), ("head", "relu#2")):
        with pytest.raises(InputError, match=f"as the network computes them: {','.join(reversed(wrong))}"):
            check_order({name: layers[name] for name in wrong}, shape)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("conv3", "did you mean 'conv"),
        ("logit", "did you mean 'logits'"),
        ("nome", "did you mean 'none'"),
        ("", "known: none, logits, penultimate, conv1, .*; with body. before it a module's name"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(network, layer, said):
    with pytest.raises(InputError, match=f"unknown layer '{layer}'.*{said}"):
        representation(network, layer, (1, 16, 16), ("none",))


def test_each_layer_becomes_a_run_that_is_scored_and_drawn(penult, trained):
    words = ["analyse", "invert", trained / "classifier", "--taps", "none,penultimate,logits", *SMALL, "--name", "inv"]
    words += ["--estimates"]
    said = penult(*words, "--distances", 3, "--closest", "logits", "--draws", 6)
    assert said.status == 0, said.err
    out = " ".join(said.out.split())
    for expected in ("no context", "penultimate", "logits", "uniform", "H(x) + NCE bounds I(x; h) from below", "1NN"):
        assert expected in out
    found = read_json("runs/inv/inversion.json", "numbers")
    assert found["uniform"] == uniform_nats((1, 8, 8)) and [one["layer"] for one in found["layers"]] == [
        None, "penultimate", "logits"
    ]  # fmt: skip
    test = sources.load("digits", "test").subset(range(30))
    images = test.images.float() / 255
    for entry in found["layers"]:
        run = inverted_run(f"runs/inv-{entry['layer'] or 'none'}")
        with torch.no_grad():
            nats = run.model.log_prob(images, run.context(images))
        assert entry["NCE"] == pytest.approx(float(nats.double().mean()), rel=1e-5)
        assert entry["standard error"] == pytest.approx(float(nats.double().std()) / 30**0.5, rel=1e-4)
    decoder = inverted_run("runs/inv-logits-mse")
    with torch.no_grad():
        error = (decoder.model(decoder.context(images)) - images).square().flatten(1).sum(1).mean()
    assert found["layers"][2]["squared error"] == pytest.approx(float(error), rel=1e-5)
    for picture in ("sheet", "closest-logits", "nce"):
        with Image.open(f"runs/inv/{picture}.png") as drawn:
            assert np.array(drawn).std() > 10
    _by_hand(read_json("runs/inv/distances.json", "numbers")["layers"][1], inverted_run("runs/inv-logits"), images[:3])

    words += ["--shown", 0]  # nothing is drawn any more, which takes the longest
    again = penult(*words)
    assert again.status == 0 and again.out.count("is finished already") == 5
    assert read_json("runs/inv/inversion.json", "numbers") == found
    other = penult(*words, "--lr", 0.01)
    assert other.status == 2 and "another configuration (lr: 0.001 before, 0.01 now)" in other.err
    shutil.copytree("runs/inv-logits", "runs/in-logits")
    more = penult(*words[:3], "--taps", "penultimate,logits", *words[5:], "--lr", 0.01, "--name", "in")
    assert more.status == 2 and "runs/in-logits holds a run with another configuration" in more.err
    assert not Path("runs/in-penultimate").exists(), "it is found before the layers ahead of it are trained"

    beside = penult(*words, "--against", "runs/inv-none", "runs/inv-penultimate")
    assert beside.status == 0 and "positive where the layer tells more" in beside.out
    apart = read_json("runs/inv/against.json", "numbers")
    nats = [read_tensors(f"runs/inv-{layer}/log-likelihoods.safetensors")[0]["log-likelihoods"].double()
            for layer in ("none", "penultimate", "logits")]  # fmt: skip
    expected = [(one - other) for one in nats for other in nats[:2]]
    assert [one["nats"] for one in apart] == pytest.approx([float(one.mean()) for one in expected], abs=1e-6)
    errors = [float(one.std()) / 30**0.5 for one in expected]
    assert [one["standard error"] for one in apart] == pytest.approx(errors, abs=1e-6)
    for run, expected in (("inv-logits-mse", "is a least-squares decoder"), ("inv", "runs/inv")):
        refused = penult(*words, "--against", f"runs/{run}")
        assert refused.status == 2 and expected in refused.err and refused.err.count("\n") == 1

    draw = ["sample", "runs/inv-penultimate", "--n", 3, "--out", "mine.png", "--device", "cpu"]
    missing = penult(*draw)
    assert missing.status == 2 and "give --image FILE" in missing.err
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)).save("photo.jpg")
    drawn = penult(*draw, "--image", "photo.jpg").out
    assert drawn.startswith("photo.jpg is resized from 20x30 to 8x8 ") and drawn.endswith("3 images in mine.png\n")
    for flags, expected in (
        (["--image", "nowhere.png"], "--image nowhere.png: no such file"),
        (["--image", "runs/inv/inversion.json"], "inversion.json is damaged or not an image"),
        (["--image", "photo.jpg", "--labels", "3"], "--labels 3: runs/inv-penultimate inverts a network"),
        (["--image", "photo.jpg"], "mine.png exists"),
    ):
        refused = penult(*draw, *flags)
        assert refused.status == 2 and expected in refused.err and refused.err.count("\n") == 1
    assert penult("report", "runs/inv-logits", "runs/inv-none").status == 0
    assert "inversion of digits given head" in Path("report.html").read_text()
    assert "least-squares decoder" in penult("sample", "runs/inv-logits-mse", "--image", "photo.jpg").err
    assert "is an inversion of a network, not a classifier" in penult("prior", "runs/inv-logits").err
    assert (
        "runs/inv-logits is an inversion of a network: penult analyse invert scores it"
        in penult("evaluate", "runs/inv-logits").err
    )
    shutil.rmtree("runs/inv-logits/network")
    lost = penult("sample", "runs/inv-logits", "--image", "photo.jpg", "--out", "b.png")
    assert lost.status == 2 and "runs/inv-logits/network is missing" in lost.err and "allow" not in lost.err
    shutil.copytree("runs/inv-penultimate/network", "runs/inv-logits/network")
    assert penult("sample", "runs/inv-logits", "--image", "photo.jpg", "--out", "b.png").status == 0
    weights = zoo.load("runs/inv-logits/network")
    with torch.no_grad():
        weights.head.bias.add_(1)
    zoo.save(weights, "runs/inv-logits/network")
    assert "has other weights than the network" in penult("sample", "runs/inv-logits", "--image", "photo.jpg").err


@pytest.mark.slow
def test_a_training_that_died_goes_on_to_the_same_weights(penult, trained, monkeypatch):
    words = [
        "analyse",
        "invert",
        trained / "classifier",
        "--taps",
        "logits",
        *SMALL,
        "--decoder-epochs",
        0,
        "--shown",
        0,
    ]
    words += ["--checkpoint-every", 2]
    assert penult(*words, "--name", "whole").status == 0
    from apps.inverting.training import DensityTraining

    losses = DensityTraining.losses

    def dying(self, turn, batch, step):
        if step == 4:
            raise KeyboardInterrupt
        return losses(self, turn, batch, step)

    monkeypatch.setattr(DensityTraining, "losses", dying)
    assert penult(*words, "--name", "cut").status == 130
    monkeypatch.setattr(DensityTraining, "losses", losses)
    start = DensityTraining.start
    monkeypatch.setattr(DensityTraining, "start", None)  # data-dependent initialisation is not for resuming
    assert penult(*words, "--name", "cut").status == 0
    monkeypatch.setattr(DensityTraining, "start", start)
    first, second = (inverted_run(f"runs/{name}-logits").model.state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = penult(*words[:3], "--taps", "penultimate", *words[5:], "--name", "cut")
    assert other.status == 0, "another layer is another run"


@pytest.mark.slow
def test_snapshots_are_inverted_as_well(penult):
    words = ["train", "classifier", "--arch", "mlp", "--epochs", 0.3, "--snapshots", 0, 3, "--name", "some"]
    assert penult(*words, "--device", "cpu", "--threads", 1).status == 0
    words = ["analyse", "invert", "runs/some", "--taps", "logits", *SMALL, "--decoder-epochs", 0, "--shown", 0]
    said = penult(*words, "--snapshots")
    assert said.status == 0, said.err
    found = read_json("runs/some-inverted/through-training.json", "numbers")["steps"]
    assert [entry["updates"] for entry in found] == ["0", "3", "finished"]
    assert len({entry["logits"]["NCE"] for entry in found}) == 3
    with Image.open("runs/some-inverted/through-training.png") as drawn:
        assert np.array(drawn).std() > 10


@pytest.mark.slow
def test_snapshots_of_two_networks_stand_side_by_side(penult):
    words = ["train", "classifier", "--arch", "mlp", "--epochs", 0.3, "--snapshots", 0, 3, "--name", "some"]
    assert penult(*words, "--device", "cpu", "--threads", 1).status == 0
    words = ["analyse", "invert", "runs/some", "--taps", "none,logits", *SMALL, "--decoder-epochs", 0, "--shown", 0]
    assert penult(*words, "--snapshots").status == 0
    found = read_json("runs/some-inverted/through-training.json", "numbers")["steps"]
    both = penult(*words, "--snapshots", "--overfit", 20)
    assert both.status == 0, both.err
    assert both.out.count(" is done (") == 4, "the second network, and its logits three times"
    again = read_json("runs/some-inverted/through-training.json", "numbers")["steps"]
    assert again[:3] == found and [entry["network"] for entry in again[3:]] == ["20 images"] * 3
    assert [entry["updates"] for entry in again[3:]] == ["0", "3", "finished"]
    assert len({entry["logits"]["NCE"] for entry in again}) == 6
    words[4] = "logits"
    other = penult(*words, "--overfit", 20, "--precision", "bf16", "--name", "half")
    assert other.status == 0, other.err
    places = (Path("runs", run, "model.safetensors") for run in ("some-inverted-overfit20", "half-overfit20"))
    first, second = (read_tensors(place)[0] for place in places)
    assert all(torch.equal(first[name], second[name]) for name in first), "the densities' precision is not its own"


def test_the_second_network_learns_its_images_by_heart(penult):
    """As many updates as the first, on few images, without dropout or augmentation; its last weights are kept."""
    words = ["train", "classifier", "--arch", "lenet-32-32", "--data", "small.npz", "--epochs", 12, "--lr", 0.003]
    rng = np.random.default_rng(0)
    sets = {
        f"{part}_{split}": rng.integers(0, most, shape, np.uint8)
        for split, count in (("train", 120), ("test", 40))
        for part, most, shape in (("x", 256, (count, 16, 16)), ("y", 2, (count,)))
    }
    np.savez("small.npz", **sets)
    words += ["--batch-size", 16, "--validation", 24, "--patience", 30, "--augment", "crop", "--name", "first"]
    assert penult(*words, "--device", "cpu", "--threads", 1).status == 0
    network = zoo.load("runs/first")
    config = overfitting("runs/first", network, 10, Where(runs=Path("runs"), name="second", threads=1))
    run = overfit(config, start(config.where), "runs/first")
    stored, result, first = run.config()["config"], run.result(), read_json("runs/first/result.json", "result")
    assert result["steps"] == first["steps"] and "best" not in result
    assert (stored["dropout"], stored["augment"], stored["batch_size"], stored["validation"]) == (0.0, "none", 8, None)
    assert {name: stored[name] for name in ("arch", "lr", "seed")} == {"arch": "lenet-32-32", "lr": 0.003, "seed": 0}
    second, losses = zoo.load("runs/second"), [
        json.loads(line) for line in Path("runs/second/metrics.jsonl").read_text().splitlines()
    ]  # fmt: skip
    assert not any(part.p for part in second.modules() if isinstance(part, torch.nn.Dropout))
    assert 11 <= len([one for one in losses if "validation/test accuracy" in one]) <= 13, (
        "as often as the first's epochs"
    )
    own = balanced_subset(sources.load("small.npz", "train"), 10, 0)
    with torch.no_grad():
        assert bool((second(own.images.float() / 255).argmax(1) == own.labels).all()), "noise is learnt by heart"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--taps", "penultimat"], "unknown layer 'penultimat': did you mean 'penultimate'"),
        (["--taps", "logits,logits"], "logits is given twice"),
        (["--taps", ","], "names no layer"),
        (["--taps", "logits,none,penultimate"], "from the input on, as the network computes them: penultimate,logits"),
        (["--closest", "fc3"], "unknown layer 'fc3'"),
        (["--snapshots"], "has none; train it with penult train classifier --snapshots"),
        (["--test-images", 361], "--test-images 361: digits has 360"),
        (["--distances", 500], "--distances 500: 360 test images to score"),
        (["--test-images", 1], "--test-images 1: expected 2 or more"),
        (["--validation", 0], "--patience counts validations on held-out images"),
        (["--dropout", 1], "--dropout 1: a rate of 0 or more, below 1, was expected"),
        (["--dropout", 0.5, "logit=0.1"], "unknown layer 'logit': did you mean 'logits'"),
        (["--context-dropout", "logits=0.1", "logits=0.2"], "each once"),
        (["--overfit", 5], "--overfit 5: with 10 classes, 10 or more were expected"),
        (["--overfit", -1], "--overfit -1: expected 0 or more"),
        (["--filters", 0], "--filters 0: expected 1 or more"),
        (["--decoder-filters", 0], "--decoder-filters 0: expected 1 or more"),
        (["--name", "a/b"], "--name 'a/b': expected the name of a folder"),
        (["--estimates", "--test-images", 3], "--estimates of 3 test images: 4 or more"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(penult, trained, flags, said):
    found = penult("analyse", "invert", trained / "classifier", "--device", "cpu", *flags)
    assert found.status == 2 and said in found.err and found.err.count("\n") == 1
    assert not list(Path("runs").glob("*/metrics.jsonl"))


def _by_hand(entry: dict, inverted, images: torch.Tensor) -> None:
    """The nearest of all training images in the representation, one by one, and samples drawn apart."""
    training = split_validation(sources.load("digits", "train"), 1437 // 12)[0].images.float() / 255
    own, theirs = inverted.context(images), inverted.context(training)
    nearest = [min(float((mine - other).abs().mean()) for other in theirs) for mine in own]
    assert entry["1NN"] == pytest.approx(np.mean(nearest), rel=1e-4)
    draws = inverted.draw(images, 10, 0, "distances")
    apart = torch.stack([(inverted.context(draws[:, number]) - own).abs().mean(1) for number in range(10)])
    assert entry["IM-S"] == pytest.approx(float(apart[0].mean()), rel=1e-4)
    assert entry["IM-NN"] == pytest.approx(float(apart.amin(0).mean()), rel=1e-4)
    assert torch.equal(inverted.draw(images, 4, 0, "distances"), draws[:, :4]), "the first draws do not hang on more"
