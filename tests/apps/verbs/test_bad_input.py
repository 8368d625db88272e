"""Bad input ends in one clear line on standard error, exit status 2, no trace, and nothing written."""

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

HVAE = ["train", "hvae", "--epochs", 0.05, "--device", "cpu", "--name", "new"]
CLASSIFIER = ["train", "classifier", "--epochs", 0.05, "--device", "cpu", "--name", "new"]


@pytest.fixture
def refused(penult, tmp_path):
    """`refused(*words)`: the one line that a command answers with."""

    def call(*words: object) -> str:
        before = contents(tmp_path)
        said = penult(*words)
        assert (said.status, said.out) == (2, ""), (said.out, said.err)
        assert said.err.startswith("penult: ") and said.err.count("\n") == 1 and len(said.err) < 1000, said.err
        assert contents(tmp_path) == before, "nothing is written"
        return said.err

    return call


def contents(folder: Path) -> dict[str, int]:
    """Every file with its time, and every folder."""
    found = (path for path in folder.rglob("*") if path.name != ".lock" and "__pycache__" not in path.parts)
    return {str(path): path.stat().st_mtime_ns if path.is_file() else 0 for path in found}


@pytest.fixture
def filled(trained, tmp_path):
    """Words with {classifier}, {hvae}, ... put in place of the trained runs, and {tmp} of the current folder."""
    places = {name: trained / name for name in ("classifier", "hvae", "hvae-c", "hvae-l")} | {"tmp": tmp_path}

    def fill(words) -> list[str]:
        return [str(word).format_map(places) if isinstance(word, str) else str(word) for word in words]

    return fill


NAMES = {
    "verb": (["smaple"], "did you mean 'sample'"),
    "second verb": (["train", "clasifier"], "did you mean 'train classifier'"),
    "data": ([*CLASSIFIER, "--data", "mnits"], "did you mean 'mnist'"),
    "data path": ([*CLASSIFIER, "--data", "./no.npz"], "no data set at"),
    "architecture": ([*CLASSIFIER, "--arch", "mpl"], "did you mean 'mlp'"),
    "torchvision architecture": (
        [*CLASSIFIER, "--arch", "torchvision:resnet81"],
        "did you mean 'torchvision:resnet18'",
    ),
    "run": (["sample", "{hvae}s"], "hvae'"),
    "run in no folder": (["evaluate", "nowhere/hvae"], "unknown run"),
    "class": (["sample", "{hvae-c}", "--labels", "cat"], "unknown class 'cat'"),
    "strategy": (["prior", "{classifier}", "--concentration", "norm"], "did you mean 'norms'"),
    "paper": (["table", "penultimat", "4"], "did you mean 'penultimate'"),
    "table": (
        ["table", "penultimate", "7"],
        "known: 1, 2, 2-short, 3, 3-short, 4, 4-adam, 4-cauchy, 4-conv, 4-learnt, 5",
    ),
    "row": (["table", "penultimate", "4", "--row", "hvae-x"], "did you mean 'hvae-"),
    "column": (["table", "penultimate", "4", "--column", "11"], "known: 3, 5, 10, 20"),
    "model's setting": (["prior", "import:a.b:c,wieghts=x"], "did you mean 'weights'"),
}


@pytest.mark.parametrize("case", NAMES)
def test_unknown_names_are_answered_with_the_nearest(refused, filled, case):
    words, expected = NAMES[case]
    assert expected in refused(*filled(words))


