"""Some classes of a set: from every kind of source, in training, evaluation and analysis; and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from apps.command.config import Data
from apps.data.sizes import sizes_for
from apps.data.sources import load
from apps.models.named import classifier
from priors.errors import InputError

NAMES = ("ant", "bee", "cat")


@pytest.fixture
def npz(tmp_path):
    """30 training and 12 test images of 6x6 in three classes, brighter by class."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 30), ("test", 12)):
        labels = np.arange(count) % 3
        noise = rng.integers(0, 60, (count, 6, 6), np.uint8) + (70 * labels[:, None, None]).astype(np.uint8)
        arrays |= {f"x_{split}": noise, f"y_{split}": labels}
    np.savez(tmp_path / "insects.npz", classes=np.array(NAMES), **arrays)
    return tmp_path / "insects.npz"


def test_images_are_those_of_the_classes_in_their_order(npz):
    whole = load(npz)
    for words, numbers in (("cat,ant", (2, 0)), ("2,0", (2, 0)), (" bee ", (1,)), ("0,bee,cat", (0, 1, 2))):
        found = load(npz, classes=words)
        places = [i for i, label in enumerate(whole.labels.tolist()) if label in numbers]
        assert torch.equal(found.images, whole.images[places])
        assert found.labels.tolist() == [numbers.index(int(whole.labels[i])) for i in places]
        assert found.class_names == tuple(NAMES[number] for number in numbers)
    assert len(load(npz, classes="cat,ant", first=3)) == 3
    assert load(npz, classes="0,1,2").digest == whole.digest != load(npz, classes="0,2,1").digest
    kept = load(npz, classes="cat,ant", known=NAMES)
    assert kept.class_names == NAMES and sorted(set(kept.labels.tolist())) == [0, 2]
    assert load(npz, classes="cat,ant", known=("cat", "ant")).class_names == ("cat", "ant")


def test_of_a_folder_no_other_pictures_are_decoded(tmp_path):
    for split in ("train", "test"):
        for number, name in enumerate(NAMES):
            folder = tmp_path / "set" / split / name
            folder.mkdir(parents=True)
            for each in range(3):
                Image.new("RGB", (5, 6), (number, each, 0)).save(folder / f"{each}.png")
    good = load(tmp_path / "set", classes="cat,ant")
    content = (tmp_path / "set" / "train" / "bee" / "1.png").read_bytes()
    (tmp_path / "set" / "train" / "bee" / "1.png").write_bytes(content[:50] + content[-10:])
    found = load(tmp_path / "set", classes="cat,ant")
    assert found.in_memory and found.images[:, 0, 0, 0].tolist() == [0] * 3 + [2] * 3
    assert found.digest == good.digest and found.labels.tolist() == [1] * 3 + [0] * 3
    lazy = load(tmp_path / "set", classes="cat,ant", memory_limit=100)
    assert not lazy.in_memory and torch.equal(lazy.images.read_all(), found.images)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("cta", "unknown class of insects 'cta': did you mean 'cat'"),
        ("3", "unknown class of insects '3'.*numbers from 0 to 2"),
        ("cat,,bee", "unknown class of insects ''"),
        ("cat,2", r"class 2 \(cat\) is there twice"),
        ("", "unknown class of insects ''"),
    ],
)
def test_what_is_no_class_is_one_line(npz, words, said):
    with pytest.raises(InputError, match=said):
        load(npz, classes=words)


def test_an_empty_class_is_refused(tmp_path):
    arrays = {"x_train": np.zeros((4, 3, 3), np.uint8), "y_train": np.arange(4) % 2}
    np.savez(tmp_path / "a.npz", x_test=arrays["x_train"], y_test=np.zeros(4, np.int64), **arrays)
    with pytest.raises(InputError, match="a has no test images of class 1"):
        load(tmp_path / "a.npz", "test", classes="0,1")


def test_a_runs_own_classes_are_those_of_its_own_set():
    trained = Data("cifar10", classes="cat,dog")
    assert sizes_for(trained, "cifar10")["classes"] == "cat,dog"
    assert sizes_for(trained, "cifar100")["classes"] is None
    assert sizes_for(trained, "cifar10", classes="0,1")["classes"] == "0,1"


def test_a_run_of_some_classes_is_shown_them_again(penult, npz, tmp_path):
    words = "train", "classifier", "--data", npz, "--arch", "mlp", "--device", "cpu", "--epochs", 2, "--batch-size", 10
    assert penult(*words, "--classes", "cat,ant").status == 0
    run = tmp_path / "runs" / "insects-cat-ant-mlp-seed0"
    assert tuple(classifier(str(run)).class_names) == ("cat", "ant")
    said = penult("evaluate", run)
    assert said.status == 0
    (entry,) = json.loads((run / "evaluation.json").read_text())
    assert entry["images"] == 8 and entry["data_digest"] == load(npz, "test", classes="cat,ant").digest
    for verb in (("prior", run), ("analyse", "normalised", run)):
        assert penult(*verb).status == 0
    said = penult("evaluate", run, "--classes", "bee")
    assert said.status == 2 and "they must agree" in said.err
    student = "distill", "ce+hinton", "--teacher", run, "--data", npz, "--student", "mlp", "--device", "cpu"
    said = penult(*student, "--lr", 0.01, "--epochs", 2)
    assert said.status == 2 and said.err.endswith("they must agree; --classes cat,ant takes its classes\n")
    said = penult("evaluate", run, "--classes", "")
    assert said.status == 2 and "unknown class of" in said.err


def test_a_network_of_all_classes_keeps_its_labels(penult, npz, tmp_path):
    words = "train", "classifier", "--data", npz, "--arch", "mlp", "--device", "cpu", "--epochs", 20, "--batch-size", 10
    assert penult(*words, "--name", "all").status == 0
    accuracy = {}
    for classes in ("cat", "ant,bee", "0,1,2"):
        assert penult("evaluate", "runs/all", "--classes", classes).status == 0
    entries = json.loads((tmp_path / "runs" / "all" / "evaluation.json").read_text())
    accuracy = {entry["classes"]: (entry["images"], entry["scores"]["accuracy"]) for entry in entries}
    assert accuracy["cat"][0] == 4 and accuracy["ant,bee"][0] == 8
    whole = (4 * accuracy["cat"][1] + 8 * accuracy["ant,bee"][1]) / 12
    assert whole == pytest.approx(accuracy["0,1,2"][1]) and whole > 0.5
