"""Data sets by name: the table, digits, torchvision's sets, and what is said when there is none."""

import gzip
import os
import struct
import subprocess
import sys

import filelock
import numpy as np
import pytest
import torch
import torchvision

from apps.data.listing import list_datasets
from apps.data.sources import load
from apps.data.sources.catalogue import DATASETS
from priors.errors import InputError


def test_listing_names_loads_no_library():
    code = (
        "import apps.data.sources, sys; print(sorted({'torch', 'numpy', 'sklearn', 'torchvision'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_the_table_agrees_with_torchvision():
    for info in DATASETS.values():
        if info.home is not None:
            home = getattr(torchvision.datasets, info.home)
            assert info.name.replace("-", "") == info.home.lower()
            if info.home in ("FashionMNIST", "KMNIST"):
                assert list(info.class_names) == home.classes
    own = {info.name: info.classes for info in DATASETS.values() if info.classes != 10 and not info.folders}
    assert own == {"cifar100": 100}
    names = DATASETS["cifar100"].class_names
    assert list(names) == sorted(set(names))


def test_digits_are_split_once_and_for_all():
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    train, test = load("digits", "train"), load("digits", "test")
    assert (len(train), len(test)) == (DATASETS["digits"].train, DATASETS["digits"].test) == (1437, 360)
    assert train.images.shape == (1437, 1, 8, 8) and train.images.dtype == torch.uint8
    assert test.labels.bincount().tolist() == [36] * 10
    # Together they are scikit-learn's images, each once, with pixel 16 as 255.
    own = torch.cat([train.images, test.images]).flatten(1).double() / 255 * 16
    rows = {tuple(row) + (int(label),) for row, label in zip(pixels, labels, strict=True)}
    found = {
        tuple(row) + (int(label),)
        for row, label in zip(own.round().tolist(), torch.cat([train.labels, test.labels]), strict=True)
    }
    assert found == rows
    assert (own - own.round()).abs().max() <= 0.5 * 16 / 255 + 1e-12
    # Pinned, so that results stay comparable between versions.
    assert (train.digest, test.digest) == ("96f3c3381761159c", "d0af9e899d69ca68")


def write_idx(folder, count, shape=(28, 28)):
    """The raw files of MNIST, as published."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    kept = {}
    for part in ("train", "t10k"):
        images, labels = rng.integers(0, 256, (count, *shape), np.uint8), (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, *shape) + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())
        kept[part] = images, labels
    return kept


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_torchvisions_own_files_are_used_where_they_are(tmp_path, name):
    kept = write_idx(tmp_path / DATASETS[name].home / "raw", 12)
    for split, part in (("train", "train"), ("test", "t10k")):
        found = load(name, split, root=tmp_path)
        assert np.array_equal(found.images[:, 0].numpy(), kept[part][0])
        assert np.array_equal(found.labels.numpy(), kept[part][1])
        assert (found.name, found.split, found.class_names) == (name, split, DATASETS[name].class_names)


@pytest.mark.parametrize(("name", "layout"), [("cifar10", "nhwc"), ("cifar100", "nhwc"), ("svhn", "nchw")])
def test_colour_images_come_channels_first(tmp_path, monkeypatch, name, layout):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 3, 32, 32), np.uint8)
    asked = []

    class Home:
        def __init__(self, root, download, **choice):
            asked.append((root, download, choice))
            self.data = images if layout == "nchw" else images.transpose(0, 2, 3, 1)
            self.targets = [0, 1, 2, 3, 4]
            self.labels = np.array(self.targets)

    monkeypatch.setattr(torchvision.datasets, DATASETS[name].home, Home)
    found = load(name, "test", root=tmp_path)
    assert np.array_equal(found.images.numpy(), images) and found.images.is_contiguous()
    assert found.labels.tolist() == [0, 1, 2, 3, 4] and found.labels.dtype == torch.int64
    assert asked == [(str(tmp_path), False, {"split": "test"} if name == "svhn" else {"train": False})]


def test_a_failed_download_says_where_to_put_what(tmp_path, monkeypatch, capsys):
    def unreachable(*args, **kwargs):
        print("Failed to download (trying next)")
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nmany\nlines")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", unreachable)
    with pytest.raises(
        InputError, match="mnist is not in .* could not be downloaded .*put mnist.npz with x_train"
    ) as caught:
        load("mnist", "train", root=tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_what_is_missing_is_downloaded_once(tmp_path, monkeypatch):
    def download(archive, download_root, filename, md5):
        fetched.append(filename)
        if not (tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte").exists():
            write_idx(tmp_path / "MNIST" / "raw", 12)

    fetched = []
    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", download)
    assert len(load("mnist", "train", root=tmp_path)) == len(load("mnist", "test", root=tmp_path)) == 12
    assert sorted(fetched) == sorted(name for name, _ in torchvision.datasets.MNIST.resources)


def test_what_another_process_is_unpacking_is_waited_for(tmp_path, monkeypatch):
    """Files that are half there do not read; then the lock is taken, which the other one holds until they do."""
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder, 12)
    whole = (folder / "train-images-idx3-ubyte").read_bytes()
    (folder / "train-images-idx3-ubyte").write_bytes(whole[:100])
    taken = []

    class Lock(filelock.FileLock):
        def acquire(self, *words, **options):
            taken.append(self.lock_file)
            (folder / "train-images-idx3-ubyte").write_bytes(whole)
            return super().acquire(*words, **options)

    monkeypatch.setattr(filelock, "FileLock", Lock)
    assert len(load("mnist", "train", root=tmp_path)) == 12 and len(taken) == 1


def test_a_damaged_download_is_bad_input(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder, 12)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match="mnist is not in"):
        load("mnist", "train", root=tmp_path)


def save_mnist(path, shape=(28, 28), classes=10):
    labels = np.arange(20) % classes
    images = np.random.default_rng(1).integers(0, 256, (20, *shape), np.uint8)
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)


def test_a_local_file_is_taken_first(tmp_path, monkeypatch):
    save_mnist(tmp_path / "mnist.npz")
    write_idx(tmp_path / "MNIST" / "raw", 12)
    found = load("mnist", "train", root=tmp_path)
    assert len(found) == 20 and found.source == str(tmp_path / "mnist.npz")
    assert found.class_names == DATASETS["mnist"].class_names
    monkeypatch.setenv("PENULT_DATA", str(tmp_path))
    assert load("mnist", "train").digest == found.digest


@pytest.mark.parametrize("options", [{"shape": (32, 32)}, {"classes": 5}])
def test_a_local_file_of_another_set_is_refused(tmp_path, options):
    save_mnist(tmp_path / "mnist.npz", **options)
    np.savez(tmp_path / "named.npz", **{**np.load(tmp_path / "mnist.npz"), "classes": np.array(list("abcde"))})
    source = "named.npz" if "classes" in options else "mnist.npz"
    os.replace(tmp_path / source, tmp_path / "mnist.npz")
    with pytest.raises(InputError, match="mnist.npz holds .* but mnist has 10"):
        load("mnist", "train", root=tmp_path)


def test_unknown_names_and_places():
    with pytest.raises(InputError, match="did you mean 'mnist'"):
        load("mnits")
    with pytest.raises(InputError, match="unknown split 'valid'"):
        load("digits", "valid")
    with pytest.raises(InputError, match="no data set at nowhere/mine.npz"):
        load("nowhere/mine.npz")
    with pytest.raises(InputError, match="no data set at nowhere/mine"):
        load("nowhere/mine")
    with pytest.raises(InputError, match="digits has 8x8 images"):
        load("digits", image_size=32)
    assert load("digits", image_size=8).image_shape == (1, 8, 8)


@pytest.mark.parametrize("name", ["mnist", "kmnist"])
def test_the_list_says_what_is_here(tmp_path, capsys, monkeypatch, name):
    """The images of the file that is there, and torchvision's own files; one that is damaged is as published."""
    monkeypatch.setenv("COLUMNS", "120")

    def listed() -> list[str]:
        list_datasets(tmp_path)
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{name} ")).split()[-6:]

    assert listed()[-5:] == ["60,000", "10,000", "on", "first", "use"]
    write_idx(tmp_path / DATASETS[name].home / "raw", 12)
    assert listed()[-3:] == ["60,000", "10,000", "yes"]
    pixels = np.zeros((30_000, 1, 1), np.uint8)
    np.savez_compressed(tmp_path / f"{name}.npz", x_train=pixels, x_test=pixels[:7])
    assert listed()[-3:] == ["30,000", "7", "yes"]
    (tmp_path / f"{name}.npz").write_bytes(b"PK")
    assert listed()[-3:] == ["60,000", "10,000", "yes"]