VALUES = {
    "epochs": (["train", "classifier", "--epochs", -1], "--epochs -1: expected a number above 0"),
    "epochs nan": (["train", "hvae", "--variant", "hvae", "--epochs", "nan"], "--epochs nan"),
    "epochs without end": (["train", "classifier", "--epochs", "inf"], "--epochs inf"),
    "lr": ([*CLASSIFIER, "--lr", -0.1], "--lr -0.1: expected a number above 0"),
    "lr nan": ([*CLASSIFIER, "--lr", "nan"], "--lr nan"),
    "batch size": ([*CLASSIFIER, "--batch-size", 0], "--batch-size 0: expected 1 or more"),
    "batch that does not divide": ([*CLASSIFIER, "--accumulate", 7], "expected a multiple of 7"),
    "threads": ([*CLASSIFIER, "--threads", 0], "--threads 0: expected 1 or more"),
    "threads of evaluate": (["evaluate", "{hvae}", "--threads", 0], "--threads 0"),
    "patience": ([*CLASSIFIER, "--patience", 0], "--patience 0: expected 1 or more"),
    "patience without validation": ([*CLASSIFIER, "--patience", 3], "--validation"),
    "ema": ([*CLASSIFIER, "--ema", 1], "--ema 1: expected a number above 0, below 1"),
    "validation": ([*CLASSIFIER, "--validation", 1437], "from 1 to 1436"),
    "validation of a generator": ([*HVAE, "--variant", "hvae", "--validation", 5000], "from 1 to 1436"),
    "negative validation": ([*CLASSIFIER, "--validation", -1], "--validation -1: expected 0 or more"),
    "penultimate 0": ([*CLASSIFIER, "--penultimate", 0], "--penultimate 0: expected 2 or more"),
    "penultimate 1": ([*CLASSIFIER, "--penultimate", 1], "--penultimate 1: expected 2 or more"),
    "label smoothing": ([*CLASSIFIER, "--label-smoothing", 1], "--label-smoothing 1"),
    "image size": ([*CLASSIFIER, "--image-size", 16], "8x8"),
    "name with slashes": ([*CLASSIFIER[:-2], "--name", "a/b"], "--name 'a/b'"),
    "name above": ([*CLASSIFIER[:-2], "--name", ".."], "--name '..'"),
    "no name": ([*CLASSIFIER[:-2], "--name", ""], "--name ''"),
    "latent dimension": ([*HVAE, "--variant", "hvae", "--latent-dim", 0], "--latent-dim 0: expected 1 or more"),
    "hidden": ([*HVAE, "--variant", "hvae", "--hidden", 64, 0], "--hidden 64 0"),
    "no hidden": ([*HVAE, "--variant", "hvae", "--hidden", "none"], "expected the widths"),
    "warm-up": ([*HVAE, "--variant", "hvae", "--kl-warmup", -1], "--kl-warmup -1"),
    "no images": (["sample", "{hvae}", "--n", 0], "--n 0: expected 1 or more"),
    "no samples": (["evaluate", "{hvae}", "--samples", 0], "--samples 0: expected 1 or more"),
    "no test images": (["evaluate", "{hvae}", "--images", 0], "--images 0: expected 1 or more"),
    "one test image": (["evaluate", "{hvae}", "--images", 1], "needs at least 2"),
    "no pixels": (["evaluate", "{hvae}", "--image-size", 0], "--image-size 0: expected 1 or more"),
    "no seeds": (["table", "penultimate", "4", "--seeds", 0], "--seeds 0: expected 1 or more"),
    "batch larger than the set": ([*CLASSIFIER, "--batch-size", 100_000], "1,437 images to train on"),
    "width beyond memory": ([*CLASSIFIER, "--penultimate", 1_000_000_000], "1,000,000,000 x 128 numbers needs"),
    "latents beyond memory": ([*HVAE, "--variant", "hvae", "--latent-dim", 999_999_999], "numbers needs"),
    "channels beyond memory": (["train", "sngan", "--generator-width", 1_000_000], "numbers needs"),
    "concentration of a training": ([*HVAE, "--classifier", "{classifier}", "--concentration", "1e300"], "at most"),
    "concentrations of a sweep": (
        ["prior", "{classifier}", "--concentration", "sweep:5,1e39", "--for", "hvae-l"],
        "at",
    ),
    "samples beyond the disk": (["sample", "{hvae}", "--n", 1_000_000_000, "--out", "a.npz"], "free there"),
    "latent dimension of another prior": (
        [*HVAE, "--variant", "hvae-l", "--classifier", "{classifier}", "--latent-dim", 9],
        "give --latent-dim 5, or train a classifier with --penultimate 10",
    ),
    "latent dimension of another prior, ambient": (
        [*HVAE, "--classifier", "{classifier}", "--latent-dim", 9, "--convention", "ambient"],
        "give --latent-dim 6, or train a classifier with --penultimate 9",
    ),
    "three concentrations": (
        ["prior", "{classifier}", "--concentration", 1, 2, 3],
        "--concentration gives 3 numbers: one, or one for each of 10 classes, was expected",
    ),
    "label out of range": (["sample", "{hvae-c}", "--labels", "10"], "--labels 10: expected labels from 0 to 9\n"),
    "labels backwards": (["sample", "{hvae-c}", "--labels", "5-2"], "labels from 0 to 9, the smaller one first"),
    "no tracker": ([*CLASSIFIER, "--tracker", "wandb"], "--tracker wandb: not installed"),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_that_cannot_be(refused, filled, monkeypatch, case):
    words, expected = VALUES[case]
    if case == "samples beyond the disk":  # on large ones as well
        monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=10**9))
    if case == "no tracker" and find_spec("wandb"):
        pytest.skip("wandb is installed")
    assert expected in refused(*filled(words))


