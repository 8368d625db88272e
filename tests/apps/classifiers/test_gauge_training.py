"""`penult analyse gauges`: what is measured against closed forms and NumPy, the picture, and the verb on digits."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from apps.classifiers.gauges import figures as gauge_figures
from apps.classifiers.gauges.stages import GaugeStage, SumOfWeights, measure, sum_of_weights
from apps.data import sources
from priors import zoo
from priors.gauge.moments import ActivationMoments, DirectionMoments
from priors.vmf import mean_resultant_length

GAUGES = [f"{space}, {which}" for space in ("raw", "whitened") for which in ("weights", "centred", "fitted", "means")]
CPU = ("--device", "cpu", "--threads", 1)


def moments_of(eta: torch.Tensor) -> DirectionMoments:
    """Moments whose likeliest natural parameters are these: mean directions A(kappa_i) mu_i."""
    kappa = eta.norm(dim=1)
    count = torch.tensor([30, 50, 20, 40])
    mean = mean_resultant_length(eta.shape[1], kappa)[:, None] * normalize(eta, dim=1)
    none = torch.zeros(4, dtype=torch.float64)
    return DirectionMoments(count, none.long(), mean * count[:, None], none, none, none)


def test_a_shift_of_all_weights_is_found_again():
    """Activations in a gauge moved by a known c: its length and where it points come out exactly."""
    weight = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, row = weight.mean(0), weight.norm(dim=1).mean()
    activations = ActivationMoments(torch.tensor([1, 1, 1, 1]), weight.roll(1, 1), torch.eye(3))
    for shift in (-mean, 2 * activations.centre, torch.tensor([0.3, -1.0, 0.2], dtype=torch.float64)):
        found = sum_of_weights(weight, activations, moments_of(5 * (weight + shift)))
        assert found.mean_row == pytest.approx(float(mean.norm()))
        assert found.length == pytest.approx(float(mean.norm() / row))
        assert found.shift == pytest.approx(float(shift.norm() / row), rel=1e-8)
        for value, other in ((found.against_mean_row, -mean), (found.along_activations, activations.centre)):
            expected = float(shift @ other / shift.norm() / other.norm())
            assert value == pytest.approx(expected, abs=1e-8)
    none = sum_of_weights(weight, activations, moments_of(-5 * weight))
    assert none.length == found.length and math.isnan(none.shift) and math.isnan(none.against_mean_row)


def test_a_network_is_measured_as_numpy_does(trained):
    train, test = (sources.load("digits", split) for split in ("train", "test"))
    network = zoo.load(trained / "classifier").eval()
    found = measure(network, train, test, None, step=7, final="last")
    with torch.no_grad():
        known = network.penultimate(train.images.float() / 255).double().numpy()
        seen = network.penultimate(test.images.float() / 255).double().numpy()
    weight, bias = (part.detach().double().numpy() for part in (network.head.weight, network.head.bias))
    labels, own = train.labels.numpy(), test.labels.numpy()

    def directions(rows):
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    there = {
        "weights": weight,
        "centred": weight - weight.mean(0),
        "means": np.stack([directions(known)[labels == label].mean(0) for label in range(10)]),
    }
    for which, rows in there.items():
        expected = (directions(seen) * directions(rows)[own]).sum(1).mean()
        assert found.cosine[f"raw, {which}"] == pytest.approx(expected, rel=1e-5), which
    assert list(found.cosine) == GAUGES and list(found.above) == GAUGES[1:] and found.without == ()
    assert found.accuracy == pytest.approx(((seen @ weight.T + bias).argmax(1) == own).mean())
    assert found.total.length == pytest.approx(
        np.linalg.norm(weight.mean(0)) / np.linalg.norm(weight, axis=1).mean(), rel=1e-6
    )
    assert found.above["raw, fitted"][0] > found.above["raw, centred"][0] and (found.step, found.final) == (7, "last")


# The picture.


def moment(step, length, cosine=0.5) -> GaugeStage:
    above = {name: (1.0, 0.1) for name in GAUGES[1:]}
    return GaugeStage(step, "", 0.9, SumOfWeights(2 * length, length), dict.fromkeys(GAUGES, cosine), above, ())


def test_the_picture_shows_each_gauge_and_the_law(monkeypatch):
    drawn = []
    monkeypatch.setattr(gauge_figures, "save", lambda figure, path: drawn.append(figure))
    found = [moment(0, 0.3), moment(100, 0.2), moment(3000, 0.1)]
    gauge_figures.draw("x.png", {"$run$": found}, {"$run$": [0.6, 0.3, 0.15]})
    cosines, densities, sums = drawn[0].axes
    assert [list(line.get_xdata()) for line in cosines.lines] == [[0, 100, 3000]] * 8
    assert len(densities.lines) == 7 + 1 and sums.get_yscale() == "log"
    own, law = sums.lines
    np.testing.assert_allclose(own.get_ydata(), [0.3, 0.2, 0.1])
    np.testing.assert_allclose(law.get_ydata(), [0.3, 0.15, 0.075])
    assert [text.get_text() for text in sums.get_legend().get_texts()] == ["$run$", "by the law"]
    assert [tick for tick in cosines.get_xticks()] == [0, 100, 1000, 3000]
    # Several runs share one panel of sums; one moment, and one of no known step, are dots.
    others = {"a": [moment(None, 0.2)], "b": [moment(20, 0.1), moment(None, 0.1)]}
    gauge_figures.draw("x.png", others, {"a": [math.nan], "b": [math.nan] * 2})
    assert len(drawn[1].axes) == 5 and len(drawn[1].axes[-1].lines) == 2
    assert [text.get_text() for text in drawn[1].axes[-1].get_legend().get_texts()] == ["a", "b"]
    gauge_figures.draw("x.png", {"a": [moment(0, 0.0)]}, {"a": [math.nan]})  # no length for a logarithmic axis
    assert drawn[2].axes[-1].get_yscale() == "linear"


# The verb.


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """A run by momentum with decay, and snapshots; its files may be added to."""
    from apps.command.cli import main

    runs = tmp_path_factory.mktemp("followed")
    words = ["--penultimate", "6", "--epochs", "1", "--optimizer", "sgd", "--lr", "0.1", "--weight-decay", "0.02"]
    words += ["--snapshots", "0", "10", "--device", "cpu", "--threads", "1", "--runs", str(runs), "--name", "sgd"]
    assert main(["train", "classifier", *words]) == 0
    torch.set_num_threads(1)
    return runs / "sgd"


def test_a_run_is_followed_through_its_training(penult, followed):
    said = penult("analyse", "gauges", followed, *CPU)
    assert said.status == 0, said.err
    assert re.findall(r"^ *(0|10|22 \(last\)) ", said.out, re.M) == ["0", "10", "22 (last)"] * 2
    (entry,) = json.loads((followed / "gauges.json").read_text())
    assert (entry["data"], entry["images"]) == ("digits", 360)
    scores = entry["scores"]
    assert list(scores) == ["step 0", "step 10", "step 22"]
    for step, one in scores.items():
        rows = one["mean row"]
        assert rows["length"] == pytest.approx(rows["length by the law"], rel=1e-5)
        weight = zoo.load(
            followed if step == "step 22" else followed / "snapshots" / step.replace(" ", "-")
        ).head.weight
        assert rows["length"] == pytest.approx(float(weight.detach().double().mean(0).norm()), rel=1e-9)
        assert list(one["mean cosine"]) == GAUGES
    assert scores["step 22"]["mean row"]["length"] < 0.9 * scores["step 0"]["mean row"]["length"]
    last = json.loads((followed / "result.json").read_text())["test/accuracy"]
    assert scores["step 22"]["accuracy"] == pytest.approx(last, abs=1e-6)
    with Image.open(followed / "gauges.png") as image:
        assert image.format == "PNG" and image.size[0] > 1200
    assert penult("report", followed, "--out", "page.html").status == 0
    assert "The gauge of the prior through the training" in Path("page.html").read_text(encoding="utf-8")


def test_a_run_without_snapshots_is_shown_as_it_ended(penult, copied, followed, monkeypatch):
    run = copied("classifier")
    monkeypatch.setattr(gauge_figures, "save", lambda figure, path: Path(path).write_bytes(b"drawn"))
    said = penult("analyse", "gauges", run, followed, "--out", "two.pdf", *CPU)
    assert said.status == 0, said.err
    assert "has no snapshots" in said.out and "--snapshots 0 100 1000" in said.out
    assert len(json.loads((run / "gauges.json").read_text())[0]["scores"]) == 1
    assert len(json.loads((followed / "gauges.json").read_text())) == 1, "the same protocol in the same place"
    assert Path("two.pdf").read_bytes() == b"drawn" and not (run / "gauges.png").exists()
    again = penult("analyse", "gauges", run, "--out", "two.pdf", *CPU)
    assert again.status == 2 and "--overwrite" in again.err


def test_what_cannot_be_followed_is_one_line(penult, copied, followed, trained):
    (broken := copied("classifier")).joinpath("gauges.json").write_text('{"mine": 1}')
    cases = {
        (): "MODELS is missing",
        (followed, trained / "classifier"): "give --out",
        (followed, f"{followed}/"): "is given twice",
        (trained / "hvae",): "is a generator",
        (followed.parent,): "is not a run",
        ("torchvision:resnet18",): "unknown run",
        (followed, "--out", "c.gif"): "ends in .png",
        (followed, "--data", "mnits"): "did you mean 'mnist'",
        (broken,): "gauges.json is no list of evaluations",
    }
    for words, expected in cases.items():
        said = penult("analyse", "gauges", *words, "--device", "cpu")
        assert (said.status, said.out) == (2, "") and expected in said.err and said.err.count("\n") == 1, (words, said)
