"""A finished training draws its curves."""

import numpy as np
import toys
import unseen
from PIL import Image

from apps import figures

TOY = ("train", "toy", "--epochs", "2", "--batch-size", "12", "--device", "cpu", "--threads", "1", "--log-every", "2")


def test_a_finished_run_has_its_curves(monkeypatch, tmp_path):
    monkeypatch.setattr(figures, "save", unseen.save)
    assert toys.penult(*TOY, "--runs", tmp_path, "--name", "run") == 0
    with Image.open(tmp_path / "run/curves.png") as drawn:
        assert drawn.width > 400 and np.array(drawn.convert("L")).std() > 10
