"""Completion: what a shell gets back for a line that is typed so far, by the shells that are here."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from importing import imports_from

from apps.command.cli import VERBS
from apps.completion import names, script
from apps.pretrained_models.finding import pretrained_names

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A folder with runs and, first in the PATH, a program `penult`."""
    (tmp_path / "runs").symlink_to(trained)
    program = tmp_path / "bin" / "penult"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m apps "$@"\n')
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for name, value in imports_from(ROOT).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_names_are_of_what_the_next_word_may_be(place):
    hvaes = [f"runs/{name}" for name in ("hvae", "hvae-c", "hvae-l")]
    assert names(["evaluate", "runs/hv"]) == names(["show", "runs/hv"]) == names(["report", "a", "runs/hv"]) == hvaes
    assert names(["train", "hvae", "--classifier", "runs/cl"]) == ["runs/classifier"]
    assert names(["train", "hvae", "--classifier=runs/classifier", "--like", "runs/hvae-"]) == hvaes[1:]
    assert names(["train", "classifier", "--epochs", "3", "--data", "cifar"]) == ["cifar10", "cifar100"]
    assert {"mnist", "runs/hvae"} <= set(names(["analyse", "spectrum", "runs/classifier", "--against", "noise", ""]))
    assert "wrn-16-2" in names(["train", "classifier", "--arch", ""])
    assert names(["distill", "ce+at"]) == ["ce+attention"] and "ce" in names(["distill", ""])
    assert names(["table", "pen"]) == ["penultimate"] and "4" in names(["table", "penultimate", ""])
    assert names(["ls", ""]) == ["runs", "classifiers", "datasets", "pretrained", "terms", "tables"]
    assert names(["sample", "pretr"]) == [f"pretrained:{name}" for name in pretrained_names()]
    assert names(["table", "distillation", "short", "--against", "ck"]) == ["ckd", "ckd+kd"]
    assert names(["table", "penultimate", "4", "--column", ""]) == ["3", "5", "10", "20"]
    assert names(["train", "classifier", "--optimizer", "ad"]) == ["adam", "adamw"]
    (place / "other").mkdir()
    (place / "other" / "mine").symlink_to(place / "runs" / "hvae")
    assert names(["evaluate", "other/"]) == names(["evaluate", "--runs", "other", "oth"]) == ["other/mine"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        [""],
        ["eval"],
        ["nothing", ""],
        ["train", ""],
        ["train", "classifier", "--ep"],
        ["train", "classifier", "--epochs", ""],
        ["train", "classifier", ""],
        ["train", "classifier", "--head-bias", ""],
        ["ls", "--runs", ""],
        ["table", "nothing", ""],
    ],
)
def test_there_are_none_where_nothing_is_looked_up(place, words):
    assert names(words) == []


def test_bash_completes(place):
    """By bash itself: verbs, options, choices and terms' options of the script, and names that it asks for."""
    (place / "penult.bash").write_text(script("bash"))
    lines = {
        "penult ana": {"analyse"},
        "penult train ": {"-h", "--help", *(verb.split()[1] for verb in VERBS if verb.startswith("train "))},
        "penult train classifier --epo": {"--epochs"},
        "penult train classifier --optimizer ad": {"adam", "adamw"},
        "penult distill ce+hinton --hinton.": {"--hinton.weight", "--hinton.temperature", "--hinton.warmup"},
        "penult evaluate runs/hvae-": {"runs/hvae-c", "runs/hvae-l"},
        "penult train classifier --data cifar": {"cifar10", "cifar100"},
        "penult evaluate runs/classifier --data-root bi": {"bin"},
    }
    tries = "\n".join(f"try {line.rpartition(' ')[0]} {shlex.quote(line.rpartition(' ')[2])}" for line in lines)
    program = f"""
source penult.bash
try() {{
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  "$(complete -p penult | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
  echo "${{COMPREPLY[*]}}"
}}
{tries}
"""
    ran = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=240)
    found = dict(zip(lines, (set(line.split()) for line in ran.stdout.splitlines()), strict=True))
    assert found == lines, ran.stderr


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(place):
    (place / "penult.fish").write_text(script("fish"))
    for line, wanted in (("penult ana", "analyse"), ("penult evaluate runs/cl", "runs/classifier")):
        program = f"source penult.fish; complete -C{shlex.quote(line)}"
        ran = subprocess.run(["fish", "-N", "-c", program], capture_output=True, text=True, timeout=240)
        assert wanted in ran.stdout.split(), ran.stderr


def test_scripts_of_all_shells_are_whole():
    """None hands over in one word what Linux refuses in one, and all ask for names."""
    for shell in ("zsh", "fish"):
        text = script(shell)
        assert "completion names -- " in text and "--hinton.temperature" in text and 'pycode" $words' not in text


def test_what_cannot_be_is_refused(penult):
    said = penult("completion", "fihs")
    assert said.status == 2 and "did you mean 'fish'" in said.err and said.out == ""
    said = penult("completion")
    assert said.status == 2 and "SHELL is missing" in said.err
    said = penult("completion", "bash", "more")
    assert said.status == 2 and "words are for names alone" in said.err
    assert penult("completion", "names", "--", "ls", "").out.split() == [
        "runs",
        "classifiers",
        "datasets",
        "pretrained",
        "terms",
        "tables",
    ]
