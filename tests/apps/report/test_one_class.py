"""Generators of a single class: they are drawn, and nothing lies between classes."""

import numpy as np
import pytest

from apps.generators.hvae import HVAE, HVAEC
from apps.generators.latents import Gaussian
from apps.generators.sngan import SNGAN
from apps.generators.sngan_presets import architecture
from apps.report.contents import _samples

SHAPE = (1, 8, 8)


def one_class(kind):
    """An untrained generator of the class "only"."""
    if kind is SNGAN:
        return SNGAN(architecture("sngan-projection", (1, 32, 32), 4, 4), ("only",), Gaussian(5)).eval()
    return kind(SHAPE, 4, ("only",), (6,)).eval()


@pytest.mark.parametrize(("kind", "means"), [(HVAEC, True), (SNGAN, False)])
def test_a_single_class_has_samples_and_nothing_between(kind, means):
    found = _samples(one_class(kind), 3, 0)
    assert [row.name for row in found.rows] == ["only"] and (found.count, found.classes) == (3, 1)
    assert found.interpolations == () and found.means is means


def test_a_model_without_classes_goes_from_draw_to_draw():
    found = _samples(one_class(HVAE), 2, 0)
    assert found.classes is None and found.means and len(found.interpolations) == 5


def test_the_page_of_a_single_class(penult, tmp_path):
    stream = np.random.default_rng(0)
    arrays = {
        f"{array}_{split}": values
        for split, count in (("train", 60), ("test", 20))
        for array, values in (
            ("x", stream.integers(0, 256, (count, 8, 8), dtype=np.uint8)),
            ("y", np.zeros(count, np.int64)),
        )
    }
    np.savez("one.npz", **arrays, classes=np.array(["only"]))
    words = ("--data", "one.npz", "--latent-dim", 4, "--epochs", 1, "--device", "cpu", "--threads", 1)
    assert penult("train", "hvae", "--variant", "hvae-c", *words, "--name", "one").status == 0
    assert penult("report", "runs/one", "--n", 2, "--out", "one.html").status == 0
    text = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert "Samples by class" in text and "Mean images" in text and "From class to class" not in text
    assert penult("sample", "runs/one", "--interpolate", "0,0", "--out", "stays.png").status == 0
    refused = penult("sample", "runs/one", "--steps", 3, "--out", "between.png")
    assert refused.status == 2 and "has one class, so there is nothing between classes" in refused.err
