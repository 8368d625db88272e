"""`penult analyse layers`, from its words to its files."""

import json
import math
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from analysis import (
    SpectrumMoments,
    decompose,
    discarded_information,
    feature_spread,
    information_bottleneck,
    information_concentration,
    layer_agreement,
    reconstruction_uncertainty,
    whittle,
)
from analysis.jacobians.derivatives import load_forward_derivatives
from apps.command.cli import main
from apps.data import sources
from apps.discarding.decoders import trained_decoder
from apps.inverting.inverted import inverted_run
from apps.layers import lenses, maps
from apps.layers.lens import Layer
from apps.layers.lenses import concentration, sid
from apps.layers.lenses.sid import StrictDiscarding
from apps.layers.looking import View
from apps.layers.sheet import Found, Sheet
from apps.layers.sites import moments_of, rest_of
from apps.report.contents import contents
from apps.report.page import page
from apps.runs.run import Run
from priors import ClassifierPrior, cosine_fits, tap, zoo

CPU = ("--device", "cpu", "--threads", 1)
PNG = b"\x89PNG\r\n\x1a\n"
COUNT = 20
FEW = StrictDiscarding(steps=2, check=4)
"""The lens for tests: fewer steps."""


@pytest.fixture(scope="module", autouse=True)
def forward_derivatives():
    """Loaded, which makes torch warn of its own function."""
    load_forward_derivatives()


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(sid, "LENS", FEW)
    monkeypatch.setattr(concentration, "LENS", concentration.Concentration(FEW))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A convolutional network of digits, with densities inverted from two layers and a decoder of one.

    Not to be changed.
    """
    place = tmp_path_factory.mktemp("layers")
    shared = ["--data", "digits", "--runs", str(place), *map(str, CPU)]
    words = "--arch convnet-half --epochs 2 --train-images 200 --batch-size 20 --lr 3e-3 --name net"
    assert main(["train", "classifier", *shared, *words.split()]) == 0
    words = "--arch convnet-half --epochs 1 --train-images 200 --batch-size 20 --lr 3e-3 --seed 1 --name second"
    assert main(["train", "classifier", *shared, *words.split()]) == 0
    words = (
        "--taps penultimate,logits --layers 1 --filters 1 --epochs 0.05 --decoder-epochs 0 --shown 0 --test-images 20"
    )
    assert main(["analyse", "invert", str(place / "net"), *shared, *words.split(), "--name", "inverted"]) == 0
    words = "--taps logits --metrics ru --decoder-width 2 --decoder-images 20 --batch-size 10 --epochs 1 --images 4"
    words += " --ru-steps 0 --ru-measured 4 --grid 8 --name decoded"
    assert main(["analyse", "discard", str(place / "net"), *shared, *words.split()]) == 0
    return place


@pytest.fixture
def run(runs, tmp_path):
    """The network, to be written into."""
    return Path(shutil.copytree(runs / "net", tmp_path / "net"))


def read(folder: Path) -> dict:
    (entry,) = json.loads((folder / "layers.json").read_text())
    return entry


def discarded_of(function, images):
    """As the lens has it: one delta_f^2 for all images."""
    moved = feature_spread(function, images, samples=16, seed=0).mean
    return discarded_information(function, images, delta=moved, grid=8, steps=FEW.steps, check=FEW.check, seed=0)


def mean_and_error(values) -> tuple[float, float]:
    values = np.asarray(values, dtype=np.float64)
    return values.mean(), values.std(ddof=1) / math.sqrt(len(values))


def test_each_lens_says_what_its_own_room_says(penult, runs, run):
    words = ["analyse", "layers", run, "--images", COUNT, "--runs", runs, *CPU]
    said = penult(*words)
    assert said.status == 0, said.err
    network, digits = zoo.load(run).eval(), sources.load("digits", "test")
    images, labels = digits.images[:COUNT] / 255, digits.labels[:COUNT]
    entry = read(run)
    layers, scores = entry["layers"][str(run)], entry["scores"][str(run)]
    stages = dict(zip(layers, network.stages, strict=False))
    assert layers == [*(stage.removeprefix("body.") for stage in network.stages), "penultimate", "logits"]

    sites = [*network.stages, network.penultimate_tap]
    with torch.no_grad(), tap(network, [*sites, "head"]) as taps:
        network(images)
    for layer, stage in stages.items():
        each = (
            [whittle(SpectrumMoments.none((8, 8)).add(one[None])).exponent for one in taps[stage]]
            if (min(taps[stage].shape[2:]) >= 5)
            else None
        )
        if each is None:
            assert "spectrum" not in scores[layer]
        else:
            assert tuple(scores[layer]["spectrum"][name] for name in ("value", "error")) == pytest.approx(
                mean_and_error(each), abs=1e-4
            )
    nats = {}
    for layer in ("penultimate", "logits"):
        inverted = inverted_run(runs / f"inverted-{layer}")
        with torch.no_grad():
            nats[layer] = inverted.model.log_prob(images, inverted.context(images))
        found = scores[layer]["nce"]
        assert (found["value"], found["error"]) == pytest.approx(mean_and_error(nats[layer]), rel=1e-5)
        assert entry["notes"][str(run)]["nce"][layer] == f"inverted-{layer}"
    # Bias terms after the penultimate layer are the head's bias alone.
    whole = decompose(network, images)
    parts = torch.stack([whole.input_term, *(term.total for term in whole.terms)])
    torch.testing.assert_close(parts.sum(0), whole.output, rtol=1e-3, atol=1e-3)
    sums = {name: 0.0 for name in layers}
    head = network.head.bias[whole.target]
    slopes = dict(zip(sites, torch.autograd.grad(*_reached(network, images, whole.target, sites)), strict=True))
    reached = [(slopes[site] * taps[site]).flatten(1).sum(1) for site in sites]
    steps = [whole.input_term, *torch.stack(reached).diff(dim=0, prepend=whole.input_term[None]), head]
    sizes = torch.stack(steps).abs()
    sums = dict(zip(layers, sizes[1:] / sizes.sum(0), strict=True))
    for layer in layers:
        found = scores[layer]["bias"]
        assert (found["value"], found["error"]) == pytest.approx(mean_and_error(sums[layer].detach()), abs=1e-4)

    # SID is the library's, one delta_f^2 for all images; digits have 8 cells a side.
    def features(some):
        with tap(network, sites[:1]) as own:
            network(some)
        return own[sites[0]]

    discarded = discarded_of(features, images)
    found = scores[layers[0]]["sid"]
    assert (found["value"], found["error"]) == pytest.approx(mean_and_error(discarded.mean), rel=1e-4)
    # RU is the library's too, under the noise of SID.
    decoder = trained_decoder(Run(runs / "decoded-logits"))
    spread = feature_spread(network, images, samples=16, seed=0).mean
    uncertain = reconstruction_uncertainty(
        network, decoder, images, delta=spread, grid=8, steps=0, measured=16, probes=16, seed=0
    )
    found = scores["logits"]["ru"]
    assert (found["value"], found["error"]) == pytest.approx(mean_and_error(uncertain.mean), rel=1e-4)
    assert entry["notes"][str(run)]["ru"] == {"logits": "decoded-logits"}
    fit = cosine_fits(ClassifierPrior.from_classifier(network, 1.0), taps[sites[-1]], labels)[1]
    found = scores["penultimate"]["vmf"]
    assert found["value"] == pytest.approx(fit.likeliest_distance, abs=1e-6) and 0.01 < found["error"] < 0.2
    assert all("vmf" not in scores[layer] for layer in layers if layer != "penultimate")

    # How far two lenses agree is what the library says of the changes of both.
    (pair,) = [one for one in entry["agreement"] if one["lenses"] == ["bias", "nce"]]
    expected = layer_agreement([-sums["logits"].detach()[:, None]], [(nats["logits"] - nats["penultimate"])[:, None]])
    assert pair["changes"]["correlation"] == pytest.approx(expected.correlation, abs=1e-3)
    assert pair["changes"]["sampled"] == ["images"] and pair["places"] is None

    assert (run / "layers.png").read_bytes().startswith(PNG)
    plain = " ".join(said.out.split())
    assert f"Without nce at {', '.join(stages)}: no finished run" in plain
    assert "Without vmf at" in plain and "agree on where information goes" in plain
    # The same command puts its numbers in the same place; another one stands beside it.
    words += ["--lenses", "bias", "--taps", "logits"]
    assert penult(*words).status == 0 and penult(*words).status == 0
    assert penult(*words, "--seed", 3).status == 0
    assert len(json.loads((run / "layers.json").read_text())) == 3


def test_bottlenecks_are_found_where_they_are_asked_for(penult, runs, run):
    """Of the penultimate layer, behind which the head is all there is, by the library; of a stage by its hooks."""
    network, images = zoo.load(run).eval(), sources.load("digits", "test").images[:8] / 255
    stage = network.stages[0]
    words = ["analyse", "layers", run, "--images", 8, "--lenses", "iba", "--taps", stage, "penultimate", "logits"]
    said = penult(*words, "--runs", runs, *CPU)
    assert said.status == 0, said.err
    entry = read(run)
    scores, (gap,) = entry["scores"][str(run)], entry["without"][str(run)]
    assert gap == "iba at logits: the class is read off this layer itself"
    with torch.no_grad(), tap(network, [stage, network.penultimate_tap]) as taps:
        target = network(images).argmax(1)
    given = taps[network.penultimate_tap]
    found = information_bottleneck(network.head, given, target, given.mean(0), given.std(0))
    expected = mean_and_error(found.total / 64)
    assert (scores["penultimate"]["iba"]["value"], scores["penultimate"]["iba"]["error"]) == pytest.approx(
        expected, rel=1e-3
    )
    assert entry["notes"][str(run)]["iba"]["penultimate"] == f"cross-entropy {found.cross_entropy.mean():.2g} nats"
    assert 0 < scores[stage]["iba"]["value"] < math.inf
    assert (run / "layers-maps.png").read_bytes().startswith(PNG)


def test_maps_have_the_names_of_their_own_network_s_layers(monkeypatch):
    drawn = []
    monkeypatch.setattr(maps, "save", lambda figure, path: drawn.append(figure))
    images = sources.load("digits", "test").subset(range(2))
    shapes = {"net": ("conv1", "conv2"), "other": ("hidden", "conv2")}

    def sheet(name: str, layers: tuple[str, ...]) -> Sheet:
        own = tuple(Layer(one, one, (4,), False, False) for one in layers)
        view = View(own, {}, {}, {one: torch.rand(2, 8, 8) for one in layers})
        return Sheet(name, own, {"sid": view, "iba": view})

    def titles(*sheets: Sheet) -> list[list[str]]:
        every = lenses.every_lens()
        found = Found({name: every[name] for name in ("sid", "iba")}, sheets, (), "digits", 2)
        assert maps.draw_maps(Path("maps.png"), found, images)
        rows: dict[int, list[str]] = {}
        for axes in drawn.pop().axes:
            rows.setdefault(int(axes.get_label().split()[0]), []).append(axes.get_title())
        return [[title for title in row if title] for row in rows.values()]

    sheets = {name: sheet(name, layers) for name, layers in shapes.items()}
    assert titles(sheets["net"]) == [["conv1", "conv2"], [], [], []]
    assert titles(sheets["net"], sheet("twin", shapes["net"])) == [["conv1", "conv2"], *[[]] * 7]
    each = [["conv1", "conv2"], [], ["hidden", "conv2"], []]
    assert titles(sheets["net"], sheets["other"]) == [*each, *each]


def test_a_layer_that_no_image_moves_has_no_uncertainty(penult, runs, run, monkeypatch):
    monkeypatch.setattr("apps.layers.sites.deltas_of", lambda *_: 0.0)
    words = ["analyse", "layers", run, "--images", 4, "--lenses", "ru", "sid", "--taps", "logits", "--shown", 0]
    said = penult(*words, "--runs", runs, *CPU)
    assert said.status == 0, said.err
    assert "ru (logits: no image moves it)" in said.out and "layers.png and layers.json" in said.out
    assert read(run)["notes"][str(run)]["ru"] == {"logits": "no image moves it"}


class _Thrice(nn.Module):
    """A layer that runs three times, and adds to what it is given in place."""

    def __init__(self):
        super().__init__()
        self.layer, self.head, self.mean = nn.Linear(3, 3), nn.Linear(3, 2), torch.zeros(1)

    def forward(self, images):
        found = images
        for _ in range(3):
            found = self.layer(found).relu_()
        return self.head(found)


@pytest.mark.parametrize("site", ["layer#2", "layer:input#3", "head:input", "layer#1"])
def test_what_comes_after_a_layer_is_what_the_network_makes_of_it(site):
    torch.manual_seed(0)
    network, images = _Thrice(), torch.randn(4, 3)
    with torch.no_grad(), tap(network, [site], copy=True) as taps:
        logits = network(images)
    rest = rest_of(network, site, torch.zeros_like(images))
    torch.testing.assert_close(rest(taps[site].clone()), logits)
    assert not torch.allclose(rest(taps[site] + 1), logits) and not network.layer._forward_hooks


def test_moments_are_those_of_all_images_at_once(run):
    images = sources.load("digits", "test").subset(range(150))
    network = zoo.load(run).eval()
    sites = (network.stages[0], "head:input")
    found = moments_of(network, images, sites)
    with torch.no_grad(), tap(network, sites) as taps:
        network(images.images / 255)
    for site, (mean, deviation) in found.items():
        torch.testing.assert_close(mean, taps[site].mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(deviation, taps[site].std(0), rtol=1e-3, atol=1e-5)


def _reached(network, images, target, sites):
    with tap(network, sites) as taps:
        output = network(images)
    return output.gather(1, target[:, None]).sum(), [taps[site] for site in sites]


@pytest.mark.slow
def test_several_networks_on_the_same_images(penult, runs, run, tmp_path):
    other = runs / "second"
    few = ["--lenses", "bias", "nce", "sid", "--images", COUNT]
    said = penult("analyse", "layers", run, "--against", other, *few, "--runs", runs, *CPU)
    assert said.status == 0, said.err
    entry = read(run)
    assert list(entry["layers"]) == [str(run), str(other)]
    (pair,) = [one for one in entry["agreement"] if one["lenses"] == ["bias", "nce"]]
    assert pair["steps"] == {str(run): [["penultimate", "logits"]]}, "no run inverts the other"
    assert any("no finished run" in reason for reason in entry["without"][str(other)])
    (pair,) = [one for one in entry["agreement"] if one["lenses"] == ["bias", "sid"]]
    steps = [list(one) for one in pairwise(entry["layers"][str(run)])]
    assert pair["steps"] == {name: steps for name in (str(run), str(other))}
    each = [[math.atanh(one) for one in network] for network in pair["changes"]["each"]]
    assert math.atanh(pair["changes"]["correlation"]) == pytest.approx(np.mean([np.mean(one) for one in each]))
    assert pair["changes"]["sampled"] == pair["places"]["sampled"] == ["images", "layers"]
    twin = Path(shutil.copytree(run, tmp_path / "twin"))
    said = penult("analyse", "layers", run, "--against", twin, *few, *CPU)
    assert said.status == 2 and f"has the weights of {run}" in said.err
    text = page([contents(run)])
    assert "Do they agree on where information goes?" in text and "bias share" in text
    assert str(run.parent) not in text, "no paths of this machine"


class Ink:
    """A lens's file as one adds it."""

    text = '''
"""How much ink an image has at a layer."""

from dataclasses import dataclass
from typing import ClassVar

from apps.layers.lens import Lens
from priors.errors import InputError


@dataclass(frozen=True)
class Ink(Lens):
    """The mean of all values."""

    what: ClassVar[str] = "how much ink there is"
    title: ClassVar[str] = "ink"
    meaning: ClassVar[str] = "mean value"
    kept: ClassVar[int] = 1

    def gaps(self, subject):
        return {"logits": "logits have no ink"}

    def look(self, subject, layers):
        if subject.model.endswith("other"):
            raise InputError("there is no ink in it")
        return lambda seen: {one.name: seen.values[one.name].flatten(1).mean(1) for one in layers}


LENS = Ink()
'''


