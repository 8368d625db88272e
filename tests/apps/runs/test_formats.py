"""Runs of every format so far go on, and give what they gave: see `apps.runs.format` and `formats/make_runs.py`."""

import dataclasses
import importlib.util
import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from apps.command.config import Optimisation
from apps.runs.run import Run
from apps.training import curves
from distill.terms import terms

PLACE = Path(__file__).parent / "formats"
FORMATS = sorted((path.name for path in PLACE.iterdir() if path.name.isdigit()), key=int)
EXPECTED = {number: json.loads((PLACE / number / "expected.json").read_text()) for number in FORMATS}
QUICK = {"0": set(EXPECTED["0"]["kinds"]), "1": {"hvae-l", "sngan"}}
"""What is held to each format at every run of the tests. The rest is slow: format 1 computes as format 0 does."""
CASES = [
    pytest.param(number, name, marks=() if name in QUICK[number] else pytest.mark.slow, id=f"{number}-{name}")
    for number in FORMATS
    for name in EXPECTED[number]["kinds"]
]
UNLIKE = {"seconds", "images/s"}
"""What no two trainings have alike."""
ALSO = {"test/top-5 accuracy", "top-5 accuracy"}
"""What results and evaluations say since."""

every_run = pytest.mark.parametrize(("number", "name"), CASES)


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """They take longer than these trainings, and have tests of their own."""
    monkeypatch.setattr(curves, "curves", lambda *_: None)


