"""Images that a model was not trained on: said in a line, or refused before any work."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.data.image_set import ImageSet
from apps.models.named import check_classes
from apps.models.other_images import check_shape, say_if_other
from priors.errors import InputError

CPU = ("--device", "cpu", "--threads", "1")


def images_of(*names: str, name: str = "set") -> ImageSet:
    pixels = torch.zeros(0, 1, 2, 2, dtype=torch.uint8)
    return ImageSet(name, "train", pixels, torch.zeros(0, dtype=torch.int64), names)


def npz(path: str, names=None, side: int = 8) -> str:
    """Ten images of ten classes to train on, and to test."""
    images, labels = np.zeros((10, side, side), np.uint8), np.arange(10)
    images[:, 0] = 255
    named = {} if names is None else {"classes": np.array(names)}
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels, **named)
    return path


@pytest.mark.parametrize("made_of", [None, "unknown", "set", "some/set.npz", "SET.NPZ", "here/set", "set/", "x/../set"])
def test_the_same_images_need_no_word(capsys, made_of):
    """A set is known by its name: it may have been moved. Nothing is said where nothing was recorded."""
    name = "SET" if made_of == "SET.NPZ" else "set"
    check_classes(("0", "1"), "model", images_of("a", "b", name=name), made_of)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("made_of", ["hf:some/set,image=photo", "wds:sets/set", "import:mine:set"])
def test_sets_by_a_form_need_no_word_either(capsys, made_of):
    check_classes(("0", "1"), "model", images_of("a", "b"), made_of)
    assert capsys.readouterr().out == ""


def test_numbers_are_names_where_classes_of_a_set_were_chosen(capsys):
    """A network of classes 0 and 1 is not to be scored on, or to teach, 1 and 0, or 3 and 5, of the same set."""
    for chosen, made_of in ((("1", "0"), "set"), (("1", "0"), None), (("3", "5"), "set")):
        with pytest.raises(InputError, match="class 0 is '0' there and '[13]' here"):
            check_classes(("0", "1"), "model", images_of(*chosen), made_of)
    check_classes(("0", "1"), "model", images_of("3", "5"))  # a folder of another program's, in order
    check_classes(tuple("0123456789"), "model", images_of(*sorted(map(str, range(1, 11)))))
    capsys.readouterr()


@pytest.mark.parametrize("made_of", [os.fsdecode(b"sets/caf\xe9.npz"), os.fsdecode(b"sets/caf\xe9")])
def test_names_that_are_no_text_are_told_as_well(capsys, made_of):
    check_classes(("0", "1"), "model", images_of("a", "b", name="caf\\xe9"), made_of)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("made_of", ["mnist", "data/mnist.npz", "photos of mine", "."])
def test_other_images_are_said_in_a_line(capsys, made_of):
    check_classes(("0", "1"), "model", images_of("a", "b"), made_of)
    said = capsys.readouterr().out
    assert said == (
        f"Note: model is of {made_of}, and these images are of set; their classes are matched by number ('0' there, "
        "'a' here).\n"
    )
    check_classes(("a", "b"), "model", images_of("a", "b"), made_of)
    assert capsys.readouterr().out.endswith("of set; their classes have the same names.\n")
    say_if_other("model", made_of, images_of("a"))
    assert capsys.readouterr().out == f"Note: model is of {made_of}, and these images are of set.\n"


def test_a_shape_is_refused_before_a_word(capsys):
    with pytest.raises(InputError, match=r"of set are 1x2x2 \(channels x height x width\): model takes 3x2x2"):
        check_classes(("0", "1"), "model", images_of("a", "b"), "mnist", (3, 2, 2))
    assert capsys.readouterr().out == ""
    check_shape(None, "model", images_of("a"))
    check_shape([1, 2, 2], "model", images_of("a"))


COMMANDS = {
    "evaluate a classifier": "evaluate {classifier} --data letters.npz",
    "evaluate a generator": "evaluate {hvae-c} --data letters.npz --samples 2",
    "evaluate one without classes": "evaluate {hvae} --data letters.npz --samples 2",
    "measure a prior": "prior {classifier} --data letters.npz --concentration norms",
    "train with a prior": "train hvae --variant hvae-l --latent-dim 5 --epochs .05 --classifier {classifier} "
    "--concentration 20 --data letters.npz --validation 0",
    "distil a teacher": "distill ce+hinton --teacher {classifier} --student mlp --epochs .05 --data letters.npz",
    "distil a saved prior": "distill ce+ckd --prior saved.safetensors --student mlp --penultimate 6 --epochs .05 "
    "--data letters.npz",
}


@pytest.mark.parametrize("case", COMMANDS)
def test_digits_are_not_letters(penult, copied, tmp_path, case):
    """Ten numbers match any ten classes; which images each is of is known."""
    npz("letters.npz", list("abcdefghij"))
    places = {name: copied(name) for name in ("classifier", "hvae", "hvae-c")}
    if "saved" in COMMANDS[case]:
        assert penult("prior", places["classifier"], "--no-measure", "--out", "saved.safetensors", *CPU).status == 0
    said = penult(*COMMANDS[case].format_map(places).split(), *CPU)
    assert said.status == 0, said.err
    shown = "classifier" if "{classifier}" in COMMANDS[case] else "hvae-c" if "{hvae-c}" in COMMANDS[case] else "hvae"
    source = "saved.safetensors" if "saved" in case else places[shown]
    (note,) = [line for line in said.out.splitlines() if line.startswith("Note: ")]
    assert note.startswith(f"Note: {source} is of digits, and these images are of letters")


MOVED = {
    "evaluate {classifier}": "--data",
    "evaluate {hvae-c} --samples 2": "--data",
    "evaluate {hvae-c} --protocol fid-all --extractor {classifier}": "--against",
    "evaluate {hvae-c} --classify-by {classifier}": "--data",
    "prior {classifier} --concentration norms": "--data",
    "analyse normalised {classifier}": "--data",
    "analyse anomaly {classifier} --against noise": "--data",
    "analyse invert {classifier} --overfit 20 --data digits": "put it back, or leave --overfit 20 out",
    "prior {classifier} --concentration sweep:5,20 --for hvae-l": "--data",
}


@pytest.mark.parametrize("words", MOVED)
@pytest.mark.parametrize("data", ["gone.npz", "photos"])
def test_images_that_were_moved_are_asked_for(penult, copied, words, data):
    places = {name: copied(name) for name in ("classifier", "hvae-c")}
    for place in places.values():
        path = Path(place) / "config.json"
        stored = json.loads(path.read_text())
        stored["config"]["data"] = data
        path.write_text(json.dumps(stored))
    said = penult(*words.format_map(places).split(), *CPU)
    assert said.status == 2 and said.err.count("\n") == 1
    advice = MOVED[words] if " " in MOVED[words] else f"give {MOVED[words]} with its place"
    assert f"was trained on {data}, which is not there now: {advice}" in said.err


def test_what_a_sweep_measures_at_its_end_is_looked_at_before(penult, trained, tmp_path):
    """Its trainings would take images of any shape, the network afterwards only its own."""
    npz("large.npz", side=9)
    sweep = ("--concentration", "sweep:5,20", "--for", "hvae-l", "--data", "large.npz")
    said = penult("prior", trained / "classifier", *sweep, *CPU)
    assert said.status == 2 and "the images of large are 1x9x9" in said.err and not Path("runs").exists()


def test_grey_images_are_refused_before_weights_are_downloaded(penult, tmp_path, monkeypatch):
    monkeypatch.setattr("apps.fidelity.inception.inception_extractor", lambda _: 1 / 0)
    npz("large.npz", side=32)
    widths = ("--generator-width", 4, "--discriminator-width", 4)
    said = penult("train", "sngan", "--data", "large.npz", *widths, "--extractor", "inception", *CPU)
    assert said.status == 2 and "a single channel" in said.err and not Path("runs").exists()
