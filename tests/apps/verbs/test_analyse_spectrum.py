"""`penult analyse spectrum`, from its words to its files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis import (
    SpectrumMoments,
    power_law_fields,
    radial_spectrum,
    regression_exponent,
    spectrum_convention,
    whittle,
)
from apps.command.cli import main
from apps.data import sources
from apps.models import named
from apps.models.drawing import draw
from apps.scores.kind import Command
from apps.scores.known import found as scores_of
from priors import tap, zoo

CPU = ("--device", "cpu", "--threads", 1)
PNG = b"\x89PNG\r\n\x1a\n"


def read(path: Path):
    return json.loads(path.read_text())


def fields(path: Path, exponent: float, count: int = 200, side: int = 16) -> Path:
    """Grey pictures of a known exponent, in an .npz."""
    drawn = power_law_fields(count, (side, side), exponent, torch.Generator().manual_seed(0))
    drawn = drawn / drawn.std() * 40 + 128
    images = drawn.round().clamp(0, 255).byte().movedim(1, -1).numpy()
    labels = np.arange(count) % 2
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A convolutional network of digits with snapshots, and densities inverted from its logits; not to be changed."""
    place = tmp_path_factory.mktemp("spectra")
    shared = ["--data", "digits", "--runs", str(place), *map(str, CPU)]
    words = "--arch convnet-half --epochs 2 --train-images 200 --batch-size 20 --lr 3e-3 --snapshots 0 10 --name net"
    words = words.split()
    assert main(["train", "classifier", *shared, *words]) == 0
    words = "--taps logits --layers 1 --filters 1 --epochs 0.05 --decoder-epochs 0.05 --decoder-filters 1 --shown 0"
    words = [*words.split(), "--test-images", "20", "--name", "inverted"]
    assert main(["analyse", "invert", str(place / "net"), *shared, *words]) == 0
    return place


@pytest.fixture
def run(runs, tmp_path):
    """The network, to be written into."""
    return Path(shutil.copytree(runs / "net", tmp_path / "net"))


def test_a_run_is_measured_at_its_layers(penult, run):
    words = ["analyse", "spectrum", run, "--taps", "convolutions", "--by", "correct", "--untrained", *CPU]
    said = penult(*words)
    assert said.status == 0, said.err
    network, images = zoo.load(run).eval(), sources.load("digits", "test")
    layers = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Conv2d)]
    with torch.inference_mode(), tap(network, layers) as taps:
        right = network(images.images / 255).argmax(1) == images.labels
    (entry,) = read(run / "spectrum.json")
    own, other = entry["scores"].values()
    assert list(entry["scores"]) == [str(run), f"{run}, untrained"]
    for of, maps in {"images": images.images / 255, layers[0].removeprefix("body."): taps[layers[0]]}.items():
        for group, rows in (("", right | True), (", right", right), (", wrong", ~right)):
            moments = SpectrumMoments.none(tuple(maps.shape[2:])).add(maps[rows].clone())
            line, likely = regression_exponent(radial_spectrum(moments)), whittle(moments)
            scores = own[f"{of}{group}"]
            assert scores["whittle"] == pytest.approx(likely.exponent, abs=1e-5)
            assert scores["whittle error over images"] == pytest.approx(likely.sandwich_error, rel=1e-4)
            assert scores["regression"] == pytest.approx(line.exponent, abs=1e-5)
            assert scores["images"] == int(rows.sum())
    assert own["accuracy"] == pytest.approx(float(right.double().mean()))
    first = layers[0].removeprefix("body.")
    assert own[first]["whittle"] != other[first]["whittle"] and "images" not in other, "images are measured once"
    assert (run / "spectrum.png").read_bytes().startswith(PNG)
    assert "rightly" in said.out and "power: mean of |F|^2 over a ring" in " ".join(said.out.split())
    # A curve is what was measured; the same command gives the same, in the same place.
    curve = entry["spectra"][str(run)]["images"]
    assert curve["value"] == pytest.approx(
        radial_spectrum(SpectrumMoments.none((8, 8)).add(images.images / 255)).value.tolist()
    )
    assert penult(*words).status == 0 and read(run / "spectrum.json") == [entry]
    # A table finds it by its command.
    command = Command(tuple(map(str, words[:-4])), run)
    assert scores_of(command)[f"{first} whittle"] == own[first]["whittle"]
    for other in (("--convention", "paper"), ("--images", "5")):
        assert scores_of(Command((*command.words, *other), run)) is None, "another protocol is not done by this one"