@cache
def machine() -> dict[str, str]:
    """How this machine rounds."""
    spec = importlib.util.spec_from_file_location("make_runs", PLACE / "make_runs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.machine()


@pytest.mark.parametrize("number", EXPECTED)
def test_this_machine_rounds_as_that_of_the_runs(number):
    """Elsewhere the tests below compare within a tolerance: a run says so, rather than pass as if to the bit."""
    made, here = EXPECTED[number]["machine"], machine()
    if made != here:
        pytest.skip(
            f"runs of format {number} are compared within a tolerance: they were made on {made}, this is {here}"
        )


class Stored:
    """What is stored of one kind of run, with copies of it in the current folder."""

    def __init__(self, number: str, name: str):
        self.number, self.folder, self.kind = number, PLACE / number, EXPECTED[number]["kinds"][name]
        self.exact = machine() == EXPECTED[number]["machine"]
        self.runs: list[str] = self.kind["runs"]
        self.needs = [run for need in self.kind["needs"] for run in EXPECTED[number]["kinds"][need]["runs"]]
        self.drawn = next(self.folder.glob(f"samples/{name}.*"), None)
        for file in ("images.npz", "prior.safetensors", "image.png"):
            shutil.copy(self.folder / file, ".")
        self.copy("finished", self.needs)

    def copy(self, state: str, runs: list[str]) -> None:
        for run in runs:
            shutil.copytree(self.folder / state / run, Path("runs") / run)

    def alike(self, found, expected, close: float, where: str, exact: float = 0.0) -> None:
        """Close, relatively and absolutely; to `exact` where the machine rounds as that of the runs did."""
        limit = exact if self.exact else close
        if isinstance(expected, dict):
            assert found.keys() - ALSO == expected.keys() - ALSO, where
            for key in expected.keys() - UNLIKE:
                self.alike(found[key], expected[key], close, f"{where}: {key}", exact)
        elif isinstance(expected, list):
            assert len(found) == len(expected), where
            for one, other in zip(found, expected, strict=True):
                self.alike(one, other, close, where, exact)
        elif isinstance(expected, torch.Tensor):
            limit = limit if expected.is_floating_point() else 0
            torch.testing.assert_close(found, expected, rtol=limit, atol=limit, msg=lambda said: f"{where}: {said}")
        elif isinstance(expected, float):
            assert found == pytest.approx(expected, rel=limit, abs=limit), where
        else:
            assert found == expected, where

    def check_scores(self, close: float) -> None:
        """Scores are sums that may be taken in another order than when the runs were made."""
        found, expected = (json.loads((path / self.kind["scores"]).read_text()) for path in self._places())
        self.alike(found, expected, close, self.kind["scores"], exact=1e-6)

    def check_weights(self, close: float, scores: float) -> None:
        """All tensors of the runs, and their results: scores that follow from the weights may be further apart.

        Results are sums that may be taken in another order than when the runs were made.
        """
        for run in self.runs:
            for path in (self.folder / "finished" / run).glob("*.safetensors"):
                limit = scores if path.stem in ("log-likelihoods", "squared-errors") else close
                self.alike(load_file(Path("runs") / run / path.name), load_file(path), limit, f"{run}/{path.name}")
            found, expected = (json.loads((place / run / "result.json").read_text()) for place in self._places())
            self.alike(found, expected, scores, f"{run}/result.json", exact=1e-6)

    def check_samples(self, levels: int) -> None:
        """Grey levels apart at most, on a machine that rounds in another way."""
        if self.drawn.suffix == ".npz":
            found, expected = (dict(np.load(path)) for path in (f"samples{self.drawn.suffix}", self.drawn))
        else:
            found, expected = ({"": np.array(Image.open(path))} for path in ("samples.png", self.drawn))
        assert found.keys() == expected.keys()
        for key in found:
            if expected[key].dtype == np.uint8:
                assert np.abs(found[key].astype(int) - expected[key]).max() <= (0 if self.exact else levels), key
            else:
                assert (found[key] == expected[key]).all(), key

    def _places(self) -> tuple[Path, Path]:
        return Path("runs"), self.folder / "finished"


@every_run
def test_an_interrupted_run_goes_on(penult, number, name):
    stored = Stored(number, name)
    stored.copy("interrupted", stored.runs[:1])
    run = Run(Path("runs") / stored.runs[0])
    (state,) = run.states()
    assert state.name == f"step-{stored.kind['stop']}" and run.format == int(number)
    said = penult(*stored.kind["train"].split())
    assert said.status == 0, said.err
    assert run.finished and run.format == int(number)
    stored.check_weights(1e-3, scores=0.03)
    if stored.drawn:
        said = penult(*stored.kind["draw"].split())
        assert said.status == 0, said.err
        stored.check_samples(8)


@every_run
def test_a_finished_run_is_what_it_was(penult, number, name):
    stored = Stored(number, name)
    stored.copy("finished", stored.runs)
    said = penult(*stored.kind["train"].split())
    assert said.status == 0 and "finished already" in said.out, said.err
    said = penult(*(stored.kind["score"] or stored.kind["train"]).split())
    assert said.status == 0, said.err
    stored.check_scores(1e-4)
    if name == "sngan":  # GAN-train's classifier is found by what its training is told, and is of the other's format
        trained = Run(Path("runs/sngan/gan-train") / EXPECTED[number]["gan-train"])
        assert trained.finished and trained.format == int(number)
    if stored.drawn:
        said = penult(*stored.kind["draw"].split())
        assert said.status == 0, said.err
        stored.check_samples(1)
    run = f"runs/{stored.runs[0]}"
    said = penult("report", run, "--n", 1)
    assert said.status == 0 and Path(run, "report.html").stat().st_size > 10_000, said.err
    if name != "inversion":
        said = penult("export", run, "exported")
        assert said.status == 0, said.err
        assert json.loads(Path("exported/config.json").read_text()).get("format", 0) == int(number)


@every_run
def test_a_flag_that_is_added_says_what_runs_did_before(penult, monkeypatch, number, name):
    """Without that, an older run is one of another configuration."""
    stored = Stored(number, name)
    stored.copy("finished", stored.runs)
    lacking = {"decay": Optimisation} | ({"crd.momentum": terms()["crd"]} if name == "student" else {})
    was = {}
    for run in stored.runs:
        path = Path("runs") / run / "config.json"
        config = json.loads(path.read_text())
        was |= {key: config["config"].pop(key) for key in lacking}
        path.write_text(json.dumps(config))
    for key, kind in lacking.items():
        said = penult(*stored.kind["train"].split())
        assert said.status == 2 and f"{key}: not set before, {was[key]} now" in said.err
        (part,) = (part for part in dataclasses.fields(kind) if part.name == key.rpartition(".")[2])
        monkeypatch.setattr(part, "metadata", {"before": was[key]})
    said = penult(*stored.kind["train"].split())
    assert said.status == 0 and "finished already" in said.out, said.err
