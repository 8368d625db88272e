"""The circle: densities against integrals and SciPy, the order of the classes, and the verb on a small network."""

import dataclasses
import math
import re

import matplotlib.colors
import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image

from apps.classifiers.circle import figures as circle_figures
from apps.classifiers.circle.figures import PALETTE, Panel, _layout, _spread, cyclic_order, densities, draw, panel
from apps.classifiers.circle.gauges import in_every_gauge
from apps.command.config import Gauge
from apps.data import sources
from apps.models.activations import Activations
from apps.models.classifier_priors import wanted_prior
from apps.models.named import classifier
from priors import ClassifierPrior
from priors.errors import InputError
from priors.zoo import wrap


def prior_of(angles, kappa, names=None) -> ClassifierPrior:
    angles = torch.as_tensor(angles, dtype=torch.float64)
    return ClassifierPrior.from_weight(
        2 * torch.stack([angles.cos(), angles.sin()], 1), list(kappa), class_names=names
    ).double()


def random_weight(classes: int, seed: int) -> torch.Tensor:
    return torch.randn(classes, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Densities.


@pytest.mark.parametrize("kappa", [0, 0.01, 1, 20, 300, 1e4, 1e6])
def test_a_density_once_around_the_circle_integrates_to_one(kappa):
    angles, values = densities(prior_of([0.3, -2.9], [kappa, kappa]))
    assert torch.allclose(angles[:, -1] - angles[:, 0], torch.full((2,), 2 * math.pi, dtype=torch.float64))
    assert bool((angles.diff() > 0).all())
    assert torch.trapezoid(values, angles).sub(1).abs().max() < 1e-4


def test_a_density_is_scipys():
    angles, values = densities(prior_of([0.3, -2.9], [2.5, 70]))
    for mu, kappa, at, found in zip([0.3, -2.9], [2.5, 70], angles.numpy(), values.numpy(), strict=True):
        np.testing.assert_allclose(found, scipy.stats.vonmises.pdf(at, kappa, loc=mu), rtol=1e-9, atol=1e-13)


# The order of the classes.


@pytest.mark.parametrize("classes", [2, 3, 10, 37])
def test_the_order_is_the_same_turned_and_mirrored(classes):
    weight = random_weight(classes, classes)
    order = cyclic_order(weight)
    assert order[0] == 0 and sorted(order) == list(range(classes))
    for angle in np.linspace(0, 2 * math.pi, 11):
        turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        mirror = turn @ torch.diag(torch.tensor([1.0, -1.0]))
        assert cyclic_order(weight @ turn.double()) == cyclic_order(weight @ mirror.double()) == order


def test_the_order_is_that_of_the_circle():
    """Placed at known angles, in both directions."""
    placed = [0, 4, 7, 2, 9, 1, 3, 8, 6, 5]
    angles = torch.empty(10, dtype=torch.float64)
    angles[torch.tensor(placed)] = torch.linspace(0, 2 * math.pi, 11, dtype=torch.float64)[:-1] + 0.1
    weight = torch.stack([angles.cos(), angles.sin()], 1) * torch.linspace(0.1, 3, 10)[:, None]
    assert cyclic_order(weight) == (0, *placed[1:]) == (0, 4, 7, 2, 9, 1, 3, 8, 6, 5)
    assert cyclic_order(weight * torch.tensor([1, -1])) == (0, 4, 7, 2, 9, 1, 3, 8, 6, 5)
    swapped = weight.clone()
    swapped[[4, 5]] = weight[[5, 4]]  # the neighbours of 0: now 5 comes first, and the way round is the other one
    assert cyclic_order(swapped) == (0, 4, 6, 8, 3, 1, 9, 2, 7, 5)


# What is drawn.


@pytest.mark.parametrize("classes", [2, 10, 24])
def test_names_keep_their_order_and_their_distance(classes):
    angles = np.sort(np.random.default_rng(classes).uniform(0, 1.5, classes)) - 0.7
    spread = _spread(angles)
    start = np.searchsorted(angles, 0)  # places are counted from angle 0
    inorder = np.roll(spread, -start)
    gaps = np.diff(inorder, append=inorder[0] + 2 * math.pi)
    assert gaps.min() > 0.97 * min(math.radians(15), 0.9 * 2 * math.pi / classes)
    assert abs(gaps.sum() - 2 * math.pi) < 1e-9
    far = np.array([0.0, 1, 2, 4])
    np.testing.assert_allclose(_spread(far), far)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, (1, 1)), (4, (1, 4)), (5, (2, 3)), (6, (2, 3)), (7, (2, 4)), (8, (2, 4)), (9, (3, 3))]
)
def test_panels_are_laid_out_nearly_square(count, expected):
    assert _layout(count) == expected