@pytest.mark.parametrize("words", [["--bogus"], ["--epochs", "many"], ["--variant", "gan"], ["--epochs"]])
def test_words_that_are_no_flags_end_with_status_2(penult, words):
    said = penult("train", "hvae", *words)
    assert said.status == 2 and said.out == "" and words[0] in said.err and "Traceback" not in said.err
    assert "penult train hvae --help" in said.err


CONCENTRATIONS = {
    "negative": ([-1], "-1.0"),
    "nan": (["nan"], "nan"),
    "infinite": (["inf"], "inf"),
    "wrong count": ([1, 2, 3], "each of 10 classes"),
    "one of them negative": ([1] * 9 + [-3], "class '9' is -3.0"),
    "number and strategy": ([1, "norms"], "give numbers, or one strategy"),
}


@pytest.mark.parametrize("case", CONCENTRATIONS)
@pytest.mark.parametrize("verb", ["prior", "train hvae"])
def test_concentrations_that_cannot_be(refused, trained, verb, case):
    values, expected = CONCENTRATIONS[case]
    if verb == "prior":
        words = ["prior", trained / "classifier", "--concentration", *values, "--out", "p.safetensors"]
    else:
        words = [*HVAE, "--latent-dim", 5, "--classifier", trained / "classifier", "--concentration", *values]
    assert expected in refused(*words)


@pytest.mark.parametrize("kappa", ["-1", "nan", "inf"])
def test_concentrations_of_samples(refused, trained, kappa):
    line = refused("sample", trained / "hvae-l", "--concentration", kappa, "--out", "a.png")
    assert "--concentration" in line and "0 or more" in line


def test_a_prior_that_tells_no_class_from_another_is_said(penult, trained):
    words = [*HVAE, "--latent-dim", 5, "--classifier", trained / "classifier", "--concentration", 0]
    said = penult(*words)
    assert said.status == 0 and "is uniform, the same for all classes" in said.out


def test_a_layer_that_there_is_not_lists_each_layer_once(refused, trained):
    line = refused("analyse", "invert", trained / "classifier", "--taps", "conv9")
    assert line.count(" penultimate,") == 1 and "unknown layer 'conv9'" in line


def test_a_strategy_needs_a_network(refused, penult, trained):
    assert penult("prior", trained / "classifier", "--out", "p.safetensors").status == 0
    line = refused("prior", "p.safetensors", "--concentration", "norms")
    assert "it has no network to measure" in line


def test_prior_and_latents_must_meet(refused, trained):
    line = refused(*HVAE, "--latent-dim", 7, "--classifier", trained / "classifier")
    assert "R^6" in line and "R^8" in line and "--penultimate 8" in line


