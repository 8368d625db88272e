"""What a training would take, by some steps of it."""

import re
import time
from pathlib import Path

import pytest
import torch
import toys

from apps.training.loop import Fit
from apps.training.plan import _said


@pytest.fixture
def plan(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def of(*words) -> str:
        assert toys.penult("train", "toy", "--device", "cpu", "--plan", *words) == 0
        assert not any(tmp_path.iterdir()), "nothing is written"
        return capsys.readouterr().out

    return of


def rows(said: str) -> dict[str, list[str]]:
    """Cells of a table's rows after the first one, by that."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in said.splitlines()]
    return {line[0]: line[1:] for line in lines if len(line) == 6 and line[0] != "phase" and "-" not in line[0]}


def test_one_phase_is_counted_by_hand(plan):
    said = plan("--kind", "plain", "--epochs", 6, "--batch-size", 16)
    ((name, (updates, seconds, gflop, operations, whole)),) = rows(said).items()
    assert (name, updates) == ("training", str(6 * 48 // 16))
    # Forward: both layers; backward: the weights of both, and the input of the second alone.
    expected = 2 * 16 * (16 * 8 + 8 * 3) + 2 * 16 * (16 * 8 + 8 * 3) + 2 * 16 * 8 * 3
    assert float(gflop) == pytest.approx(expected / 1e9, rel=1e-3)
    assert 10 < int(operations) < 200 and 0 < float(seconds) < 5 and whole.endswith(" s")
    assert "weights: model 163;" in said and "Nothing was written" in said and " of 8." in said


def test_each_phase_has_its_row(plan):
    found = rows(plan("--kind", "adversarial", "--epochs", 5, "--batch-size", 24, "--ema", 0.9))
    assert list(found) == ["alone", "together"]
    assert [int(updates) for updates, *_ in found.values()] == [4, 6]  # .4 of ten
    assert int(found["together"][3]) > 2 * int(found["alone"][3]), "three turns an update, not one"


def test_a_finished_run_stays_as_it_is(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["train", "toy", "--kind", "plain", "--epochs", 1, "--device", "cpu"]
    assert toys.penult(*words) == 0
    before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    assert toys.penult(*words, "--plan") == 0 and "what the training takes" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()} == before


def test_times_are_said_in_the_unit_that_they_are_read_in():
    assert [_said(seconds) for seconds in (3.14159, 150.0, 3 * 3600.0, 5 * 86_400.0)] == [
        "3.14 s",
        "2.5 minutes",
        "3 hours",
        "5 days",
    ]


def test_a_step_that_is_longer_than_there_is_time_for_is_left_in_its_middle(plan, monkeypatch):
    whole = rows(plan("--kind", "plain", "--epochs", 6, "--batch-size", 16))["training"]
    step = Fit.one_step

    def slow(self, meter):
        with torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, lambda saved: time.sleep(0.2) or saved):
            step(self, meter)  # each operation of the backward pass takes long

    monkeypatch.setattr(Fit, "one_step", slow)
    monkeypatch.setattr("apps.training.plan._SECONDS", 0.3)
    said = plan("--kind", "plain", "--epochs", 6, "--batch-size", 16)
    (_, seconds, gflop, operations, _) = rows(said)["training"]
    assert all(cell.startswith("> ") for cell in (seconds, gflop, operations))
    assert 0 < float(gflop[2:]) <= float(whole[2]) and int(operations[2:]) < int(whole[3])
    assert said.index("weights: model 163;") < said.index("was left in its middle") < said.index("More than")


def test_as_many_steps_are_timed_as_there_is_time_for(plan, monkeypatch):
    step, taken = Fit.one_step, []

    def slow(self, meter):
        taken.append(time.sleep(0.3))
        step(self, meter)

    monkeypatch.setattr(Fit, "one_step", slow)
    for seconds, steps, words in ((0.5, 1, "of the first update alone"), (0.8, 2, "of 1 update,")):
        monkeypatch.setattr("apps.training.plan._SECONDS", seconds)
        taken.clear()
        said = " ".join(plan("--kind", "plain", "--epochs", 6, "--batch-size", 16).split())
        assert len(taken) == steps and words in said and ">" not in said
