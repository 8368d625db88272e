"""What is packed comes out as it went in."""

import json

import numpy as np
import pack
import pytest

from apps.data import sources

SHAPES = {"mnist": (28, 28), "cifar10": (32, 32, 3)}


@pytest.fixture
def root(tmp_path):
    """Data sets of noise."""
    folder, source = tmp_path / "data", np.random.default_rng(0)
    folder.mkdir()
    for name, shape in SHAPES.items():
        images, labels = source.integers(0, 256, (130, *shape), np.uint8), np.arange(130) % 10
        np.savez(folder / f"{name}.npz", x_train=images, y_train=labels, x_test=images[::-1], y_test=labels[::-1])
    return folder


def test_packed_sets_are_read_as_they_were(root, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "_IN_ONE", 110)  # so that there are two mosaics, the last row of each cut short
    size = pack.pack(tmp_path / "packed", root, {name: (125, 12) for name in SHAPES}, wheels=())
    assert size == sum(path.stat().st_size for path in (tmp_path / "packed").iterdir())
    told = pack.unpack(tmp_path / "packed", tmp_path / "there")
    assert told["sets"]["mnist"] == {"shape": [1, 28, 28], "train": 125, "test": 12}
    assert json.loads((tmp_path / "packed" / "pack.json").read_text())["commit"] == told["commit"]
    for name in SHAPES:
        for split, count in (("train", 125), ("test", 12)):
            before, after = (sources.load(name, split, root=place) for place in (root, tmp_path / "there" / "data"))
            assert before.images[:count].equal(after.images) and before.labels[:count].equal(after.labels)


def test_a_mosaic_keeps_every_image_apart():
    images = np.random.default_rng(0).integers(0, 256, (203, 1, 3, 5), np.uint8)
    picture = pack.mosaic(images)
    assert picture.size == (500, 9) and np.array_equal(pack.cut(picture, 203, (1, 3, 5)), images)