def test_colours_can_be_told_apart_by_their_lightness():
    """In CIELAB, from the definition: dichromats see lightness as others do."""
    linear = np.array([matplotlib.colors.to_rgb(colour) for colour in PALETTE])
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    lightness = np.sort(116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16)
    assert len(set(PALETTE)) == 10 and np.diff(lightness).min() > 5 and 20 < lightness[0] and lightness[-1] < 82


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def found_for(prior: ClassifierPrior, count: int = 60) -> Activations:
    labels = torch.arange(count) % len(prior)
    drawn = prior.sample(labels, torch.Generator().manual_seed(0)).float() * 3
    return Activations(drawn, drawn @ prior.weight.T.float(), labels)


def test_a_panel_holds_its_own_concentrations_and_leaves_out_what_has_no_direction():
    prior = prior_of([0, 2, 4], [50, 50, 50])
    found = found_for(prior)
    found.penultimate[7] = 0
    one = panel("a network", prior, found, "norms")
    mean_norm = found.penultimate.double().norm(dim=1).mean()
    assert torch.allclose(one.prior.concentration, 2 * mean_norm.expand(3))
    assert one.without == 1 and len(one.angles) == len(one.labels) == 59 and one.accuracy > 0.95
    expected = np.arctan2(*found.penultimate[[0, 59]].double().numpy().T[::-1])
    np.testing.assert_allclose(one.angles[[0, -1]].numpy(), expected)
    with pytest.raises(InputError, match="zero for all images"):
        panel("a network", prior, Activations(found.penultimate * 0, found.logits, found.labels), 20.0)


def test_the_picture_has_every_panel(tmp_path):
    names = ("$x$", "_T-shirt/top", "auto $\\frac$")
    one = panel("step 1", prior_of([0, 2, 4], [1, 50, 5000], names), found_for(prior_of([0, 2, 4], [9, 9, 9])), 20.0)
    draw(tmp_path / "1.png", [one], "Dots.", 20)
    draw(tmp_path / "2.png", [one] * 2, "Dots.", 20)
    small, large = pixels(tmp_path / "1.png"), pixels(tmp_path / "2.png")
    assert large.shape[1] > 1.2 * small.shape[1]
    colours = set(map(tuple, large.reshape(-1, 3)))
    drawn = [tuple(round(255 * part) for part in matplotlib.colors.to_rgb(colour)) for colour in PALETTE[:3]]
    assert set(drawn) <= colours


def test_a_picture_comes_out_the_same_again(tmp_path):
    prior = prior_of(np.linspace(0, 6, 12), [40] * 12)
    one = Panel("a network", prior, torch.linspace(0, 6, 90).double(), torch.arange(90) % 12, 0.5, 0)
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, [one], "Dots.", 50, seed=3)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