def test_exponents_that_are_known(penult, tmp_path):
    data, steep = fields(tmp_path / "two.npz", -2.0), fields(tmp_path / "three.npz", -3.0)
    out = tmp_path / "out"
    said = penult("analyse", "spectrum", "none", "--data", data, "--against", steep, "noise", "--out", out, *CPU)
    assert said.status == 0, said.err
    (entry,) = read(out / "spectrum.json")
    scores = entry["scores"]
    # 200 fields of 16x16: the standard error is .016, and rounding to 256 levels adds white noise far below it.
    assert scores["two"]["images"]["whittle"] == pytest.approx(-2.0, abs=0.07)
    apart = scores[str(steep)]["difference"]
    assert apart["value"] == pytest.approx(-1.0, abs=0.1) and 0.005 < apart["error"] < 0.05
    assert scores["noise"]["difference"]["value"] == pytest.approx(2.0, abs=0.1)
    assert set(scores) == {"two", str(steep), "noise"} and "difference" not in scores["two"]
    assert "how far they are from those of two" in " ".join(said.out.split())
    assert (out / "spectrum.png").read_bytes().startswith(PNG)
    alone = penult("analyse", "spectrum", "none", "--data", data, "--by", "class", *CPU)
    assert (
        alone.status == 0
        and "how far" not in alone.out
        and "exponents by class (2 classes)" in " ".join(alone.out.split())
    )
    again = penult("analyse", "spectrum", "none", "--data", data, "--out", out, *CPU)
    assert again.status == 2 and "is not an empty folder" in again.err


def test_what_runs_draw_is_set_beside(penult, trained, runs, run):
    beside = [
        str(trained / "hvae-l"),
        str(trained / "hvae"),
        *(str(runs / f"inverted-logits{end}") for end in ("", "-mse")),
    ]
    words = ["analyse", "spectrum", run, "--taps", "convolutions", "--images", 12, *CPU]
    said = penult(*words, "--against", *beside, runs / "net", "--out", "there")
    assert said.status == 0, said.err
    scores = read(Path("there/spectrum.json"))[0]["scores"]
    assert list(scores) == [str(run), str(runs / "net"), *beside]
    assert {scores[name]["images"]["images"] for name in beside} == {12}
    assert scores[str(run)].keys() - {"images, pooled"} >= scores[str(runs / "net")].keys() - {"images, pooled"}
    model = named.generator_run(beside[0])
    drawn = torch.cat([next(draw(model, label, 2, 0)) for label in range(10)])[::1]
    counts = [2, 2, *[1] * 8]
    kept = torch.cat([drawn[2 * label : 2 * label + count] for label, count in enumerate(counts)])
    moments = SpectrumMoments.none((8, 8)).add(kept.mul(255).round() / 255)
    assert scores[beside[0]]["images"]["whittle"] == pytest.approx(whittle(moments).exponent, abs=1e-4)


def test_exponents_through_training(penult, run):
    said = penult("analyse", "spectrum", run, "--taps", "convolutions", "--snapshots", "--images", 50, *CPU)
    assert said.status == 0, said.err
    (entry,) = read(run / "spectrum.json")
    steps = [name.rpartition("step ")[2] for name in entry["scores"] if ", step " in name]
    assert steps[:2] == ["0", "10"] and len(steps) == 3
    last = entry["scores"][f"{run}, step {steps[-1]}"]
    assert all(
        last[name]["whittle"] == one["whittle"]
        for name, one in entry["scores"][str(run)].items()
        if name in last and name != "accuracy" and "whittle" in one
    )
    assert (run / "spectrum-training.png").read_bytes().startswith(PNG)
    assert "exponents through training" in " ".join(said.out.split()), "where a line ends is the terminal's matter"


