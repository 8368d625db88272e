"""`penult prior`: its two tables, and concentrations that are measured."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import special, stats

from apps.data import sources
from apps.models.classifier_priors import classifier_prior, concentrations, read_prior
from apps.models.named import classifier, generator_run
from priors import ClassifierPrior
from priors.errors import InputError

ROW = re.compile(r"^(\S.*?) +(\d[\d,]*)((?: +(?:-|\d\S*)){7})$", re.M)


def fits(text: str) -> dict[str, list[float]]:
    """Rows of the second table by class: images, R, cosine, expected, KS, norms, mle, KS of mle; NaN for a dash."""
    rows = {name: [images.replace(",", ""), *rest.split()] for name, images, rest in ROW.findall(text)}
    return {name: [math.nan if cell == "-" else float(cell) for cell in row] for name, row in rows.items()}


@pytest.fixture
def by_hand(trained):
    """Cosines of the training images' activations with their classes' weights, and labels, with NumPy."""
    network, images = classifier(str(trained / "classifier")), sources.load("digits", "train")
    with torch.no_grad():
        activations = network.penultimate(images.images.float() / 255).double().numpy()
    weight, labels = network.head.weight.detach().double().numpy(), images.labels.numpy()
    units = activations / np.linalg.norm(activations, axis=1, keepdims=True)
    cosines = (units * weight[labels] / np.linalg.norm(weight[labels], axis=1, keepdims=True)).sum(1)
    return units, cosines, labels


def vmf_cdf(m: int, kappa: float):
    """Of the cosine, on a fine grid of angles."""
    angle = np.linspace(0, math.pi, 200_001)
    density = np.sin(angle) ** (m - 2) * np.exp(kappa * (np.cos(angle) - 1))
    below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return lambda cosine: 1 - np.interp(np.arccos(cosine), angle, below / below[-1])


def test_the_second_table_against_numpy_and_scipy(penult, trained, by_hand):
    units, cosines, labels = by_hand
    said = penult("prior", trained / "classifier", "--concentration", 9)
    assert said.status == 0 and all(len(line) <= 100 for line in said.out.splitlines())
    assert "1,437 training images of digits" in said.out
    rows = fits(said.out)
    assert list(rows) == [*map(str, range(10)), "all, pooled"]
    prior = classifier_prior(str(trained / "classifier"), ["norms"])
    likeliest = classifier_prior(str(trained / "classifier"), ["mle"]).concentration.tolist()
    for label in range(10):
        own = labels == label
        images, resultant, cosine, expected, distance, norms, mle, mle_distance = rows[str(label)]
        assert images == own.sum()
        assert resultant == pytest.approx(np.linalg.norm(units[own].mean(0)), abs=6e-4)
        assert cosine == pytest.approx(cosines[own].mean(), abs=6e-4)
        assert expected == pytest.approx(special.ive(3, 9.0) / special.ive(2, 9.0), abs=6e-4)
        assert distance == pytest.approx(stats.kstest(cosines[own], vmf_cdf(6, 9.0)).statistic, abs=6e-4)
        assert norms == pytest.approx(float(prior.concentration[label]), rel=1e-3)
        assert mle == pytest.approx(likeliest[label], rel=1e-3)
        assert mle_distance == pytest.approx(
            stats.kstest(cosines[own], vmf_cdf(6, likeliest[label])).statistic, abs=6e-4
        )
        if mle:
            length = special.ive(3, likeliest[label]) / special.ive(2, likeliest[label])
            assert length == pytest.approx(cosines[own].mean(), abs=1e-5)
    pooled = float(classifier_prior(str(trained / "classifier"), ["mle-pooled"]).concentration[0])
    assert rows["all, pooled"][0] == 1437 and rows["all, pooled"][6] == pytest.approx(pooled, rel=1e-3)
    assert special.ive(3, pooled) / special.ive(2, pooled) == pytest.approx(cosines.mean(), abs=1e-5)


@pytest.mark.parametrize("way", ["mle", "mle-pooled"])
def test_measured_concentrations_are_kept(penult, trained, way):
    words = ["prior", trained / "classifier", "--concentration", way, "--out", "p.safetensors", "--device", "cpu"]
    said = penult(*words)
    assert said.status == 0 and f"concentration: {way}: " in said.out
    prior = ClassifierPrior.load("p.safetensors")
    assert prior.provenance.concentration.startswith(f"{way}: ")
    assert len(set(prior.concentration.tolist())) == (1 if way == "mle-pooled" else 10)


def test_a_generator_measures_its_classifier(penult, trained):
    words = ["--latent-dim", 5, "--epochs", 0.05, "--device", "cpu", "--name", "mine", "--concentration", "mle"]
    assert penult("train", "hvae", "--classifier", trained / "classifier", *words).status == 0
    expected = classifier_prior(str(trained / "classifier"), ["mle"]).concentration
    torch.testing.assert_close(generator_run("runs/mine").prior.concentration, expected)


def test_a_generator_gives_the_prior_of_its_latents(penult, trained, tmp_path):
    """That of HVAE-L is its classifier's, which other generators can then be trained with."""
    words = ["--against", trained / "classifier", "--out", tmp_path / "kept.safetensors"]
    shown = penult("prior", trained / "hvae-l", *words)
    assert "over 45 pairs of classes: correlation 1.000" in shown.out
    assert "10 classes on the unit sphere of R^6" in shown.out and "images" not in shown.out, "nothing is measured"
    kept = ClassifierPrior.load(tmp_path / "kept.safetensors")
    theirs = classifier_prior(str(trained / "classifier"), ("20",))
    assert torch.equal(kept.weight, theirs.weight) and torch.equal(kept.concentration, theirs.concentration)
    assert classifier_prior(str(trained / "hvae-l"), ("7",)).concentration.tolist() == [7.0] * 10