# The verb.


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A run of two penultimate units with snapshots; not to be changed."""
    from apps.command.cli import main

    runs = tmp_path_factory.mktemp("flat")
    words = ["--arch", "mlp", "--penultimate", "2", "--epochs", "2", "--snapshots", "20", "0", "20", "--device", "cpu"]
    assert main(["train", "classifier", *words, "--threads", "1", "--runs", str(runs), "--name", "flat"]) == 0
    torch.set_num_threads(1)
    return runs / "flat"


def test_a_run_is_drawn_with_its_snapshots(penult, flat, tmp_path):
    said = penult("analyse", "circle", flat, "--out", "c.png", "--dots", 100, "--device", "cpu")
    assert said.status == 0, said.err
    rows = [line for line in said.out.splitlines() if line.startswith("step ")]
    assert [line.split("  ")[0] for line in rows] == ["step 0", "step 20", "step 45 (last)"]
    for line in rows:
        assert sorted(line.split()[-10:]) == list("0123456789") and line.split()[-10] == "0"
    assert pixels(tmp_path / "c.png").shape[1] > 800


def test_several_runs_are_drawn_side_by_side_with_a_number_for_the_concentration(penult, flat):
    words = [flat, flat / "snapshots" / "step-0", "--concentration", 30, "--out", "c.pdf", "--device", "cpu"]
    said = penult("analyse", "circle", *words)
    assert said.status == 0, said.err
    assert [line.split("  ")[0] for line in said.out.splitlines()[3:5]] == ["flat", "flat, step-0"]
    assert said.out.count("30 to 30") == 2


def test_one_network_is_drawn_in_every_gauge(penult, flat, monkeypatch):
    """Each panel's cosine is that of the prior that Python makes on the same images; the raw row has its directions."""
    drawn = []
    monkeypatch.setattr(circle_figures, "save", lambda figure, path: drawn.append(figure))
    monkeypatch.setattr(circle_figures, "_curves", lambda axes, one: (np.zeros(10), np.ones(10)))  # they take long
    said = penult("analyse", "circle", flat, "--every-gauge", "--out", "c.png", "--dots", 50, "--device", "cpu")
    assert said.status == 0, said.err
    rows = re.findall(r"^(raw|centred|whitened) +(weights|centred|fitted|means) +(\S+) ", said.out, re.M)
    titles = [axes.get_title() for axes in drawn[0].axes]
    assert titles == [f"{space}, {directions}" for space, directions, _ in rows] and len(titles) == 12
    corners = {
        (round(axes.get_subplotspec().colspan.start), axes.get_subplotspec().rowspan.start) for axes in drawn[0].axes
    }
    assert corners == {(column, row) for column in range(4) for row in range(3)}
    network, images = classifier(str(flat)), sources.load("digits", "test")
    with torch.no_grad():
        a = network.penultimate(images.images.float() / 255)
    given = {"activations": a, "labels": images.labels}
    for space, directions, cosine in rows:
        prior = ClassifierPrior.from_classifier(network, "mle", space=space, directions=directions, **given).double()
        there = torch.nn.functional.normalize(prior.space.bring(a.double()), dim=1)
        met = (there * prior.loc[images.labels]).sum(1)[there.norm(dim=1) > 0]
        assert float(cosine) == pytest.approx(float(met.mean()), abs=6e-4), (space, directions)
    caption = " ".join(drawn[0].get_supxlabel().split())
    assert "Gauges and likeliest concentrations" in caption and "are measured on all of them" in caption
    (legend,) = drawn[0].legends
    assert legend.get_texts()[-1].get_text() == "direction"


def test_a_gauge_that_cannot_be_had_leaves_its_place_empty(monkeypatch):
    """No two images of a class differ: nothing can be whitened."""
    weight = torch.tensor([[2.0, 0.3], [-1.0, 1.5], [-0.5, -2.0]])
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 3))
    network[1].weight.data.copy_(weight)
    labels = torch.arange(6) % 3
    found = Activations(weight[labels] + 1, (weight[labels] + 1) @ weight.T, labels)
    panels, without = in_every_gauge(wrap(network), found, wanted_prior(20.0, Gauge()))
    there = [one.title for one in panels if one is not None]
    assert len(panels) == 12 and "raw, means" in there and panels[8:] == [None] * 4
    (said,) = (reason for reason in without if reason.startswith("whitened"))
    assert said.startswith("whitened (weights, centred, fitted, means): ") and "differ" in said
    drawn = []
    monkeypatch.setattr(circle_figures, "save", lambda figure, path: drawn.append(figure))
    draw("x.png", panels, "Dots.", 6, columns=4)
    assert [axes.get_title() for axes in drawn[0].axes] == there