def write_npz(path: Path, count=20, side=8, channels=None, labels=10, **changed) -> Path:
    shape = (count, side, side) if channels is None else (count, side, side, channels)
    images, labels = np.zeros(shape, np.uint8), np.arange(count) % labels
    images[:, 0] = 255
    arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels} | changed
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_prior_and_data_must_have_the_same_classes(refused, trained, tmp_path):
    other = write_npz(tmp_path / "five.npz", labels=5)
    line = refused(*HVAE, "--latent-dim", 5, "--classifier", trained / "classifier", "--data", other)
    assert "10 classes" in line and "5" in line


def test_prior_and_data_must_have_their_classes_in_the_same_order(refused, penult, tmp_path):
    names = np.array(list("abcdefghij"))
    write_npz(tmp_path / "letters.npz", classes=names)
    write_npz(tmp_path / "turned.npz", classes=names[::-1])
    assert penult(*CLASSIFIER[:-1], "c", "--data", "letters.npz", "--penultimate", 4).status == 0
    line = refused(*HVAE, "--latent-dim", 3, "--classifier", "runs/c", "--data", "turned.npz")
    assert "class 0 is 'a' there and 'j' here" in line and "in the same order" in line


KINDS = {
    "hvae-l without a classifier": ([*HVAE], "--penultimate 11"),
    "classifier for hvae": ([*HVAE, "--variant", "hvae", "--classifier", "{classifier}"], "--variant hvae-l"),
    "classifier for hvae-c": ([*HVAE, "--variant", "hvae-c", "--classifier", "{classifier}"], "--variant hvae-l"),
    "concentration for hvae": ([*HVAE, "--variant", "hvae", "--concentration", 3], "--variant hvae-l"),
    "label for hvae's encoder": ([*HVAE, "--variant", "hvae", "--encoder-label"], "for HVAE-C and HVAE-L"),
    "generator as classifier": ([*HVAE, "--classifier", "{hvae}"], "is a generator, not a classifier"),
    "something learnt for hvae-l": ([*HVAE, "--learn", "directions"], "for --variant hvae-m"),
    "classifier whose directions are learnt": (
        [*HVAE, "--variant", "hvae-m", "--classifier", "{classifier}"],
        "--learn concentrations, which keeps a classifier's directions",
    ),
    "strategy without a classifier": ([*HVAE, "--variant", "hvae-m", "--concentration", "mle"], "give numbers"),
    "learnt concentrations without directions": (
        [*HVAE, "--variant", "hvae-m", "--learn", "concentrations"],
        "hvae-m --learn concentrations needs --classifier MODEL",
    ),
    "learnt concentration from 0": ([*HVAE, "--variant", "hvae-m", "--concentration", 0], "starts at 0"),
    "generator's prior": (["prior", "{hvae-c}"], "is a generator, not a classifier"),
    "classifier as generator": (["sample", "{classifier}"], "is a classifier, not a generator"),
    "flags of foreign models": (["prior", "{classifier}", "--head", "fc"], "--head with the run"),
    "labels of an unconditional model": (["sample", "{hvae}", "--labels", "1"], "leave out --labels"),
    "concentration of a uniform prior": (["sample", "{hvae}", "--concentration", 3], "uniform prior"),
    "concentration beside labels": (["sample", "{hvae-c}", "--concentration", 3], "uniform prior"),
    "folder that is no run": (["sample", "{tmp}"], "is not a run"),
    "file that is no run": (["evaluate", "{classifier}/model.json"], "unknown run"),
    "model to sample": (["sample", "torchvision:resnet18"], "unknown run"),
    "no data to score on": (["evaluate", "torchvision:resnet18"], "give --data"),
}


@pytest.mark.parametrize("case", KINDS)
def test_models_of_the_wrong_kind(refused, filled, case):
    words, expected = KINDS[case]
    assert expected in refused(*filled(words))


@pytest.mark.parametrize("labels", ["10", "0-10", "5-2", "", ",", "0,cat", "-1", "1.5"])
def test_labels_that_the_model_does_not_know(refused, trained, labels):
    line = refused("sample", trained / "hvae-c", f"--labels={labels}", "--out", "a.png")
    assert "--labels" in line or "unknown class" in line


