"""Features of real images are taken once, and never taken from a file that is not quite the right one."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

import nets

from apps.data.sources.folder import read_pictures
from apps.data.sweep import sweep
from apps.fidelity.cache import cache_folder, cached_features
from apps.fidelity.features import features_of
from priors.errors import InputError
from priors.files.tensors import read_tensors, write_tensors


@pytest.fixture
def extractor(tmp_path):
    return nets.extractor(tmp_path / "classifier")


@pytest.fixture
def taken(extractor, tmp_path):
    """`taken(images, ...)`: features by way of the cache, and whether they were computed."""

    def take(images, extractor=extractor):
        calls = []

        def extract(pixels):
            calls.append(len(pixels))
            return extractor.network.penultimate(pixels / 255), torch.zeros(len(pixels), 4)

        found = cached_features(images, replace(extractor, extract=extract), sweep, tmp_path / "cache")
        return found, bool(calls)

    return take


def file(folder):
    (path,) = (folder / "cache").iterdir()
    return path


def test_the_second_time_they_are_read(taken, extractor, tmp_path):
    images = nets.images()
    first, computed = taken(images)
    assert computed and torch.allclose(first.features, features_of(images, extractor, sweep).features, atol=1e-6)
    again, computed = taken(images)
    assert not computed and torch.equal(again.features, first.features)
    assert (again.name, again.split, again.digest) == ("noise", "train", images.digest)
    assert file(tmp_path).suffix == ".safetensors", "nothing else is left there"


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "rows", "identity", "text"])
def test_a_damaged_file_is_made_anew(taken, tmp_path, damage):
    images = nets.images()
    first, _ = taken(images)
    path = file(tmp_path)
    content = bytearray(path.read_bytes())
    tensors, metadata = read_tensors(path)
    if damage == "rows":
        write_tensors(path, {"features": tensors["features"][:-1]}, metadata)
    elif damage == "identity":
        write_tensors(path, tensors, metadata | {"identity": "{}"})
    else:
        content[-5] ^= 1
        damaged = {"cut": content[:-7], "bit": content, "empty": b"", "text": b"features"}[damage]
        path.write_bytes(bytes(damaged))
    again, computed = taken(images)
    assert computed and torch.equal(again.features, first.features)
    assert not taken(images)[1]


@pytest.mark.parametrize("change", ["pixels", "split", "weights", "layer", "preprocessing"])
def test_another_thing_is_another_file(taken, extractor, tmp_path, change):
    images = nets.images()
    taken(images)
    if change == "pixels":
        images = replace(images, images=images.images.clone().index_fill_(0, torch.tensor([3]), 9))
    elif change == "split":
        images = replace(images, split="test")
    elif change == "weights":
        extractor = nets.extractor(tmp_path / "other", seed=1)
    elif change == "layer":
        extractor = replace(extractor, layers=("stage", "logits"))
    else:
        extractor = replace(extractor, preprocessing="another")
    assert taken(images, extractor)[1] and len(list((tmp_path / "cache").iterdir())) == 2


def test_pictures_that_stay_in_files_are_known_by_when_they_were_written(taken, tmp_path):
    """Their digest is of names and sizes; uncompressed files of other content have the same."""
    folder = tmp_path / "pictures/deep"
    folder.mkdir(parents=True)
    for number, pixels in enumerate(nets.images(12).images):
        Image.fromarray(pixels[0].numpy()).save(folder / f"{number}.bmp")
    images = read_pictures(folder.parent, image_size=None, memory_limit=0)
    assert not images.in_memory and images.image_shape == nets.SHAPE
    first, _ = taken(images)
    assert not taken(images)[1]
    before = os.stat(folder / "3.bmp")
    Image.fromarray(nets.images(1, seed=9).images[0, 0].numpy()).save(folder / "3.bmp")
    assert os.stat(folder / "3.bmp").st_size == before.st_size
    os.utime(folder / "3.bmp", ns=(before.st_mtime_ns + 10**9,) * 2)
    images = read_pictures(folder.parent, image_size=None, memory_limit=0)
    again, computed = taken(images)
    changed = (again.features != first.features).any(1)
    names = sorted(f"{number}.bmp" for number in range(12))
    assert computed and changed.tolist() == [name == "3.bmp" for name in names]


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.delenv("PENULT_CACHE", raising=False)
    assert cache_folder(tmp_path) == tmp_path / "fidelity"
    monkeypatch.setenv("PENULT_CACHE", str(tmp_path / "elsewhere"))
    assert cache_folder(tmp_path) == tmp_path / "elsewhere"
    (tmp_path / "elsewhere").write_text("")
    with pytest.raises(InputError, match="elsewhere is a file"):
        cache_folder(tmp_path)


def test_scores_are_not_lost_with_a_full_disk(taken, monkeypatch, capsys):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("apps.fidelity.cache.write_tensors", full)
    found, computed = taken(nets.images())
    assert computed and len(found) == 120
    assert "could not be kept" in capsys.readouterr().out
