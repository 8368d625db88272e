"""Kinds of scores: which of a run's evaluations a command has made, and a new kind that is one file."""

import importlib
import json
import shlex
from pathlib import Path

import pytest

import apps.recipes
import apps.scores.known
from apps.command.cli import VERBS
from apps.report.contents import contents
from apps.report.scores import headline, protocol
from apps.scores.kind import Command
from apps.scores.known import found, kind_of_entry, known
from priors.errors import InputError

# By a command, what it has left in a run's evaluation.json; scores are named by the command's number.
ENTRIES = {
    "": {"data": "digits", "images": 360, "samples": 500, "seed": 0, "batch_size": 100},
    "--samples 20 --seed 1": {"data": "digits", "images": 360, "samples": 20, "seed": 1, "batch_size": 100},
    "--images 5": {"data": "digits", "images": 5, "first": 5, "samples": 500, "seed": 0, "batch_size": 100},
    "--data mnist --batch-size 7": {"data": "mnist", "images": 10000, "samples": 500, "seed": 0, "batch_size": 7},
    "--data cifar10": {"data": "cifar10", "images": 10000, "scores": {"accuracy": None}},
    "--protocol fid-5k": {"protocol": "fid-5k", "data": "digits", "split": "train", "extractor_model": "inception"},
    "--protocol fid-5k --extractor runs/wrn": {
        "protocol": "fid-5k", "data": "digits", "split": "train", "extractor_model": "runs/wrn"
    },
    "--protocol fid-all": {"protocol": "fid-all", "data": "digits", "split": "train", "extractor_model": "inception"},
    "--protocol fid-all --split test --against svhn": {
        "protocol": "fid-all", "data": "svhn", "split": "test", "extractor_model": "inception"
    },
    "--classify-by runs/a": {"data": "digits", "classifier": "runs/a", "drawn": 360},
    "--classify-by runs/a --images 5": {"data": "digits", "classifier": "runs/a", "drawn": 5, "first": 5},
    "--classify-by runs/b": {"data": "digits", "classifier": "runs/b", "drawn": 360},
    "--classify-by runs/a --gan-train": {"data": "digits", "classifier": "runs/a", "trained_in": "gan-train/a"},
}  # fmt: skip


@pytest.fixture
def evaluated(tmp_path) -> Path:
    """A run's folder, on digits, with all of these."""
    entries = [
        {"seed": 0} | entry | {"scores": entry.get("scores", {}) | {"number": number}}
        for number, entry in enumerate(ENTRIES.values())
    ]
    (tmp_path / "config.json").write_text(json.dumps({"verb": "train", "config": {"data": "digits"}}))
    (tmp_path / "evaluation.json").write_text(json.dumps(entries))
    return tmp_path


def left(folder: Path, flags: str) -> int | None:
    """The number of the entry that `penult evaluate` with these flags has made."""
    scores = found(Command(("evaluate", "run", *shlex.split(flags)), folder))
    return scores and scores["number"]


@pytest.mark.parametrize("flags", ENTRIES)
def test_a_finished_evaluation_is_known_again_among_all_others(evaluated, flags):
    number = list(ENTRIES).index(flags)
    assert left(evaluated, flags) == number
    kept = json.loads((evaluated / "evaluation.json").read_text())
    del kept[number]
    (evaluated / "evaluation.json").write_text(json.dumps(kept))
    assert left(evaluated, flags) is None, "no other one stands for it"


def test_another_protocol_is_another_evaluation(evaluated):
    others = ("--seed 1", "--protocol fid-50k", "--protocol fid-5k --split test", "--classify-by runs/c", "--images 6")
    others += ("--classify-by runs/b --gan-train", "--protocol fid-5k --seed 1", "--classify-by runs/a --seed 1")
    assert [left(evaluated, flags) for flags in others] == [None] * len(others)
    assert left(evaluated, "--data digits") == left(evaluated, ""), "the run's own images, named or not"
    (evaluated / "evaluation.json").unlink()
    assert left(evaluated, "") is None


def test_every_kind_is_made_by_verbs_that_there_are():
    for kind in known():
        for verb in kind.verbs:
            assert any(f"{name} ".startswith(f"{verb} ") for name in VERBS)
    with pytest.raises(InputError, match="penult ls runs makes no score"):
        found(Command(("ls", "runs"), Path()))


