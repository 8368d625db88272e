"""`--space` and `--directions` on every verb that reads a prior, against the prior that Python makes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from apps.command.config import Gauge
from apps.data import sources
from apps.data.outliers import outliers
from apps.models.classifier_priors import classifier_prior, read_prior
from apps.models.moments import run_through
from apps.models.named import classifier, generator_run
from priors import ClassifierPrior, InputError
from priors.fit.goodness_of_fit import cosine_fits

SPACES = ("raw", "centred", "whitened")
DIRECTIONS = ("weights", "centred", "fitted", "means")
GAUGES = [
    ("raw", "weights"),
    ("raw", "centred"),
    ("centred", "weights"),
    ("whitened", "fitted"),
    ("raw", "fitted"),
    ("whitened", "means"),
]


@pytest.fixture(scope="module")
def known(trained):
    """The classifier, and all activations of its training images with their labels."""
    network, images = classifier(str(trained / "classifier")), sources.load("digits", "train")
    with torch.no_grad():
        activations = network.penultimate(images.images.float() / 255)
    return network, {"activations": activations, "labels": images.labels}


@pytest.mark.parametrize(("space", "directions"), GAUGES)
def test_a_sweep_gives_what_all_activations_give(trained, known, space, directions):
    network, evidence = known
    concentration = "fitted" if directions == "fitted" else "mle"
    given = Gauge(space, directions)
    reading = read_prior(str(trained / "classifier"), [concentration], gauge=given, measure=True)
    expected = ClassifierPrior.from_classifier(network, concentration, space=space, directions=directions, **evidence)
    assert reading.prior.provenance == expected.provenance
    for one, other in zip(reading.prior.buffers(), expected.buffers(), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)
    by_class, pooled = cosine_fits(expected, **evidence)
    seen = reading.measured.seen
    assert int(seen.count.sum()) == pooled.samples == 1437
    assert float(seen.versine.mean()) == pytest.approx(1 - pooled.mean_cosine, rel=1e-4)
    for label, fit in enumerate(by_class):
        assert float(seen.resultant[label]) == pytest.approx(fit.resultant, rel=1e-5)


def test_directions_of_weights_alone_need_no_images(known, monkeypatch):
    """Of a network without images, centred directions are read; those that are measured ask for --data."""
    network, _ = known
    monkeypatch.setattr("apps.models.classifier_priors.classifier", lambda *_: network)
    prior = classifier_prior("import:mine", ["20"], gauge=Gauge(directions="centred"))
    rows = network.head.weight.double() - network.head.weight.double().mean(0)
    assert torch.allclose(prior.loc.double(), torch.nn.functional.normalize(rows, dim=1), atol=1e-6)
    for given, said in (
        (Gauge(directions="fitted"), "--directions fitted measures activations of import:mine: give --data"),
        (Gauge("whitened"), "--space whitened measures activations"),
        (Gauge("centred", "means"), "--space centred --directions means measures activations"),
    ):
        with pytest.raises(InputError, match=said):
            classifier_prior("import:mine", ["20"], gauge=given)


def test_the_table_says_the_gauge_and_the_file_keeps_it(penult, trained):
    words = ["--space", "whitened", "--directions", "fitted", "--out", "p.safetensors", "--device", "cpu"]
    said = penult("prior", trained / "classifier", *words)
    assert said.status == 0
    whole = " ".join(said.out.split())  # lines break where the folder's path lets them
    assert "fitted directions in the whitened space" in whole and "of the covariance shrunk)" in whole
    assert "concentration: fitted: ||s w_i + c||" in said.out
    prior = ClassifierPrior.load("p.safetensors")
    assert prior.provenance.gauge == "whitened, fitted" and bool((prior.norm > 0).all())
    again = penult("prior", "p.safetensors")
    assert again.status == 0 and "fitted directions in the whitened space" in again.out
    for words, message in (
        (("--directions", "means"), "--directions means with the prior in p.safetensors: it has no network to measure"),
        (("--space", "raw"), "--space raw with the prior in p.safetensors"),
        (("--concentration", "norms"), "--concentration norms with the prior in p.safetensors"),
    ):
        said = penult("prior", "p.safetensors", *words)
        assert said.status == 2 and message in said.err and said.err.count("\n") == 1


def test_a_generator_lives_on_the_gauges_sphere(penult, trained):
    shared = ["--data", "digits", "--device", "cpu", "--threads", "1", "--runs", "runs"]
    words = ["--classifier", trained / "classifier", "--latent-dim", 5, "--epochs", 0.2, "--kl-warmup", 0]
    given = ["--space", "centred", "--directions", "fitted", "--name", "centred"]
    assert penult("train", "hvae", *shared, *words, *given).status == 0
    model = generator_run("runs/centred")
    expected = classifier_prior(str(trained / "classifier"), [], gauge=Gauge("centred", "fitted"))
    assert torch.allclose(model.prior.loc, expected.loc, atol=1e-6)
    assert torch.allclose(model.prior.concentration, expected.concentration, rtol=1e-5)
    assert model.prior.provenance.gauge == "centred, fitted"
    stored = json.loads(Path("runs/centred/config.json").read_text())["config"]
    assert stored["space"] == "centred" and stored["directions"] == "fitted"
    assert penult("report", "runs/centred", "--out", "page.html", "--n", 1).status == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert "gauge (space, directions): centred, fitted" in page and "norm of its row in that gauge" in page
    assert penult("export", "runs/centred", "out").status == 0
    card = Path("out/README.md").read_text(encoding="utf-8")
    assert "| gauge (space, directions) | centred, fitted |" in card and "the weights' directions are" not in card
    said = penult("train", "hvae", *shared, *words, "--name", "centred")
    assert said.status == 2 and "directions: fitted before, None now" in said.err
    said = penult("train", "hvae", *shared, "--variant", "hvae", "--space", "raw")
    assert said.status == 2 and "--space raw is for --variant hvae-l" in said.err
    said = penult("train", "sngan", *shared, "--directions", "means")
    assert said.status == 2 and "--directions means is for --latent vmf" in said.err


@pytest.mark.parametrize(("space", "directions"), [("whitened", "weights"), ("raw", "means")])
def test_anomaly_scores_are_in_the_gauge(penult, trained, known, space, directions):
    network, evidence = known
    words = ["--against", "noise", "--images", 60, "--space", space, "--directions", directions, "--out", "found"]
    said = penult("analyse", "anomaly", trained / "classifier", *words, "--device", "cpu")
    assert said.status == 0
    prior = ClassifierPrior.from_classifier(network, "mle", space=space, directions=directions, **evidence).double()
    images = sources.load("digits", "test").images[:60]
    with torch.no_grad():
        inside = network.penultimate(images.float() / 255).double()
    expected = prior.log_prob(inside).amax(1)
    noise = outliers("noise", (1, 8, 8), 60, seed=0).images
    with torch.no_grad():
        outside = prior.log_prob(network.penultimate(noise.float() / 255).double()).amax(1)
    (entry,) = json.loads(Path("found/anomaly.json").read_text())
    assert (entry["space"], entry["directions"]) == (space, directions)
    truth = np.repeat([1, 0], [60, len(outside)])
    auroc = roc_auc_score(truth, torch.cat([expected, outside]))
    assert entry["scores"]["noise"]["direction, max"]["AUROC"] == pytest.approx(auroc, abs=1e-9)


def test_soft_labels_are_of_the_gauge(penult, trained):
    shared = ["--data", "digits", "--device", "cpu", "--threads", "1", "--runs", "runs", "--epochs", 0.1]
    words = ["ce+ckd", "--teacher", trained / "classifier", "--student", "mlp", *shared]
    said = penult("distill", *words, "--directions", "fitted", "--name", "fitted")
    assert said.status == 0
    said = penult("distill", "ce", "--student", "mlp", *shared, "--directions", "fitted")
    assert said.status == 2 and "takes no prior" in said.err and "--directions fitted" in said.err


def test_gauges_stand_side_by_side_on_held_out_images(penult, trained, known):
    """The third table against priors that Python makes; the advice is one of its rows, with its number."""
    network, evidence = known
    said = penult("prior", trained / "classifier", "--concentration", 9, "--device", "cpu")
    assert said.status == 0 and "the prior in each gauge, on 360 held-out images of digits" in said.out
    rows = re.findall(r"^(raw|centred|whitened) +(weights|centred|fitted|means) +(\S.*)$", said.out, re.M)
    assert [row[:2] for row in rows] == [(space, which) for space in SPACES for which in DIRECTIONS]
    images = sources.load("digits", "test")
    with torch.no_grad():
        activations = network.penultimate(images.images.float() / 255).double()
    logs = {}
    for space, directions, cells in rows:
        cosine, distance, density, *_, accuracy, _, _, numbers = re.sub(r" \+- ", "+-", cells).split()
        prior = ClassifierPrior.from_classifier(network, "mle", space=space, directions=directions, **evidence)
        prior = prior.double()
        there = torch.nn.functional.normalize(prior.space.bring(activations), dim=1)
        assert float(cosine) == pytest.approx(float((there * prior.loc[images.labels]).sum(1).mean()), abs=1e-3)
        found = prior.posterior(activations).argmax(1) == images.labels
        assert accuracy == f"{float(found.double().mean()):.2%}"
        assert 0 < float(distance) < 1 and int(numbers) >= 30
        logs[space, directions] = float(density)
    told = " ".join(said.out.split())
    (advice,) = re.findall(r"Take --space (\w+) --directions (\w+): .* is (-?[\d.]+) \+- ([\d.]+) nats", told)
    tied = {gauge: value for gauge, value in logs.items() if gauge[1] != "means"}
    assert logs[advice[:2]] >= max(tied.values()) - max(0.3, float(advice[3]))
    assert logs[advice[:2]] - logs["raw", "weights"] == pytest.approx(float(advice[2]), abs=0.2)


@pytest.mark.parametrize("words", [["--no-compare"], ["--no-measure"], ["--space", "raw"], ["--directions", "centred"]])
def test_gauges_are_compared_where_none_is_asked_for(penult, trained, words):
    said = penult("prior", trained / "classifier", "--device", "cpu", *words)
    assert said.status == 0 and "nearest class" in said.out and "in each gauge" not in said.out


PASSES = {
    "a number": (["--no-measure"], 0),
    "a strategy alone": (["--no-measure", "--concentration", "mle"], 1),
    "both tables and the gauges": ([], 2),
    "by a strategy": (["--concentration", "mle"], 2),
    "a space": (["--space", "whitened", "--directions", "fitted"], 3),
    "a space alone": (["--space", "centred", "--no-measure"], 2),
}


@pytest.mark.parametrize("case", PASSES)
def test_images_are_run_through_as_seldom_as_can_be(penult, trained, monkeypatch, case):
    words, expected = PASSES[case]
    passes = []

    def counting(*given, **wanted):
        passes.append(wanted)
        return run_through(*given, **wanted)

    monkeypatch.setattr("apps.models.classifier_priors.run_through", counting)
    assert penult("prior", trained / "classifier", "--device", "cpu", *words).status == 0
    assert len(passes) == expected