def test_what_is_not_measured(penult, trained, copied, monkeypatch):
    """Nothing but the weights is looked at: with --no-measure, for a saved prior, for a network without --data."""
    (Path("mine.py")).write_text("import torch\ndef network():\n    return torch.nn.Sequential(torch.nn.Linear(64, 3))")
    assert penult("prior", trained / "classifier", "--out", "p.safetensors").status == 0
    monkeypatch.setattr("apps.models.classifier_priors.run_through", None)
    for words in (["p.safetensors"], ["import:mine:network"], [trained / "classifier", "--no-measure"]):
        said = penult("prior", *words)
        assert said.status == 0 and "nearest class" in said.out and "directions of the activations" not in said.out


NETWORK = """
import torch
class Network(torch.nn.Module):
    def __init__(self, bias):
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.last = torch.nn.Linear(64, 4), torch.nn.Linear(4, 3)
        self.hidden.bias.data.fill_(bias)
    def forward(self, images):
        return self.last(self.hidden(images.flatten(1)).relu())
def fine():
    return Network(1.0)
def dead():
    return Network(-1e6)
def diverged():
    return Network(float("inf"))
"""


@pytest.fixture
def of_three(tmp_path, monkeypatch):
    """Networks of three classes, and a data set whose third class has no training images."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "of_three.py").write_text(NETWORK)
    images = np.random.default_rng(0).integers(1, 256, (20, 8, 8), np.uint8)
    labels, names = np.arange(20), np.array(["0", "1", "2"])
    for name, of in (("whole", labels % 3), ("lacking", labels % 2)):
        np.savez(tmp_path / f"{name}.npz", x_train=images, y_train=of, x_test=images, y_test=labels % 3, classes=names)


@pytest.mark.parametrize("way", ["mle", "mle-pooled", "norms", "20"])
def test_a_class_without_images_is_named(penult, of_three, way):
    words = ["prior", "import:of_three:fine", "--data", "lacking.npz", "--concentration", way]
    said = penult(*words, "--out", "p.safetensors")
    assert (said.status, said.out) == (2, "") and not Path("p.safetensors").exists()
    assert "class 2 (2) has no training images" in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("network", "way", "said_of_it"),
    [
        ("dead", "mle", "'mle' of class '0': activations are all zero"),
        ("dead", "mle-pooled", "activations of all classes are zero"),
        ("dead", "norms", "mean norm of the activations is 0"),
        ("diverged", "mle", "not finite"),
        ("diverged", "20", "not finite"),
    ],
)
def test_activations_that_say_nothing(penult, of_three, network, way, said_of_it):
    words = ["prior", f"import:of_three:{network}", "--data", "whole.npz", "--concentration", way]
    said = penult(*words)
    assert (said.status, said.out) == (2, "") and said_of_it in said.err and said.err.count("\n") == 1


def test_dead_activations_are_shown_as_such(penult, of_three):
    said = penult("prior", "import:of_three:dead", "--data", "whole.npz")
    assert said.status == 0 and "20 images with zero activations are left out" in " ".join(said.out.split())
    assert all(row[0] == 0 for row in fits(said.out).values())
    assert "The gauges cannot be compared" in said.out


WRONG = {
    "strategy": (["{run}", "--concentration", "mel"], "did you mean 'mle'"),
    "number beside a strategy": (["{run}", "--concentration", "mle", "3"], "give numbers, or one strategy"),
    "saved prior": (["p.safetensors", "--concentration", "mle"], "no network to measure"),
    "data of a saved prior": (["p.safetensors", "--data", "digits"], "no network to measure"),
    "no data": (["import:of_three:fine", "--concentration", "mle"], "give --data"),
    "other images": (["{run}", "--data", "whole.npz"], "--no-measure"),
    "other images of a strategy": (["{run}", "--data", "whole.npz", "--concentration", "mle"], "must agree"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_measured(penult, trained, of_three, case):
    words, expected = WRONG[case]
    classifier_prior(str(trained / "classifier"), ()).save("p.safetensors")
    said = penult("prior", *(word.format(run=trained / "classifier") for word in words))
    assert (said.status, said.out) == (2, "") and expected in said.err and said.err.count("\n") == 1, said.err


def test_words_of_concentrations():
    assert concentrations(()) is None and concentrations(["mle-pooled"]) == "mle-pooled"
    assert concentrations(["5"]) == 5.0 and concentrations(["5", 6.0]) == [5.0, 6.0]
    with pytest.raises(InputError, match="penult prior MODEL --concentration sweep:1,2 --for hvae-l --out"):
        concentrations(["sweep:1,2"])


def test_a_reading_says_what_was_measured(trained):
    reading = read_prior(str(trained / "classifier"), ["5"], measure=True)
    assert reading.measured.seen.versine.shape == (1437,) and reading.measured.moments.total.shape == (10, 6)
    assert reading.measured.images == "1,437 training images of digits"
    assert read_prior(str(trained / "classifier"), ["5"]).measured is None
    assert read_prior(str(trained / "classifier"), ["mle"], measure=True).measured is not None
    assert read_prior(str(trained / "classifier"), ["mle"]).measured is None, "what is not asked for takes no pass"


def test_a_module_of_ones_own_has_the_names_of_the_images(penult, tmp_path):
    (tmp_path / "nameless.py").write_text(
        "import torch\nfrom torch import nn\ndef network():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))\n"
    )
    images, labels = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8), np.arange(60) % 3
    sets = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez("pets.npz", **sets, classes=["ant", "bee", "cow"])
    said = penult("prior", "import:nameless:network", "--data", "pets.npz")
    assert said.status == 0 and len(re.findall(r"^(?:ant|bee|cow) ", said.out, re.M)) == 6
