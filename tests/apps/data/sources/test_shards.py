"""Shards: read as the webdataset library does, indexed, and what is wrong with them."""

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from insects import add, encoded, pixels, write_shards

from apps.data.sources import load
from apps.data.sources.shard_index import members
from apps.data.sources.shards import expanded
from priors.errors import InputError


def test_samples_are_those_that_webdataset_reads(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    folder = tmp_path / "odd"
    folder.mkdir()
    images, labels = pixels("train")
    with tarfile.open(folder / "train-0.tar", "w") as shard:
        add(shard, "__meta__", b"no sample")
        add(shard, "README", b"no sample")
        for number, name in enumerate(("deep/er/a", "b", "c", "./d")):
            add(shard, f"{name}.PNG", encoded(images[number]))
            add(shard, f"{name}.seg.png", encoded(images[number + 4]))
            add(shard, f"{name}.json", b"{}")
            add(shard, f"{name}.cls", str(labels[number]).encode())
    with tarfile.open(folder / "test-0.tar", "w") as shard:
        add(shard, "a.png", encoded(images[0]))
        add(shard, "a.cls", b"0")
    with open(folder / "train-0.tar", "rb") as file:  # the library leaves what it opens to the collector
        theirs = list(
            webdataset.tariterators.group_by_keys(
                webdataset.tariterators.tar_file_expander([{"url": "train-0.tar", "stream": file}])
            )
        )
    ours: dict = {}
    for member in members(folder / "train-0.tar"):
        ours.setdefault(member.key, []).append(member.extension)
    assert list(ours) == [sample["__key__"] for sample in theirs]
    for sample in theirs:
        assert ours[sample["__key__"]] == [name for name in sample if not name.startswith("__")]
    found = load(folder)
    assert torch.equal(found.images, torch.from_numpy(images[:4]).permute(0, 3, 1, 2))
    decoded = [np.asarray(Image.open(io.BytesIO(sample["png"]))) for sample in theirs]
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), np.stack(decoded))
    assert found.labels.tolist() == [int(sample["cls"]) for sample in theirs]


@pytest.mark.parametrize(
    "pattern", ["a", "{a,b}-{08..11}.tar", "x{0..3}{a,b}", "{train-{00..02},test-{3..4}}.tar", "{9..11}"]
)
def test_braces_are_expanded_as_webdataset_does(pattern):
    braceexpand = pytest.importorskip("braceexpand").braceexpand
    assert expanded(pattern) == list(braceexpand(pattern))


def test_an_index_is_kept_and_made_anew_where_a_shard_changed(tmp_path, monkeypatch):
    from apps.data.sources import shard_index

    monkeypatch.setattr(shard_index, "KEPT_FROM", 1)
    write_shards(tmp_path / "shards", names=False)
    first = load(tmp_path / "shards", memory_limit=0)
    assert list((tmp_path / "shards" / ".penult").glob("shards-*.safetensors"))

    def refuse(*_):
        raise AssertionError("looked again")

    with monkeypatch.context() as patch:
        patch.setattr(shard_index, "_looked", refuse)
        again = load(tmp_path / "shards", memory_limit=0)
    assert again.digest == first.digest and torch.equal(again.images.read_all(), first.images.read_all())
    write_shards(tmp_path / "shards", each=3, names=False)
    (tmp_path / "shards" / "train-003.tar").unlink()
    with pytest.raises(InputError, match="there is no shard .*train-003.tar"):
        load(f"wds:{tmp_path}/shards/{{train,test}}-{{000..003}}.tar", memory_limit=0)
    assert load(tmp_path / "shards", memory_limit=0).digest != first.digest
    for path in (tmp_path / "shards" / ".penult").glob("shards-*"):
        path.write_bytes(b"damaged")
    load(tmp_path / "shards", memory_limit=0)


def test_what_is_wrong_with_shards_is_one_line(tmp_path):
    write_shards(tmp_path / "shards", names=False)
    (tmp_path / "empty").mkdir()
    shard = tmp_path / "shards" / "train-000.tar"
    for given, said in {
        f"wds:{tmp_path}/empty": r"holds no shards \(\*.tar\)",
        f"wds:{tmp_path}/none-{{0..1}}.tar": "there is no shard .*none-0.tar",
        f"wds:{tmp_path}/shards/{{train}}.tar": "neither a range such as",
        f"wds:{tmp_path}/shards,label=txt": "no 00000.txt .found: png, cls",
        f"wds:{shard}": "no shards of the test split",
        "wds:https://somewhere/a.tar": "https is a stream",
        "wds:pipe:cat a.tar": "pipe is a stream",
    }.items():
        with pytest.raises(InputError, match=said):
            load(given, "test" if given.endswith("000.tar") else "train")
    content = shard.read_bytes()
    import gzip

    with tarfile.open(shard) as file:
        second = file.getmembers()[2].offset  # of the second sample
    broken = content[:second] + b"\xff" * 100 + content[second + 100 :]
    cut = (content[:700], content[:second], content[: second + 200])
    for damaged in (gzip.compress(content), b"no tar", *cut, broken):
        shard.write_bytes(damaged)
        with pytest.raises(InputError, match="train-000.tar"):
            load(tmp_path / "shards")
    shard.write_bytes(content)
    lazy = load(tmp_path / "shards", memory_limit=0)
    shard.write_bytes(content[:600])
    with pytest.raises(InputError, match=r"00000 in .*train-000.tar is cut off|damaged"):
        lazy.images.read(0)


def test_a_number_is_no_class_where_training_images_have_names(tmp_path):
    def shard(split: str, labels: tuple[str, ...]) -> None:
        with tarfile.open(tmp_path / f"{split}.tar", "w") as file:
            for number, label in enumerate(labels):
                add(file, f"{number}.png", encoded(pixels("train")[0][number]))
                add(file, f"{number}.cls", label.encode())

    shard("train", ("cat", "0", "cat"))
    shard("test", ("0", "1"))
    for split in ("train", "test"):
        with pytest.raises(InputError, match="class '1' of its split test is none of the training images'"):
            load(tmp_path, split)
    shard("test", ("0", "0"))
    assert load(tmp_path, "test").labels.tolist() == [0, 0]
    shard("train", ("0", "1", "0"))
    shard("test", ("0", "9" * 30))
    with pytest.raises(InputError, match="label 9+ of image 1 of its split test, expected 0 to 1"):
        load(tmp_path)