BRIGHTNESS = '''"""How bright the images are that a generator draws."""

from dataclasses import dataclass

from apps.command.scoring import Scoring
from apps.scores.kind import Evaluation


@dataclass(frozen=True)
class BrightnessScoring(Scoring):
    """Score how bright images are."""

    brightness: int | None = None
    """Images to draw, whose mean pixel is a score."""


class Brightness(Evaluation):
    flags = BrightnessScoring

    def asked(self, config):
        return "" if config.brightness is None else "--brightness"

    def evaluate(self, config):
        from apps.command.console import say
        from apps.generators.sampling import draw_all
        from apps.models.named import generator_run, open_run
        from apps.runs.evaluations import keep_evaluation

        pixels = draw_all(generator_run(config.model), None, config.brightness, config.seed)
        scores = {"mean pixel": float(pixels.mean())}
        entry = {"data": "digits", "images": config.brightness, "bright": config.brightness, "scores": scores}
        keep_evaluation(open_run(config.model).folder, entry)
        say(f"Mean pixel {scores['mean pixel']:.3f}.")

    def made(self, entry):
        return "bright" in entry

    def follows(self, entry, config):
        return entry["bright"] == config.brightness

    def said(self, entry, data):
        return f"{entry['bright']} drawn images"


KIND = Brightness()
'''

DRAWN = '''"""How many images penult sample has drawn."""

from apps.scores.kind import Kind


class Drawn(Kind):
    verbs = ("sample",)

    def found(self, command):
        import numpy as np

        if not command.config.out.exists():
            return None
        with np.load(command.config.out) as drawn:
            return {"count": len(drawn["x"])}


KIND = Drawn()
'''

RECIPE = '''"""A stand-in of a paper that scores in two ways of its own."""

from apps.recipes.table import Table

LAST = {
    "bright": "evaluate {runs}/hvae --brightness 12",
    "drawn": "sample {runs}/hvae --n 3 --out {runs}/drawn.npz",
}
TABLES = {
    "1": Table(
        title="Table 1: both",
        convention="none",
        rows=tuple(LAST),
        columns=("digits",),
        seeds=1,
        metrics=("mean pixel", "count"),
        published={("bright", "digits"): (0.5, 1.5)},
        commands=lambda row, column, seed: (LAST[row],),
        run=lambda row, column, seed: "hvae",
        places=".3f",
    )
}
'''


@pytest.fixture
def two_kinds_more(penult, tmp_path, monkeypatch):
    """Two files among the kinds, and a table that asks for both."""
    for room, package, files in (
        ("known", apps.scores.known, {"brightness.py": BRIGHTNESS, "drawn.py": DRAWN}),
        ("recipes", apps.recipes, {"bothkinds/__init__.py": RECIPE}),
    ):
        for name, text in files.items():
            path = tmp_path / room / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / room)])
    importlib.invalidate_caches()


def test_one_image_is_no_plural():
    said = {
        "1 test image of digits, K = 1 importance sample, seed 0": {"images": 1, "samples": 1, "seed": 0},
        "first 2 test images of digits, K = 3 importance samples, seed 0": {
            "images": 2, "first": 2, "samples": 3, "seed": 0
        },
        "1 generated image, 1 test image of digits, classifier runs/a, seed 0": {
            "drawn": 1, "reals": 1, "data": "digits", "classifier": "runs/a", "seed": 0
        },
        "1,000 generated images, 1 test image of digits, classifier runs/a, seed 0": {
            "drawn": 1000, "reals": 1, "data": "digits", "classifier": "runs/a", "seed": 0
        },
    }  # fmt: skip
    for expected, entry in said.items():
        assert kind_of_entry(entry | {"scores": {}}).said(entry, "digits") == expected


def test_a_new_kind_of_score_is_one_file(penult, two_kinds_more, copied):
    run = copied("hvae")
    assert "--brightness INT" in penult("evaluate", "--help").out
    said = penult("evaluate", run, "--brightness", 12)
    assert (said.status, said.err) == (0, "")
    (entry,) = json.loads((run / "evaluation.json").read_text())
    mean = entry["scores"]["mean pixel"]
    assert said.out == f"Mean pixel {mean:.3f}.\n" and 0 < mean < 1
    said = penult("evaluate", run, "--brightness", 12, "--protocol", "fid-all")
    assert said.status == 2 and "--brightness and --protocol fid-all are two evaluations" in said.err

    # The table runs what is not done, and only that: of both kinds.
    first, again = (penult("table", "bothkinds", 1, "--device", "cpu") for _ in range(2))
    assert (first.status, first.err) == (0, "") and "penult evaluate" not in first.out
    assert first.out.count("penult sample") == 1 and "penult sample" not in again.out
    rows = {line.split()[0]: line.split() for line in again.out.splitlines() if " digits " in line}
    assert rows == {
        "bright": ["bright", "digits", "1/1", f"{mean:.3f}", "0.5", "-", "1.5"],
        "drawn": ["drawn", "digits", "1/1", "-", "-", "3.000", "-"],
    }
    (run / "evaluation.json").unlink()
    assert "penult evaluate" in penult("table", "bothkinds", 1, "--device", "cpu").out

    # A page says what it was, and scores of another kind do not stand for it.
    assert penult("evaluate", run, "--samples", 2, "--images", 5, "--device", "cpu").status == 0
    page = contents(run, n=0)
    bright, likelihood = page.evaluations
    assert (protocol(page, bright), headline(page)) == ("12 drawn images", likelihood)
    assert kind_of_entry(bright).note(bright, "") == ""
