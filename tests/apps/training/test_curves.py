"""The picture of a training: a panel a quantity, named as on the run's page, and nothing that cannot be seen."""

from pathlib import Path

import numpy as np
import pytest
import toys
import unseen
from PIL import Image

from apps.training import curves as module
from apps.training.curves import curves
from priors.errors import InputError

TOY = ("train", "toy", "--epochs", "2", "--batch-size", "12", "--device", "cpu", "--threads", "1", "--log-every", "2")


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture
def figure(monkeypatch, tmp_path):
    """`figure(entries)`: the panels of the picture."""

    def axes(entries):
        kept = []
        monkeypatch.setattr(module, "save", lambda drawn, _: kept.append(drawn))
        curves(tmp_path / "a.png", entries, "a run")
        return kept[0].axes

    return axes


def entries(steps=20) -> list[dict]:
    rows = [{"step": s, "train/loss": 1 / s, "train/constant": 2.3, "images/s": 9.0} for s in range(1, steps)]
    return rows + [{"step": s, "validation/loss": 2 / s, "validation/accuracy": s / 30} for s in range(5, steps, 5)]


def test_a_finished_run_has_its_curves(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "save", unseen.save)
    assert toys.penult(*TOY, "--runs", tmp_path, "--name", "run") == 0
    with Image.open(tmp_path / "run/curves.png") as drawn:
        assert drawn.width > 400 and np.array(drawn.convert("L")).std() > 10


def test_curves_show_a_panel_a_metric(tmp_path):
    """What never moves has no panel: with and without it the picture is the same."""
    curves(tmp_path / "a.png", entries(), "a run")
    curves(tmp_path / "b.png", [{k: v for k, v in e.items() if k != "train/constant"} for e in entries()], "a run")
    assert (read(tmp_path / "a.png") == read(tmp_path / "b.png")).all()
    curves(tmp_path / "c.png", [{k: v for k, v in e.items() if "accuracy" not in k} for e in entries()], "a run")
    assert read(tmp_path / "a.png").shape[1] == 2 * read(tmp_path / "c.png").shape[1]


@pytest.mark.parametrize("key", ["train/loss", "validation/loss", "validation/test accuracy"])
def test_a_single_entry_is_a_dot(tmp_path, key):
    """A line through one point is no line: as many coloured pixels in the panel as a dot has."""
    curves(tmp_path / "a.png", [{"step": 1, key: 3.0}])
    picture = read(tmp_path / "a.png").astype(int)
    coloured = (picture.max(-1) - picture.min(-1) > 60)[100:-100, 150:-150]
    assert 20 < coloured.sum() < 200


def test_scores_on_test_images_are_called_so(figure):
    found = figure([{"step": s, "train/cross-entropy": 1 / s, "validation/test cross-entropy": 2 / s} for s in (1, 2)])
    (axes,) = found
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "test"]
    assert (axes.get_title(), axes.get_ylabel(), axes.get_xlabel()) == ("cross-entropy", "nats", "step")


def test_each_set_of_images_has_a_colour_of_its_own(figure):
    """As a student has that is scored on held-out and on test images: two curves of one colour are told by nothing."""
    kinds = ("train/accuracy", "validation/accuracy", "validation/test accuracy")
    (axes,) = figure([{"step": s} | {kind: place + 0.1 * s for place, kind in enumerate(kinds)} for s in (1, 2)])
    assert [line.get_label() for line in axes.lines] == ["train", "validation", "test"]
    assert len({line.get_color() for line in axes.lines}) == 3


def test_distortion_and_reconstruction_are_one_panel(figure):
    """The bound's parts on training images are those on held-out ones, in nats, though logged with another sign."""
    found = figure(
        [
            {"step": 9, "train/distortion": 40.0, "train/weighted divergence": 0.5, "train/label": 2.3},
            {
                "step": 9,
                "validation/elbo": -54.1,
                "validation/reconstruction": -37.9,
                "validation/divergence": 13.9,
                "validation/log p(i)": -2.3,
            },
        ]
    )
    assert [(axes.get_title(), axes.get_ylabel()) for axes in found] == [
        ("ELBO", "nats an image"),
        ("reconstruction", "nats an image"),
        ("KL divergence", "nats an image"),
    ]
    values = {line.get_label(): float(line.get_ydata()[0]) for line in found[1].lines}
    assert values == {"train": -40.0, "validation": -37.9}
    assert "KL at its warm-up weight" in found[2].get_xlabel()


def test_no_curves_of_nothing(tmp_path):
    with pytest.raises(InputError, match="no metrics"):
        curves(tmp_path / "a.png", [{"step": 3, "images/s": 2.0}])
