"""A sample of each kind of attack; all of them are slow: see attack.py."""

import subprocess
import sys
from pathlib import Path

import damage
import kills
import lines
import material
import pytest
from material import PLACE, TRAIN


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return material.make(tmp_path_factory.mktemp("attacks") / "made", kinds=("classifier",))


def test_damaged_files_are_refused_or_read_as_whole_ones(machine, made, tmp_path):
    readings = (
        damage.Reading("done", f"evaluate runs/classifier {PLACE}", ("runs/classifier/model.*", "images.npz")),
        damage.Reading("stopped-classifier", TRAIN["classifier"], ("runs/classifier/state/step-9/*",)),
    )
    tally = damage.attack(machine, made, tmp_path / "work", 4, seed=0, readings=readings)
    assert tally.tried == 4 and not tally.faults


def test_bad_lines_are_refused_before_anything_is_written(machine, made, tmp_path):
    tally = lines.attack(machine, made, tmp_path / "work", 4, seed=0, real=False)
    assert tally.tried == 12 and not tally.faults


def test_a_killed_command_gives_the_same_when_it_is_given_again(machine, made, tmp_path):
    tally = kills.attack(machine, made, tmp_path / "work", 1, seed=0, victims=kills.VICTIMS[:1])
    assert tally.tried == 1 and not tally.faults


def test_a_fault_is_told_from_what_is_well(machine, made, tmp_path, monkeypatch):
    """Nothing above could fail if nothing were counted as a fault."""
    reading = damage.Reading("done", f"evaluate runs/classifier {PLACE}", ("images.npz",))

    def other_images(path, rng):
        path.write_bytes(_with_other_images(path))

    monkeypatch.setattr(damage, "ways", lambda path: {"other images": other_images})
    tally = damage.attack(machine, made, tmp_path / "work", 1, seed=0, readings=(reading,))
    [(end, count)] = tally.ends.items()
    assert end.startswith("silent change of ") and count == 1 and tally.survived == 0


def _with_other_images(path: Path) -> bytes:
    import io

    import numpy as np

    arrays = dict(np.load(path))
    arrays["x_test"] = 255 - arrays["x_test"]
    np.savez(file := io.BytesIO(), **arrays)
    return file.getvalue()


@pytest.mark.slow
def test_all_attacks_are_survived():
    ended = subprocess.run([sys.executable, Path(__file__).parent / "attack.py"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