@pytest.mark.parametrize("name", ["classifier", "hvae-c"])
@pytest.mark.parametrize("shape", [{"side": 9}, {"channels": 3}])
def test_images_of_another_shape(refused, copied, tmp_path, name, shape):
    other = write_npz(tmp_path / "other.npz", **shape)
    line = refused("evaluate", copied(name), "--data", other, "--samples", 2)
    assert "8" in line and ("9" in line or "3" in line)


@pytest.mark.parametrize("name", ["classifier", "hvae-c"])
def test_images_of_more_classes(refused, copied, tmp_path, name):
    other = write_npz(tmp_path / "other.npz", count=24, labels=12)
    assert "12" in refused("evaluate", copied(name), "--data", other, "--samples", 2)


FILES = {
    "missing array": ({"y_test": None}, "has no y_test"),
    "labels of another count": ({"y_train": np.zeros(3, np.int64)}, "y_train"),
    "another shape in the test half": ({"x_test": np.zeros((20, 9, 9), np.uint8)}, "x_test"),
    "floats": ({"x_train": np.zeros((20, 8, 8), np.float32)}, "expected uint8"),
    "nan": ({"x_train": np.full((20, 8, 8), np.nan)}, "NaN"),
    "nan among labels": ({"y_train": np.full(20, np.nan)}, "NaN"),
    "labels out of range": ({"y_test": np.full(20, 30)}, "label 30"),
    "objects": ({"y_test": np.array([None] * 20)}, "y_test"),
}


@pytest.mark.filterwarnings("ignore:.*pickle")
@pytest.mark.parametrize("case", FILES)
def test_npz_files_that_do_not_fit_together(refused, tmp_path, case):
    changed, expected = FILES[case]
    assert expected in refused(*CLASSIFIER, "--data", write_npz(tmp_path / "set.npz", **changed))


def test_a_file_that_is_no_npz(refused, tmp_path):
    (tmp_path / "set.npz").write_bytes(b"PK but no archive")
    assert "damaged or no .npz" in refused(*CLASSIFIER, "--data", "set.npz")


# Runs that are not what they were.


def test_a_run_that_is_not_finished(refused, copied):
    for name, verb in (("hvae-l", "sample"), ("hvae-c", "evaluate"), ("classifier", "prior")):
        run = copied(name)
        (run / "result.json").unlink()
        assert "is not finished" in refused(verb, run)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def spoil(path: Path) -> None:
    path.write_bytes(b"\x00\xffgarbage")


def foreign(path: Path) -> None:
    path.unlink()
    if path.suffix == ".json":
        path.write_text('["not", "ours"]')
    else:
        save_file({"other": torch.zeros(3)}, path)