def test_a_new_lens_is_one_file(penult, runs, run, tmp_path, monkeypatch):
    place = tmp_path / "more"
    place.mkdir()
    (place / "how_much_ink.py").write_text(Ink.text)
    dry = '    def read(self, subject, layers, rows):\n        raise InputError("it has run dry")\n\n\nLENS'
    (place / "dry_ink.py").write_text(Ink.text.replace("\nLENS", dry))
    monkeypatch.setattr(lenses, "__path__", [*lenses.__path__, str(place)])
    other = Path(shutil.copytree(runs / "second", tmp_path / "other"))
    words = ["analyse", "layers", run, "--against", other, "--images", 12, "--lenses", "how-much-ink", "dry-ink"]
    said = penult(*words, "spectrum", *CPU)
    assert said.status == 0, said.err
    network, images = zoo.load(run).eval(), sources.load("digits", "test").images[:12] / 255
    entry = read(run)
    with torch.no_grad(), tap(network, network.stages[:1]) as taps:
        network(images)
    found = entry["scores"][str(run)][entry["layers"][str(run)][0]]["how-much-ink"]["value"]
    assert found == pytest.approx(float(taps[network.stages[0]].mean()), rel=1e-5)
    assert "how-much-ink at logits: logits have no ink" in entry["without"][str(run)]
    assert "how-much-ink" not in entry["scores"][str(run)]["logits"]
    assert any("it has run dry" in reason for reason in entry["without"][str(run)]), "the other lenses are kept"
    gone = entry["without"][str(other)]
    assert any("there is no ink in it" in reason for reason in gone), "a lens that cannot look leaves gaps"
    assert all("how-much-ink" not in scores for scores in entry["scores"][str(other)].values())


