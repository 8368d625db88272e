"""`penult analyse normalised` and `penult analyse anomaly` on digits, from their words to their files."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import logsumexp
from sklearn.metrics import log_loss, roc_auc_score

from analysis import normalised_accuracy
from apps.classifiers.normalised.results import scored
from apps.command.cli import configured
from apps.data import sources
from apps.data.outliers import Conversion, outliers
from apps.seeds import generator
from priors import ClassifierPrior, zoo

PNG = b"\x89PNG\r\n\x1a\n"
CPU = ("--device", "cpu", "--threads", 1)


def read(path: Path):
    return json.loads(path.read_text())


def npz(path: Path, side: int = 10, channels: int = 3, count: int = 40) -> Path:
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (count, side, side, channels), np.uint8)
    np.savez(path, x_train=images, y_train=np.arange(count) % 2, x_test=images, y_test=np.arange(count) % 2)
    return path


# Normalised.


def test_a_run_is_scored_with_norms_taken_out(penult, copied):
    run = copied("classifier")
    said = penult("analyse", "normalised", run, *CPU)
    assert said.status == 0, said.err
    (entry,) = read(run / "normalised.json")
    assert entry["data"] == "digits" and entry["images"] == 360 and "model" not in entry
    scores = entry["scores"]
    network, images = zoo.load(run).eval(), sources.load("digits", "test")
    with torch.inference_mode():
        a = network.penultimate(images.images / 255)
    w = network.head.weight.detach()
    cosine = torch.nn.functional.cosine_similarity(a[:, None], w[None], dim=-1)
    expected = float((cosine.argmax(1) == images.labels).double().mean())
    assert scores["both normalised, bias dropped"]["accuracy"] == pytest.approx(expected)
    assert scores["original"]["accuracy"] == pytest.approx(read(run / "result.json")["test/accuracy"], abs=1e-6)
    assert re.search(rf"^both normalised, bias dropped .* {expected:.2%} ", said.out, re.M)
    assert penult("analyse", "normalised", run, *CPU).status == 0
    assert read(run / "normalised.json") == [entry], "the same protocol gives the same scores, in the same place"
    assert penult("analyse", "normalised", run, "--images", 50, *CPU).status == 0
    assert [entry.get("first") for entry in read(run / "normalised.json")] == [None, 50]


def test_a_model_that_is_no_run_is_written_where_told(penult, copied, tmp_path):
    run = copied("classifier")
    words = ["analyse", "normalised", run, "--data", "digits", "--images", 20, *CPU]
    assert penult(*words, "--out", "there/all.json").status == 0
    assert read(Path("there/all.json"))[0]["model"] == str(run) and not (run / "normalised.json").exists()
    # Another model is added beside, a file of something else is refused.
    other = run.rename(run.with_name("other"))
    assert penult(*words[:2], other, *words[3:], "--out", "there/all.json").status == 0
    assert [entry["model"] for entry in read(Path("there/all.json"))] == [str(run), str(other)]
    Path("mine.json").write_text('{"mine": 1}')
    said = penult(*words[:2], other, *words[3:], "--out", "mine.json")
    assert said.status == 2 and "mine.json" in said.err and read(Path("mine.json")) == {"mine": 1}


def settings(*words):
    return configured("analyse normalised", [*map(str, words), "--data", "digits"])[1]


def test_every_gauge_is_scored_as_python_does(penult, copied):
    run = copied("classifier")
    assert penult("analyse", "normalised", run, *CPU).status == 0
    (papers,) = read(run / "normalised.json")
    old = {name: value for name, value in papers.items() if name not in ("space", "directions")}
    (run / "normalised.json").write_text(json.dumps([old]))
    assert scored(settings(run)) and not scored(settings(run, "--directions", "centred")), "from before gauges"

    said = penult("analyse", "normalised", run, "--every-gauge", *CPU)
    assert said.status == 0, said.err
    entries = read(run / "normalised.json")
    assert len(entries) == 12 and entries[0] == papers, "the one from before is the paper's, and is replaced"
    network = zoo.load(run).eval()
    train, test = (sources.load("digits", split) for split in ("train", "test"))
    with torch.inference_mode():
        known, seen = (network.penultimate(images.images / 255) for images in (train, test))
    for entry in entries:
        gauge = {"space": entry["space"], "directions": entry["directions"]}
        evidence = {"activations": known.clone(), "labels": train.labels}
        kappa = "fitted" if gauge["directions"] == "fitted" else 1.0
        prior = ClassifierPrior.from_classifier(network.double(), kappa, **gauge, **evidence)
        found = normalised_accuracy(seen, test.labels, prior.weight, prior.bias, prior.gauge)
        expected = found["both normalised, bias dropped"].accuracy
        assert entry["scores"]["both normalised, bias dropped"]["accuracy"] == pytest.approx(expected, abs=0.003)
        measured = gauge["space"] != "raw" or gauge["directions"] in ("fitted", "means")
        assert entry.get("measured on") == ({"images": 1437, "digest": train.digest} if measured else None)
        shown = rf"^{entry['space']} +{entry['directions']} +"
        shown += f"{entry['scores']['both normalised, bias dropped']['accuracy']:.2%} "
        assert re.search(shown, said.out, re.M)

    words = (run, "--space", "whitened", "--directions", "fitted")
    assert penult("analyse", "normalised", *words, *CPU).status == 0
    assert sorted(map(str, read(run / "normalised.json"))) == sorted(map(str, entries)), "alone as among others"
    drop = next(entry for entry in entries if entry["directions"] == "fitted" and entry["space"] == "whitened")[
        "scores"
    ]
    assert scored(settings(*words))["drop rate"] == drop["both normalised, bias dropped"]["drop rate in %"]
    assert not scored(settings(*words, "--folds", 2))


def test_folds_measure_on_the_other_parts(penult, copied):
    run = copied("classifier")
    words = ("--directions", "means", "--folds", 3, "--seed", 1)
    said = penult("analyse", "normalised", run, *words, *CPU)
    assert said.status == 0 and "means directions in the raw space" in said.out, said.err
    network, test = zoo.load(run).eval(), sources.load("digits", "test")
    with torch.inference_mode():
        seen = torch.nn.functional.normalize(network.penultimate(test.images / 255).double()).numpy()
    order, right = torch.randperm(360, generator=generator("cpu", 1, "folds")).numpy(), 0
    for part in np.array_split(order, 3):
        others = np.setdiff1d(order, part)
        means = np.stack([seen[others][test.labels.numpy()[others] == label].mean(0) for label in range(10)])
        cosines = seen[part] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
        right += (cosines.argmax(1) == test.labels.numpy()[part]).sum()
    (entry,) = read(run / "normalised.json")
    assert entry["scores"]["both normalised, bias dropped"]["accuracy"] == pytest.approx(right / 360)
    assert (entry["folds"], entry["seed"], entry.get("measured on")) == (3, 1, None)
    assert scored(settings(run, *words)) and not scored(settings(run, *words[:-2]))
    assert penult("analyse", "normalised", run, "--every-gauge", *words[2:], *CPU).status == 0
    (papers,) = (
        one for one in read(run / "normalised.json") if (one["space"], one["directions"]) == ("raw", "weights")
    )
    assert penult("analyse", "normalised", run, *CPU).status == 0
    assert papers in read(run / "normalised.json"), "to the bit, since no image has a say in it"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--every-gauge", "--space", "raw"], "--every-gauge with --space raw: leave one of them out"),
        (["--folds", 2, "--directions", "centred"], "--folds 2 without a gauge that is measured"),
        (["--folds", 1, "--every-gauge"], "--folds 1 leaves no images"),
        (["--folds", 361, "--every-gauge"], "--folds 361: there are 360 images to part"),
        (["--space", "whitened", "--data", "{tests}"], "--space whitened measures .* no folder .*/train.*--folds 2"),
        (["--every-gauge", "--data", "{twice}"], "--every-gauge measures .* are the test images: --folds 2"),
        (["--space", "whitened", "--data", "{tests}", "--folds", 2], "give two images of a class"),
    ],
)
def test_gauges_without_images_of_their_own_are_refused(penult, trained, tmp_path, words, said):
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8), np.uint8)
    for folder in ("tests/test", "twice/train", "twice/test"):
        for number, image in enumerate(images):
            place = tmp_path / folder / str(number)
            place.mkdir(parents=True)
            Image.fromarray(image).save(place / "0.png")
    places = {name: str(tmp_path / name) for name in ("tests", "twice")}
    given = [word.format(**places) if isinstance(word, str) else word for word in words]
    found = penult("analyse", "normalised", trained / "classifier", *given, "--out", tmp_path / "x.json", *CPU)
    assert found.status == 2 and re.search(said, " ".join(found.err.split())), found.err


# Anomaly.


@pytest.fixture
def pictures(tmp_path):
    """A folder of pictures, wide and in colour."""
    stream, folder = np.random.default_rng(1), tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        Image.fromarray(stream.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def test_scores_of_other_images_are_compared_and_drawn(penult, copied, tmp_path, pictures):
    run, other = copied("classifier"), npz(tmp_path / "other.npz")
    said = penult("analyse", "anomaly", run, "--against", "noise", other, pictures, "--concentration", 20, *CPU)
    assert said.status == 0, said.err
    assert all((run / name).read_bytes().startswith(PNG) for name in ("anomaly.png", "reliability.png"))
    (entry,) = read(run / "anomaly.json")
    names = ["noise", str(other), str(pictures)]
    assert list(entry["scores"]) == list(entry["against"]) == names and entry["concentration"] == "20"
    assert [entry["against"][name]["images"] for name in names] == [360, 40, 12]
    assert "ITU-R 601" in said.out and "10x10 to 8x8" in entry["against"][str(other)]["converted"]
    assert entry["against"][str(pictures)]["converted"].startswith("shorter side resized to 8 and")
    assert len(entry["scores"]["noise"]) == 9

    # Two of them and the calibration by hand, from the network and scikit-learn alone.
    network, own = zoo.load(run).eval(), sources.load("digits", "test")
    outside = outliers(str(other), (1, 8, 8), 0)
    with torch.inference_mode():
        inside = network.penultimate(own.images / 255)
        seen = network.penultimate(Conversion((3, 10, 10), (1, 8, 8))(outside.images / 255))
        logits = [network.head(part).double() for part in (inside, seen)]
    positive = [1] * len(inside) + [0] * len(seen)
    w = torch.nn.functional.normalize(network.head.weight.detach(), dim=1)
    for score, values in {
        "energy": torch.cat(logits).logsumexp(1),
        "softmax": torch.cat(logits).softmax(1).amax(1),
        # With one concentration for all, the best class is the nearest.
        "direction, max": (torch.nn.functional.normalize(torch.cat([inside, seen]), dim=1) @ w.T).amax(1),
    }.items():
        expected = roc_auc_score(positive, values.detach().numpy())
        assert entry["scores"][str(other)][score]["AUROC"] == pytest.approx(expected, abs=1e-6), score
    found = entry["calibration"]
    assert found["softmax"]["NLL"] == pytest.approx(log_loss(own.labels, logits[0].softmax(1).numpy()), rel=1e-5)
    assert set(found) == {"softmax", "q(i|a)", "q(i|a) given |a|"} == set(entry["reliability"])
    for diagram in entry["reliability"].values():
        assert sum(diagram["count"]) == 360 and len(diagram["accuracy"]) == 15


@pytest.fixture
def undrawn(monkeypatch):
    """Without pictures, which take most of the time."""
    monkeypatch.setattr("apps.classifiers.anomaly.scoring._draw", lambda *arguments: None)


def test_scores_of_pytorch_ood_are_their_formulas_and_every_gauge_is_set_beside(penult, copied, tmp_path, undrawn):
    run = copied("classifier")
    words = ["analyse", "anomaly", run, "--against", "noise", *CPU]
    said = penult(*words, "--also", "knn", "vim", "react", "--every-gauge")
    assert said.status == 0, said.err
    (entry,) = read(run / "anomaly.json")
    scores = entry["scores"]["noise"]
    words_said = " ".join(said.out.split())
    assert "by pytorch-ood" in words_said and "SPACE, DIRECTIONS: log q(a|i)" in words_said

    network, noise = zoo.load(run).eval(), outliers("noise", (1, 8, 8), 360)
    with torch.inference_mode():
        train, inside, outside = (
            network.penultimate(images.images / 255).double().numpy()
            for images in (sources.load("digits", "train"), sources.load("digits", "test"), noise)
        )
    both = np.concatenate([inside, outside])
    weight, bias = (part.detach().double().numpy() for part in (network.head.weight, network.head.bias))
    energy = logsumexp(both @ weight.T + bias, axis=1)
    unit, known = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (both, train))
    clipped = np.minimum(both, np.quantile(train, 0.9))
    origin = -np.linalg.pinv(weight) @ bias
    # Of the principal subspace what is left is spanned by the last right singular vectors.
    left = np.linalg.svd(train - origin, full_matrices=False)[2][train.shape[1] // 2 :].T
    alpha = (train @ weight.T + bias).max(1).mean() / np.linalg.norm((train - origin) @ left, axis=1).mean()
    positive = [1] * len(inside) + [0] * len(outside)
    for name, values in {
        "KNN": -np.sort(np.linalg.norm(unit[:, None] - known[None], axis=2), axis=1)[:, 49],
        "ViM": energy - alpha * np.linalg.norm((both - origin) @ left, axis=1),
        "ReAct": logsumexp(clipped @ weight.T + bias, axis=1),
    }.items():
        assert scores[name]["AUROC"] == pytest.approx(roc_auc_score(positive, values), abs=1e-5), name

    gauges = [f"{space}, {kind}" for space in ("raw", "centred", "whitened") for kind in ("weights", "fitted", "means")]
    assert {f"{name}, mixture" for name in gauges[1:]} < set(scores) and "raw, weights, mixture" not in scores
    assert {f"q(i|a), {name}" for name in gauges[1:]} < set(entry["calibration"])
    own = "--space whitened --directions means".split()
    assert penult(*words, *own).status == 0
    other = read(run / "anomaly.json")[-1]
    assert other["scores"]["noise"]["direction, mixture"] == scores["whitened, means, mixture"]
    assert other["calibration"]["q(i|a)"] == entry["calibration"]["q(i|a), whitened, means"]
    assert penult(*words).status == 0  # what was asked for before is kept
    assert read(run / "anomaly.json")[-1]["scores"]["noise"] == scores
    refused = penult(*words, "--every-gauge", *own)
    assert refused.status == 2 and "--every-gauge with --space whitened --directions means" in refused.err


def test_a_package_that_is_not_there_is_said_before_any_work(penult, copied, monkeypatch):
    run = copied("classifier")
    monkeypatch.setattr("apps.classifiers.anomaly.peer_scores.find_spec", lambda name: None)
    said = penult("analyse", "anomaly", run, "--against", "noise", "--also", "vim", *CPU)
    assert said.status == 2 and "--also vim: pytorch-ood is not installed here" in said.err
    assert not (run / "anomaly.json").exists()


def test_other_sets_are_added_to_the_same_protocol(penult, copied, tmp_path, undrawn):
    run, other = copied("classifier"), npz(tmp_path / "other.npz")
    words = ["analyse", "anomaly", run, "--images", 30, "--concentration", "norms", *CPU]
    assert penult(*words, "--against", "noise").status == 0
    (first,) = read(run / "anomaly.json")
    assert penult(*words, "--against", other).status == 0
    (both,) = read(run / "anomaly.json")
    assert both["scores"]["noise"] == first["scores"]["noise"] and list(both["scores"]) == ["noise", str(other)]
    assert both["images"] == 30
    assert penult(*words, "--against", "noise", "--seed", 1).status == 0
    assert len(read(run / "anomaly.json")) == 2


def test_concentrations_are_measured_unless_told(penult, copied, undrawn):
    run = copied("classifier")
    said = penult("analyse", "anomaly", run, "--against", "noise", "--images", 20, "--out", "there", *CPU)
    assert said.status == 0, said.err
    assert not (run / "anomaly.json").exists() and read(Path("there/anomaly.json"))[0]["concentration"] == "mle"
    assert "maximum likelihood of 1437 activations" in said.out.replace(",", "").replace("\n", " ")
    again = penult("analyse", "anomaly", run, "--against", "noise", "--out", "there", *CPU)
    assert again.status == 2 and "not an empty folder" in again.err


BAD = {
    "nothing": ([], "--against is missing"),
    "unknown": (["--against", "fashion-mnits"], "did you mean 'fashion-mnist'"),
    "its own": (["--against", "digits"], "the classifier's own test images"),
    "empty folder": (["--against", "{tmp}/empty"], "holds no images"),
    "no folder": (["--against", "{tmp}/none"], "no data set at"),
    "no images": (["--against", "noise", "--images", 0], "--images 0: expected 1 or more"),
    "strategy": (["--against", "noise", "--concentration", "norm"], "did you mean 'norms'"),
    "negative": (["--against", "noise", "--concentration", -1], "-1.0"),
    "data": (["--against", "noise", "--data", "mnits"], "did you mean 'mnist'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_compared_is_one_line(penult, copied, tmp_path, case):
    run = copied("classifier")
    (tmp_path / "empty").mkdir()
    words, expected = BAD[case]
    said = penult("analyse", "anomaly", run, *(str(word).replace("{tmp}", str(tmp_path)) for word in words))
    assert (said.status, said.out) == (2, "") and said.err.count("\n") == 1 and expected in said.err, said.err
    assert not list(run.glob("anomaly*")) and not list(run.glob("*.png.partial"))


@pytest.mark.parametrize("verb", ["normalised", "anomaly"])
def test_models_that_are_no_finished_classifiers_are_refused(penult, copied, verb):
    more = ["--against", "noise"] if verb == "anomaly" else []
    said = penult("analyse", verb, copied("hvae"), *more)
    assert said.status == 2 and "is a generator, not a classifier" in said.err
    run = copied("classifier")
    (run / "result.json").unlink()
    said = penult("analyse", verb, run, *more)
    assert said.status == 2 and "is not finished" in said.err
    said = penult("analyse", verb, f"{run}s", *more)
    assert said.status == 2 and "did you mean" in said.err


@pytest.mark.parametrize("verb", ["normalised", "anomaly"])
def test_a_network_that_has_diverged_is_one_line(penult, copied, verb):
    run = copied("classifier")
    network = zoo.load(run)
    with torch.no_grad():
        network.body[-2 if isinstance(network.body[-1], torch.nn.ReLU) else -1].weight.fill_(math.nan)
    zoo.save(network, run)
    said = penult("analyse", verb, run, *(["--against", "noise"] if verb == "anomaly" else []), *CPU)
    assert said.status == 2 and said.err.count("\n") == 1 and "not finite" in said.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--images", 0], "--images 0"),
        (["--resize", 16], "--resize 16 is for image folders"),
        (["--out", "a.txt"], "ends in .json"),
        (["--data", "mnits"], "did you mean 'mnist'"),
    ],
)
def test_what_cannot_be_normalised_is_one_line(penult, copied, words, expected):
    said = penult("analyse", "normalised", copied("classifier"), *words)
    assert (said.status, said.out) == (2, "") and said.err.count("\n") == 1 and expected in said.err


def test_a_model_that_is_no_run_needs_data(penult):
    """Asked before its weights are wanted from anywhere: a folder of one's own network, here without any."""
    Path("headless.py").write_text(
        "import torch\n\n\ndef net():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    said = penult("analyse", "normalised", "import:headless:net")
    assert said.status == 2 and "give --data" in said.err
    said = penult("analyse", "normalised", "import:headless:net", "--data", "digits", *CPU)
    assert said.status == 0 and "Written" not in said.out and not list(Path().glob("*.json"))
    assert not Path("runs").exists()