@pytest.mark.parametrize("damage", [truncate, spoil, foreign, Path.unlink], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("file", ["model.safetensors", "model.json", "config.json"])
@pytest.mark.parametrize("name", ["classifier", "hvae-l"])
def test_damaged_runs(refused, copied, name, file, damage):
    run = copied(name)
    damage(run / file)
    assert str(run) in refused("evaluate", run, "--samples", 2)


@pytest.mark.parametrize("name", ["classifier", "hvae-c"])
@pytest.mark.parametrize("text", ["[{", '{"a": 1}', "[3]", '[{"scores": 3}]', "\x00"])
def test_damaged_evaluations_are_noticed_before_the_work(refused, copied, name, text):
    run = copied(name)
    (run / "evaluation.json").write_text(text)
    assert "evaluation.json" in refused("evaluate", run, "--samples", 2)


DESCRIPTIONS = {
    "another variant": ({"variant": "hvae-x"}, "did you mean 'hvae-"),
    "no variant": ({"variant": None}, "variant"),
    "too small": ({"dim": 1}, "2 or more"),
    "another size": ({"image_shape": [1, 9, 9]}, "do not fit"),
    "no shape": ({"image_shape": "8x8"}, ""),
    "other classes": ({"class_names": ["a", "b"]}, "2"),
    "hidden of no numbers": ({"hidden": ["a"]}, ""),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_descriptions_that_do_not_fit(refused, copied, case):
    changed, expected = DESCRIPTIONS[case]
    path = copied("hvae-c") / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    assert expected in refused("sample", path.parent, "--out", "a.png")


def test_weights_with_a_zero_row(refused, tmp_path):
    """A class whose weight is zero has no direction."""
    lines = ["import torch", "def network():", "    layer = torch.nn.Linear(4, 3)", "    layer.weight.data[1] = 0"]
    (tmp_path / "zero_row.py").write_text("\n".join([*lines, "    return layer"]))
    assert "the weight of class '1' is zero" in refused("prior", "import:zero_row:network")


def test_another_configuration_lists_its_differences(refused, copied):
    copied("classifier")
    words = ["--arch", "mlp", "--penultimate", 7, "--epochs", 3, "--lr", "3e-3", "--name", "classifier"]
    line = refused("train", "classifier", *words)
    assert "penultimate: 6 before, 7 now" in line and "choose another --name" in line
    assert "verb: train classifier before, train hvae now" in refused(*HVAE[:-1], "classifier", "--variant", "hvae")


# Places to write to.

OUTPUTS = {
    "picture's ending": (["sample", "{hvae}", "--out", "a.bmpp"], ".png"),
    "prior's ending": (["prior", "{classifier}", "--out", "p.npz"], ".safetensors"),
    "picture in a file": (["sample", "{hvae}", "--out", "file/a.png"], "is a file, not a folder"),
    "folder in a file": (["sample", "{hvae}", "--out", "file/new"], "is a file, not a folder"),
    "prior in a file": (["prior", "{classifier}", "--out", "file/p.safetensors"], "is a file, not a folder"),
    "folder that is a file": (["sample", "{hvae}", "--out", "file"], "not an empty folder"),
    "picture that is a folder": (["sample", "{hvae}", "--out", "folder.png"], "is a folder"),
    "folder with something in it": (["sample", "{hvae}", "--out", "full"], "not an empty folder"),
    "too many for a picture": (["sample", "{hvae}", "--n", 20000, "--out", "a.png"], "20,000 images in one picture"),
    "runs in a file": ([*CLASSIFIER, "--runs", "file"], "this is a file"),
    "runs where there can be none": ([*CLASSIFIER, "--runs", "/proc/foo"], "choose another --name or --runs"),
    "runs below a file": ([*CLASSIFIER, "--runs", "file/runs"], "file/runs"),
    "list of runs in a file": (["evaluate", "{hvae}", "--runs", "file"], "this is a file"),
    "run that is a file": ([*CLASSIFIER[:-2], "--runs", ".", "--name", "file"], "file is a file"),
    "run that is another folder": ([*CLASSIFIER[:-2], "--runs", ".", "--name", "full"], "is no run"),
}


@pytest.mark.parametrize("verb", [["train", "classifier"], ["distill", "ce", "--student", "mlp"]])
def test_images_of_one_class_are_nothing_to_tell_apart(refused, tmp_path, verb):
    zeros = np.zeros(12, np.int64)
    np.savez(
        tmp_path / "one.npz",
        x_train=np.zeros((12, 8, 8), np.uint8),
        y_train=zeros,
        x_test=np.ones((12, 8, 8), np.uint8),
        y_test=zeros,
    )
    said = refused(*verb, "--data", "one.npz", "--batch-size", 4, "--device", "cpu")
    assert "one.npz has one class, '0': at least two classes are needed" in said


@pytest.mark.parametrize("case", OUTPUTS)
def test_places_that_cannot_be_written(refused, filled, tmp_path, case):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    words, expected = OUTPUTS[case]
    assert expected in refused(*filled(words))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize(
    "words", [["sample", "{hvae}", "--out", "shut/a.png"], ["sample", "{hvae}", "--out", "shut/a"]]
)
def test_folders_that_may_not_be_written(refused, filled, tmp_path, words):
    (tmp_path / "shut").mkdir(mode=0o500)
    assert "may not be written to" in refused(*filled(words))
