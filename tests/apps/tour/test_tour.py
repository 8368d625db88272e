"""`penult demo --tour`: what it says comes from its runs, its page needs no network, and it goes on where it was."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from apps.command.cli import configured, verb_of
from apps.generators.whole_path_settings import WholePath
from apps.recipes.expected import Expected
from apps.report.contents import Picture
from apps.runs.by_image import keep_by_image
from apps.tour import sentences
from apps.tour.page import Shown, anchor, page
from apps.tour.program import line
from apps.tour.stops import STUDENTS, stops
from apps.tour.students import draw_students


def finished(folder: Path, right: int, of: int = 360) -> Path:
    """A run that finds the class of so many images, the first ones."""
    folder.mkdir(parents=True)
    config = {"format": 2, "verb": "train classifier", "config": {}, "environment": {"machine": "a machine"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "result.json").write_text(json.dumps({"seconds": 2.5, "test/accuracy": right / of, "test/images": of}))
    keep_by_image(folder, {"accuracy": torch.arange(of) < right}, "images")
    return folder


def written(folder: Path, name: str, found) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(found))
    return folder


def test_commands_parse_and_seven_ideas_are_there():
    every = stops(WholePath(tour=True, epochs=0.5, seed=3))
    assert [stop.key for stop in every] == [
        "prior", "generator", "distillation", "inversion", "spectrum", "saliency", "discarding",
    ]  # fmt: skip
    names = []
    for step in (step for stop in every for step in stop.steps):
        words = shlex.split(line(step, WholePath(tour=True)))
        verb, rest = verb_of(words)
        config = configured(verb, rest)[1]
        own = getattr(config, "optimisation", None) if verb != "analyse discard" else None
        assert own is None or (own.epochs == 0.5 and own.seed == 3)
        names += [words[words.index("--name") + 1]] if "--name" in words else []
    assert len(names) == len(set(names)) and all(name.startswith("tour-") for name in names)


def test_sentences_of_students_have_their_numbers_and_their_test(tmp_path):
    """By hand: 30 of 360 images more is far from chance; of 4 that one alone finds p is 2/2^4, .125."""
    rights = {"labels alone": 300, "the teacher": 330, "the prior": 304}
    runs = {name: finished(tmp_path / name, right) for name, right in rights.items()}
    (said,) = sentences.distillation(runs, finished(tmp_path / "teacher", 351), 100)
    assert "same 100 images" in said and "97.5 %" in said and "gets to 83.3 %" in said
    assert "91.7 %: +8.3 points on 360 test images (more than chance: by McNemar's test p < .0001)" in said
    assert "84.4 %: +1.1 points on 360 test images (which may be chance: by McNemar's test p = .12)" in said
    assert set(rights) == set(STUDENTS)


def test_sentences_follow_what_was_measured(tmp_path):
    assert "95.0 %" in sentences.prior(finished(tmp_path / "circle", 342))[0]
    scores = {"GAN-test accuracy": 0.75, "accuracy of the classifier": 0.9}
    run = written(tmp_path / "hvae", "evaluation.json", [{"drawn": 1234, "scores": scores}])
    assert re.search(r"75\.0 % of 1,234 .* 90\.0 %", sentences.generator(run)[0])
    layers = [{"layer": "group1", "NCE": -60.25}, {"layer": "logits", "NCE": -80.5}]
    said = sentences.inversion(written(tmp_path / "kept", "inversion.json", {"layers": layers}))[0]
    assert "-60.2" in said and "-80.5" in said and "20.2 nats less" in said
    again = sentences.inversion(written(tmp_path / "kept", "inversion.json", {"layers": layers[::-1]}))[0]
    assert "20.2 nats more" in again
    own = {"accuracy": 0.9, "images": {"whittle": -2.5}, "conv1": {"whittle": -1.5}, "trend with depth": {"slope": 1.0}}
    spectra = {"net": own, "net, untrained": own | {"conv1": {"whittle": -2.25}}}
    said = sentences.spectrum(written(tmp_path / "net", "spectrum.json", [{"scores": spectra}]))[0]
    assert all(number in said for number in ("-2.50", "-1.50", "-2.25")) and "convolution conv1" in said
    images = [
        {"output": 4.0, "slope x image": -1.0, "residual": 2e-8},
        {"output": 6.0, "slope x image": 2.0, "residual": 0},
    ]
    said = sentences.saliency(written(tmp_path / "maps", "saliency.json", {"images": images}))[0]
    assert "2 images" in said and "10.0" in said and "3.0" in said and "2e-08" in said
    sid = {"net": {"group1": {"SID": -3.0}, "group2": {"SID": -2.9}, "logits": {"SID": -2.5}}}
    for logits, way in ((-2.5, "more"), (-3.5, "less")):
        sid["net"]["logits"]["SID"] = logits
        folder = written(tmp_path / "sid", "discard.json", [{"images": 9, "scores": sid}])
        assert f"logits discards {way}" in sentences.discarding(folder)[0]


def test_the_page_holds_all_and_needs_no_network():
    every = stops(WholePath(tour=True))
    rows = [Expected("jacobian", "saliency", "penult ls <runs>", "a second", "a list"),
            Expected("jacobian", "saliency", "penult ls terms", "two", "terms")]  # fmt: skip
    shown = [
        Shown(stop, ["penult one", "penult two"], Picture("p", "c", b"png", 30, 20), ["It is 5 < 6."],
              rows if stop.key == "saliency" else [])
        for stop in every
    ]  # fmt: skip
    text = page(shown, 125.0, "a machine")
    assert text == page(shown, 125.0, "a machine") and "2 min 5 s (a machine)" in text
    assert text.count("<img ") == 7 and text.count("5 &lt; 6") == 7
    targets = set(re.findall(r' id="([^"]+)"', text))
    links = re.findall(r'href="([^"]+)"', text)
    assert links and all(link.startswith("#") and link[1:] in targets for link in links), "links lead to the page's own"
    assert f"#{anchor(rows[1], rows)}" in links and "penult ls &lt;runs&gt;" in text
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]+)"', text))
    assert "took" not in page(shown, None, "a machine").partition("</header>")[0]


def test_students_are_drawn(tmp_path):
    draw_students(tmp_path / "students.png", {name: 0.9 for name in STUDENTS}, 0.98, 360)
    with Image.open(tmp_path / "students.png") as drawn:
        assert np.asarray(drawn.convert("L")).std() > 10


@pytest.mark.parametrize(
    ("words", "expected"),
    (
        (["--data", "mnist"], "--data mnist with --tour"),
        (["--latent-dim", 3, "--samples", 9], "--latent-dim 3, --samples 9 with --tour"),
        (["--epochs", 0], "--epochs"),
    ),
)
def test_what_the_tour_does_not_take_is_refused(penult, tmp_path, words, expected):
    said = penult("demo", "--tour", *words)
    assert said.status == 2 and said.err.count("\n") == 1 and expected in said.err
    assert not (tmp_path / "runs").exists()


def test_a_page_of_another_kind_is_not_replaced(penult, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/tour.html").write_text("mine")
    said = penult("demo", "--tour", "--epochs", 0.05)
    assert said.status == 2 and "tour.html exists" in said.err and [*(tmp_path / "runs").iterdir()] == [
        tmp_path / "runs/tour.html"
    ]  # fmt: skip


@pytest.mark.slow
def test_the_tour_is_gone_to_its_end_and_goes_on(penult, tmp_path):
    words = ["demo", "--tour", "--epochs", 0.1, "--device", "cpu", "--threads", 1]
    said = penult(*words)
    assert said.status == 0, said.err
    text = (tmp_path / "runs/tour.html").read_text()
    assert text.count("<img ") == 7
    (tmp_path / "runs/tour-saliency/saliency.json").unlink()  # as where it is stopped before its end
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("model.safetensors")}
    again = penult(*words)
    assert again.status == 0 and again.out.count("finished already") >= 6, again.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (tmp_path / "runs/tour.html").read_text() == text
