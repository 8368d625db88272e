"""The script that accepts a GPU, as far as it can be tried without one."""

import json
import subprocess
import sys
import time
from pathlib import Path

import accept
import agreement
import pytest
import torch
import verbs
from commands import Turn, rounded
from recording import Check, Failed, Skip, chosen, done, write_outcomes
from same_draws import SameDraws
from speed import Timed, told
from trainings import Given, Training, classifier, trainings

from apps.command.cli import configured, verb_of

NETWORK = Training("classifier mlp", classifier, ("mlp",))


def raising(error):
    def run():
        raise error

    return run


def test_what_fails_is_noted_and_the_rest_goes_on(tmp_path):
    checks = [
        Check("good", lambda: {"n": 3}),
        Check("wrong", raising(Failed("3 and not 4", {"n": 3}))),
        Check("broken", raising(ValueError("\n no such | thing\nat all"))),
        Check("left", raising(SystemExit(2))),
        Check("absent", raising(Skip("no card"))),
        Check("long", lambda: time.sleep(20), seconds=0),
        Check("none left", lambda: None, seconds=1000),
    ]
    written = []
    done(checks, 1.5, lambda found: written.append([one.status for one in found]))
    assert written[0] == ["late"] * 7
    assert written[-1] == ["passed", "failed", "failed", "failed", "skipped", "late", "late"]
    outcomes = done(checks[:5], 100, lambda found: write_outcomes(tmp_path / "x", {"card": "H1"}, found))
    assert [one.message for one in outcomes] == [
        "",
        "3 and not 4",
        "ValueError: no such | thing",
        "SystemExit: 2",
        "no card",
    ]
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["card"] == "H1" and found["outcomes"][1]["found"] == {"n": 3}
    table = (tmp_path / "x.md").read_text()
    assert "| broken | failed |" in table and "no such / thing" in table and "1 passed, 3 failed, 1 skipped" in table
    again = done(
        [Check("wrong", lambda: {"n": 4})], 100, lambda found: write_outcomes(tmp_path / "x", {}, found, keep=True)
    )
    assert again[0].status == "passed"
    rows = json.loads((tmp_path / "x.json").read_text())["outcomes"]
    assert [row["status"] for row in rows] == ["passed", "passed", "failed", "failed", "skipped"]
    assert accept.left(tmp_path / "x.json") == ["broken", "left"] and accept.left(tmp_path / "none.json") is None


def test_groups_stay_whole():
    checks = [Check(name, dict, group=name[0] if name[1:] else "") for name in ("a1", "a2", "a3", "b", "c1", "c2", "d")]
    names = [[check.name for check in chosen(checks, shard=(number, 3))] for number in range(3)]
    assert names == [["a1", "a2", "a3", "d"], ["b"], ["c1", "c2"]]
    assert [check.name for check in chosen(checks, ["a2", "d"])] == ["a1", "a2", "d"]


def test_numbers_are_rounded():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert rounded(values, 7).equal(values.bfloat16().float())
    assert ((rounded(values, 10) - values).abs() / values.abs()).max() < 2**-11


DRAWS = {
    "normal": lambda device: torch.randn(3, 4, device=device),
    "in place": lambda device: torch.empty(3, 4, device=device).uniform_(),
    "like": lambda device: torch.rand_like(torch.zeros(5, device=device)),
    "order": lambda device: torch.randperm(9, device=device),
    "whole numbers": lambda device: torch.randint(5, (6,), device=device),
    "one of several": lambda device: torch.multinomial(torch.ones(4, device=device), 3),
    "coins": lambda device: torch.bernoulli(torch.full((7,), 0.3, device=device)),
    "dropout": lambda device: torch.dropout(torch.ones(20, device=device), 0.5, True),
    "a generator": lambda device: torch.randn(4, generator=torch.Generator(device).manual_seed(3), device=device),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_the_same_on_both_devices(fake, name):
    torch.manual_seed(0)
    with SameDraws():
        here = [DRAWS[name]("cpu") for _ in range(2)]
    torch.manual_seed(0)
    with fake, SameDraws():
        there = [DRAWS[name]("cuda") for _ in range(2)]
        assert all(one.device.type == "cuda" for one in there)
        there = [one.cpu() for one in there]
    assert all(one.equal(other) for one, other in zip(here, there, strict=True))


def test_a_step_agrees(as_a_user, tmp_path):
    given = Given(tmp_path)
    found = agreement.agree(NETWORK, given, agreement.FAKE)
    assert found["full loss"] <= 1e-6 and found["full gradients"] <= 1e-5 and 1e-6 < found["bf16 loss"] < 2e-2
    assert agreement.no_waits(NETWORK, given, agreement.FAKE) == {"steps": 20}


def test_what_is_apart_is_told(monkeypatch):
    slope = torch.tensor([3.0, 4.0]).double()
    here = [Turn("first", 2.0, {"model": slope}), Turn("second", 0.01, {"model": slope})]
    there = [Turn("first", 2.2, {"model": slope + 0.003}), Turn("second", 0.02, {"model": slope})]
    assert agreement.apart(here, here) == (0, 0)
    assert agreement.apart(here, there) == pytest.approx((0.1, 0.003 * 2**0.5 / 5))
    with pytest.raises(Failed, match="other turns or networks than on the CPU"):
        agreement.apart(here, [here[0], Turn("second", 0.01, {})])
    monkeypatch.setattr(
        agreement, "_turns", lambda training, given, device, *more, bits=None: here if device == "cpu" else there
    )
    with pytest.raises(Failed, match="^too far from the CPU's: full loss, tf32 loss, bf16 loss$") as failed:
        agreement.agree(NETWORK, None, "cuda")
    assert failed.value.found["tf32 gradients"] == pytest.approx(0.00085, rel=0.01)


def test_nothing_is_left_out():
    assert verbs.all_verbs()["verbs"] > 15
    names = [check.name for check in agreement.checks("cpu", Path("."), toy=False)]
    assert len(names) == len(set(names)) == 3 + 2 * len(list(trainings()))


@pytest.mark.parametrize("name", verbs.STOPPED)
def test_what_is_stopped_is_a_command(name):
    verb, words = verb_of(verbs.to_stop(name, Path("grey.npz"), Path("colour.npz"), Path("runs/teacher"), "cpu"))
    assert configured(verb, words)


def test_ratios_are_of_the_same_round():
    found = {"plain": Timed([4.0, 6.0, 20.0], 9, 0, 0), "ours": Timed([2.0, 1.0, 10.0], 9, 100, 28)}
    assert told(found, "plain") == {"plain ms": 6000, "ours ms": 2000, "ours x": 2, "ours MiB": 128}


@pytest.mark.slow
def test_a_dry_run(tmp_path):
    words = [Path(accept.__file__), "--out", tmp_path, "--device", "cpu", "--toy", "--seconds", 1000]
    ended = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + (tmp_path / "log.txt").read_text()[-2000:]
    for part in accept.PARTS:
        told = json.loads((tmp_path / f"{part}.json").read_text())
        assert told["part"] == part and told["torch"] == torch.__version__
        assert {row["status"] for row in told["outcomes"]} <= {"passed", "skipped"} and len(told["outcomes"]) > 10
    again = subprocess.run([sys.executable, *map(str, words), "--again"], capture_output=True, text=True)
    assert again.returncode == 0 and again.stdout.count("nothing is left") == 3
