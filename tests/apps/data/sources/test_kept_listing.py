"""What is kept beside a large folder: read again, made anew where files changed or it is damaged, found once."""

import json
import os
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from apps.data import image_set
from apps.data.image_set import channel_statistics
from apps.data.sources import image_files as reading
from apps.data.sources import kept_listing, load
from apps.fidelity.cache import _stamp
from priors.errors import InputError

COUNT = 6


def write(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def pictures(tmp_path):
    """A folder of two splits and two classes, whose names are no text in one case."""
    for split in ("train", "test"):
        for number in range(COUNT):
            name = os.fsdecode(b"\xe9.png") if number == 0 else f"{number}.png"
            write(tmp_path / "set" / split / "ab"[number % 2] / name, number)
    return tmp_path / "set"


@pytest.fixture
def kept(monkeypatch):
    """Folders as small as these are kept too."""
    monkeypatch.setattr(kept_listing, "KEPT_FROM", 1)


def found(folder, split="train"):
    images = load(folder, split, memory_limit=0)
    return images.digest, images.images.paths, images.labels.tolist(), images.image_shape, channel_statistics(images)


def refuse(*_, **__):
    raise AssertionError("what is known was looked at again")


def test_what_is_kept_is_what_is_found(pictures, monkeypatch):
    plain = found(pictures), found(pictures, "test")
    stamp = _stamp(load(pictures, memory_limit=0))
    assert not (pictures / ".penult").exists()
    monkeypatch.setattr(kept_listing, "KEPT_FROM", 1)
    assert (found(pictures), found(pictures, "test")) == plain
    assert sorted(path.name for path in (pictures / ".penult").iterdir()) == sorted(
        ["lock", "test.json", "test.safetensors", "train.json", "train.safetensors"]
    )
    monkeypatch.setattr(reading, "opened", refuse)
    monkeypatch.setattr(image_set, "_statistics", refuse)
    assert (found(pictures), found(pictures, "test")) == plain
    monkeypatch.setattr(os.path, "getsize", refuse)
    images = load(pictures, memory_limit=0)
    assert images.digest == plain[0][0] and _stamp(images) == stamp


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("change", ["added", "removed", "written", "renamed"])
def test_what_changed_is_looked_at_again(pictures, monkeypatch, change):
    before = found(pictures)
    path = pictures / "train" / "b" / "1.png"
    if change == "added":
        write(path.with_name("new.png"), 9)
    elif change == "removed":
        path.unlink()
    elif change == "renamed":
        path.rename(path.with_name("0.png"))
    else:  # of the same size and name, at another time
        size = path.stat().st_size
        Image.new("RGB", (4, 4), (255, 0, 0)).save(path)
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
        assert path.stat().st_size == size
    after = found(pictures)
    assert after != before
    monkeypatch.setattr(kept_listing, "KEPT_FROM", 10**9)
    assert after == found(pictures)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.safetensors", b""),
        ("train.safetensors", None),
        ("train.json", b"{"),
        ("train.json", b"[]"),
        ("train.json", "stale"),
        ("train.json", "wrong"),
    ],
)
def test_what_is_damaged_is_made_anew(pictures, name, content):
    expected, path = found(pictures), pictures / ".penult" / name
    whole = path.read_bytes()
    if content is None:
        content = bytearray(whole)
        content[-1] ^= 1
    elif content == "stale":
        content = json.dumps(json.loads(whole) | {"key": "0" * 32}).encode()
    elif content == "wrong":
        stored = json.loads(whole)
        stored["facts"] = dict.fromkeys(stored["facts"], [[1.0], "?"])
        content = json.dumps(stored).encode()
    path.write_bytes(content)
    assert found(pictures) == expected
    assert path.read_bytes() == whole


@pytest.mark.usefixtures("kept")
def test_a_folder_that_cannot_be_written_is_kept_elsewhere(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_listing.os, "access", lambda path, mode: False)
    monkeypatch.setenv("PENULT_CACHE", str(tmp_path / "cache"))
    expected = found(pictures)
    assert not (pictures / ".penult").exists() and len(list((tmp_path / "cache").rglob("train.json"))) == 1
    monkeypatch.setattr(reading, "opened", refuse)
    assert found(pictures) == expected
    monkeypatch.undo()
    (tmp_path / "file").touch()  # nothing can be written in it
    monkeypatch.setattr(kept_listing, "KEPT_FROM", 1)
    monkeypatch.setattr(kept_listing.os, "access", lambda path, mode: False)
    monkeypatch.setenv("PENULT_CACHE", str(tmp_path / "file"))
    assert found(pictures) == expected


@pytest.mark.usefixtures("kept")
def test_other_processes_of_a_launch_do_not_look(pictures, monkeypatch):
    expected = found(pictures)
    monkeypatch.setattr(kept_listing, "_looked", refuse)
    with pytest.raises(AssertionError):  # a process by itself looks: files may have changed
        found(pictures)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert found(pictures) == expected
    names = pictures / ".penult" / "train.safetensors"
    os.utime(names, (kept_listing._BEGUN - 5, kept_listing._BEGUN - 5))  # an earlier launch's
    with pytest.raises(AssertionError):
        found(pictures)


@pytest.mark.usefixtures("kept")
def test_facts_of_a_part_are_its_own(pictures):
    images = load(pictures, memory_limit=0)
    whole, part = channel_statistics(images), images.subset([0, 4])
    pixels = torch.stack([part.images.read(position) for position in range(2)]).double() / 255
    means, deviations = channel_statistics(part)
    assert means == pytest.approx(pixels.mean((0, 2, 3)).tolist()) and (means, deviations) != whole
    assert channel_statistics(images) == whole


@pytest.mark.usefixtures("kept")
def test_of_several_that_ask_at_once_one_looks(pictures, monkeypatch):
    images, calls, plain = load(pictures, memory_limit=0), [], image_set._statistics
    barrier = threading.Barrier(4, timeout=30)

    def slow(chunks, channels):
        calls.append(1)
        return plain(chunks, channels)

    monkeypatch.setattr(image_set, "_statistics", slow)
    results = []

    def ask():
        barrier.wait()
        results.append(channel_statistics(images))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == 4 and len(set(results)) == 1 and len(calls) == 1


@pytest.mark.usefixtures("kept")
def test_sizes_that_differ_are_refused_again_and_again(pictures):
    Image.new("RGB", (5, 4)).save(pictures / "train" / "b" / "1.png")
    for _ in range(2):
        with pytest.raises(InputError, match="differ in size"):
            load(pictures, memory_limit=0)
    assert load(pictures, image_size=4, memory_limit=0).image_shape == (3, 4, 4)