def test_images_of_other_classes_have_spectra_and_no_accuracy(penult, run, tmp_path):
    data = fields(tmp_path / "two.npz", -2.0, count=20, side=8)
    words = ["analyse", "spectrum", run, "--taps", "convolutions", "--data", data, *CPU]
    said = penult(*words, "--by", "correct")
    assert said.status == 2 and "--by correct: the classes of two are not those of" in said.err
    said = penult(*words)
    assert said.status == 0 and "right" not in said.out.partition("maps")[0], said.err
    assert "accuracy" not in read(run / "spectrum.json")[0]["scores"][str(run)]


def test_conventions(penult, tmp_path):
    data = fields(tmp_path / "two.npz", -2.0)
    for number, (words, name, changed) in enumerate(
        (
            (("--convention", "durall"), "durall", {}),
            (("--convention", "stylegan3"), "stylegan3", {}),
            (("--convention", "paper", "--window", "hann"), "paper, changed", {"window": "hann"}),
            (
                ("--fit-range", "0.25", "0.5", "--demean", "never"),
                "power, changed",
                {"fit_range": [0.25, 0.5], "demean": False},
            ),
        )
    ):
        out = tmp_path / str(number)
        said = penult("analyse", "spectrum", "none", "--data", data, *words, "--out", out, *CPU)
        assert said.status == 0, said.err
        (entry,) = read(out / "spectrum.json")
        assert entry["convention"]["name"] == name
        assert all(entry["convention"][field] == value for field, value in changed.items())
        assert (entry["scores"]["two"]["images"]["regression"] is None) == (name == "durall")
    preset = spectrum_convention("stylegan3")
    images = sources.load_pictures(str(data), "test").images / 255
    line = regression_exponent(radial_spectrum(SpectrumMoments.none((16, 16), preset).add(images)))
    assert read(tmp_path / "1" / "spectrum.json")[0]["scores"]["two"]["images"]["regression"] == pytest.approx(
        line.exponent
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none"], "With the MODEL none, give --data"),
        (
            ["none", "--data", "digits", "--untrained", "--by", "correct"],
            "--untrained, --by correct with the MODEL none",
        ),
        (["none", "--data", "digits", "--taps", "conv1", "--resize", "9"], "--taps, --resize with the MODEL none"),
        (["{dense}"], "no layer of --taps stages has a spectrum: hidden1: its output is a vector"),
        (["{dense}", "--taps", "convolutions"], "the network has no two-dimensional convolutions"),
        (["{dense}", "--snapshots", "--taps", "convolutions"], "train it with penult train classifier --snapshots"),
        (["{run}", "--taps", "penultimate"], "--taps penultimate: its output is a vector of"),
        (["{run}", "--taps", "bdoy.0"], "unknown layer 'bdoy.0'"),
        (["{run}", "--against", "noise", "noise"], "--against noise is given twice"),
        (["{run}", "--against", "digits"], "these are the same images"),
        (["{run}", "--against", "digist"], "did you mean 'digits'"),
        (["{run}", "--fit-range", "0.5", "0.1"], "--fit-range 0.5 0.1: the lowest frequency was expected first"),
        (["{run}", "--convention", "pwoer"], "power"),
        (["{run}", "--resize", "9"], "--resize 9: only image folders are resized"),
        (["{run}", "--out", "{run}"], "is not an empty folder"),
    ],
)
def test_one_line_for_bad_input(penult, runs, trained, words, said):
    run, dense = str(runs / "net"), str(trained / "classifier")
    found = penult("analyse", "spectrum", *(word.format(run=run, dense=dense) for word in words), *CPU)
    assert found.status == 2 and said in found.err and found.err.count("\n") == 1, found.err
    assert not (runs / "net" / "spectrum.json").exists()
