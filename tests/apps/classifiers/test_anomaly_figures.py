"""Pictures of scores and of calibration: everything is drawn, whatever the scores are like."""

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.directions.calibration import calibration
from apps.classifiers.anomaly import figures as module
from apps.classifiers.anomaly.figures import _density, _edges, histograms, reliability
from apps.figures import save


def has(path, colour: str) -> bool:
    """Whether some pixel is of that colour."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return bool((pixels == [int(colour[place : place + 2], 16) for place in (1, 3, 5)]).all(-1).any())


def test_every_set_is_drawn_in_a_colour_of_its_own(tmp_path):
    stream = torch.Generator().manual_seed(0)
    inside = {f"score {number}": torch.randn(500, generator=stream).double() for number in range(4)}
    outside = {
        name: {score: values + shift for score, values in inside.items()}
        for name, shift in (("noise", 2.0), ("a folder/with a very long/path to it.npz", -30.0))
    }
    notes = {"noise": {"score 0": "(AUROC 50 %)"}}
    quantities = dict.fromkeys(inside, "nats")
    histograms(tmp_path / "a.png", ("mnist", inside), outside, notes, quantities, "scores")
    assert has(tmp_path / "a.png", "#56B4E9") and has(tmp_path / "a.png", "#D55E00")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1500 and picture.height > 800


@pytest.mark.parametrize("outside", [0.0, 5.0, 1e9])
def test_scores_that_are_all_alike_or_far_away_are_drawn(tmp_path, outside):
    inside = {"one": torch.zeros(20, dtype=torch.float64)}
    others = {"noise": {"one": torch.full((20,), outside, dtype=torch.float64)}}
    histograms(tmp_path / "a.png", ("mnist", inside), others, {}, {"one": "nats"})
    assert has(tmp_path / "a.png", "#56B4E9")


def test_tails_are_counted_into_the_outermost_bins():
    inside = torch.linspace(0, 1, 1001, dtype=torch.float64)
    far = torch.cat([inside, torch.full((20,), -1e6, dtype=torch.float64)])
    edges = _edges(inside, [far])
    assert -1.6 < edges[0] < -1.4 and edges[-1] == pytest.approx(0.995)
    heights = _density(far, edges)
    assert heights[1:-1].max() == 1 and heights[0] == pytest.approx(20 / np.histogram(inside, edges)[0].max())
    assert _density(torch.cat([far, far[-20:].repeat(9)]), edges)[0] == 1, "cut off"


def test_reliability_is_drawn_with_empty_bins(tmp_path):
    log_p = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], dtype=torch.float64).log()
    found = calibration(log_p, torch.tensor([0, 1, 1]))
    reliability(tmp_path / "a.png", {"softmax": found, "q(i|a)": found}, "digits")
    assert has(tmp_path / "a.png", "#D55E00") and has(tmp_path / "a.png", "#999999")


def test_a_panel_says_whose_scores_and_how_many(monkeypatch, tmp_path):
    """The legend names a set by the end of its path, and the heights have an axis."""
    kept = []
    monkeypatch.setattr(module, "save", lambda figure, _: kept.append(figure))
    values = {"one": torch.arange(20, dtype=torch.float64)}
    others = {name: values for name in ("/data/of/one/test.npz", "/data/of/two/test.npz")}
    notes = {"/data/of/two/test.npz": {"one": "(AUROC 50.0 %)"}}
    histograms(tmp_path / "a.png", ("mnist", values), others, notes, {"one": "nats"})
    (axes,) = kept[0].axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["mnist", "one/test.npz", "two/test.npz (AUROC 50.0 %)"]
    assert axes.get_ylabel() and list(axes.get_yticks()) == [0, 0.5, 1]


def test_names_stand_as_they_are(monkeypatch, tmp_path):
    """A dollar begins no formula, which may be none that can be drawn, and a line below hides no name."""
    kept = []
    monkeypatch.setattr(module, "save", lambda figure, path: kept.append(figure) or save(figure, path))
    values, names = {"one": torch.arange(20, dtype=torch.float64)}, ("_mine", "$\\frac$", "a$b$")
    histograms(
        tmp_path / "a.png", (names[0], values), dict.fromkeys(names[1:], values), {}, {"one": "nats"}, "$\\frac$"
    )
    found = calibration(torch.tensor([[0.9, 0.1]], dtype=torch.float64).log(), torch.tensor([0]))
    reliability(tmp_path / "b.png", {"softmax": found}, "on $\\frac$")
    assert tuple(text.get_text() for text in kept[0].axes[0].get_legend().get_texts()) == names