def test_layers_of_ones_own_choice_and_a_folder_of_pictures(penult, run, tmp_path):
    from PIL import Image

    place = tmp_path / "pictures"
    place.mkdir()
    drawn = np.random.default_rng(0).integers(0, 255, (5, 8, 8), dtype=np.uint8)
    for number, one in enumerate(drawn):
        Image.fromarray(one).save(place / f"{number}.png")
    network = zoo.load(run)
    first = network.stages[0]
    words = ["analyse", "layers", run, "--data", place, "--taps", "logits", first, "--out", "sheet", *CPU]
    said = penult(*words)
    assert said.status == 0, said.err
    entry = read(Path("sheet"))
    assert entry["layers"][str(run)] == [first, "logits"], "as the network computes them"
    assert entry["images"] == 5 and any("other classes" in one for one in entry["without"][str(run)])
    again = penult(*words, "--level", 0.9)
    levels = [one["level"] for one in json.loads(Path("sheet/layers.json").read_text())]
    assert again.status == 0 and levels == [0.95, 0.9], "another protocol stands beside the first"

    # With boxes, concentration is what the library says of the entropies of SID.
    boxes = {f"{number}.png": [1, 2, 5, 6] for number in range(4)} | {"4.png": [0, 0, 8, 8]}
    Path("boxes.json").write_text(json.dumps(boxes))
    out = ["--boxes", "boxes.json", "--lenses", "concentration", "sid", "--out", "boxed"]
    said = penult(*words[: -2 - len(CPU)], *out, *CPU)
    assert said.status == 0, said.err
    network.eval()

    def logits(some):
        return network(some)

    images = torch.from_numpy(drawn)[:, None] / 255
    discarded = discarded_of(logits, images)
    inside = torch.zeros(4, 8, 8, dtype=torch.bool)
    inside[:, 2:6, 1:5] = True
    expected = mean_and_error(information_concentration(discarded.entropy[:4], inside))
    found = read(Path("boxed"))["scores"][str(run)]["logits"]["concentration"]
    assert (found["value"], found["error"]) == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert found["images"] == 4, "an object that is all of a picture has no background"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--taps", "conv9"], "unknown layer 'conv9'"),
        (["--taps", "head", "logits"], "these are one layer"),
        (["--taps", "logits", "logits"], "given twice"),
        (["--lenses", "spectra"], "unknown lens 'spectra': did you mean 'spectrum'?"),
        (["--lenses", "vmf", "--taps", "logits"], "no lens has a value of any layer: vmf: it is not what"),
        (["--images", 3], "4 or more"),
        (["--level", 1], "--level"),
        (["--against", "nothing"], "unknown run 'nothing'"),
        (["--head", "head"], "a run knows its own"),
        (["--masks", "there"], "give a folder of these by --data"),
        (["--masks", "there", "--boxes", "here"], "leave one out"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(penult, runs, words, said):
    before = sorted(path.name for path in (runs / "net").iterdir() if not path.name.startswith("."))
    found = penult("analyse", "layers", runs / "net", *words, *CPU)
    assert found.status == 2 and said in found.err and found.err.count("\n") == 1, found.err
    assert before == sorted(path.name for path in (runs / "net").iterdir() if not path.name.startswith("."))


def test_the_network_itself_is_no_other(penult, runs):
    found = penult("analyse", "layers", runs / "net", "--against", runs / "net", *CPU)
    assert found.status == 2 and "is the MODEL itself" in found.err