def test_the_mean_cosine_of_a_panel_is_in_closed_form():
    angles = torch.tensor([0.1, 2.3, 2.0, -0.2], dtype=torch.float64)
    one = Panel("a network", prior_of([0, 2], [3, 3]), angles, torch.tensor([0, 1, 1, 0]), 1.0, 0)
    assert one.mean_cosine == pytest.approx(np.cos([0.1, 0.3, 0, 0.2]).mean(), rel=1e-12)


def test_what_cannot_be_drawn_is_said(penult, flat, trained, tmp_path):
    cases = {
        (trained / "classifier",): "6 penultimate units and a circle takes 2",
        (trained / "hvae",): "is a generator",
        (flat, flat): "give --out",
        (flat, "--out", "c.gif"): "ends in .png",
        (flat, "--out", "c.png", "--concentration", "norm"): "did you mean 'norms'",
        (flat, "--out", "c.png", "--dots", "-1"): "--dots -1",
        (flat / "snapshots",): "is not a run",
        (): "MODELS is missing",
        (flat, "--every-gauge", "--space", "raw"): "--every-gauge with --space raw: leave one of them out",
        (flat, flat, "--every-gauge", "--out", "c.png"): "--every-gauge with 2 MODELs: it draws one network",
        (flat, "--every-gauge", "--concentration", "fitted", "--out", "c.png"): "fitted",
    }
    for words, expected in cases.items():
        said = penult("analyse", "circle", *words, "--device", "cpu")
        assert said.status == 2 and expected in said.err and said.err.count("\n") == 1, (words, said)
    assert not list(tmp_path.iterdir())
    (tmp_path / "c.png").write_bytes(b"mine")
    said = penult("analyse", "circle", flat, "--out", "c.png", "--device", "cpu")
    assert said.status == 2 and "--overwrite" in said.err and (tmp_path / "c.png").read_bytes() == b"mine"


def test_a_panel_in_a_gauge_shows_activations_in_its_space(tmp_path, monkeypatch):
    """Dots, arrows and words: of whitened activations, the fitted directions, and both by name."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    weight = torch.tensor([[2.0, 0.3], [-1.0, 1.5], [-0.5, -2.0]], dtype=torch.float64)
    rows = weight[labels] + 3 + torch.randn(300, 2, generator=generator, dtype=torch.float64) * torch.tensor([0.3, 1])
    given = {"activations": rows, "labels": labels}
    prior = ClassifierPrior.from_weight(weight, "fitted", space="whitened", directions="fitted", **given)
    one = panel("a network", prior, Activations(rows, rows @ weight.T, labels), "fitted")
    there = torch.linalg.solve(prior.space.factor, (rows - rows.mean(0)).T).T
    assert torch.allclose(one.angles, torch.atan2(there[:, 1], there[:, 0]), atol=1e-9)
    drawn = []
    monkeypatch.setattr("apps.classifiers.circle.figures.save", lambda figure, path: drawn.append(figure))
    papers = prior_of([0, 2, 4], [9, 9, 9])
    for prior, arrow, said in ((one.prior, "direction", "the classes' directions"), (papers, "weight", "w_i")):
        draw(tmp_path / "circle.png", [dataclasses.replace(one, prior=prior)], "Dots.", 50)
        (names,) = drawn[-1].legends
        assert names.get_texts()[-1].get_text() == arrow
        assert " ".join(drawn[-1].get_supxlabel().split()).endswith(f"Arrows: {said}.")
