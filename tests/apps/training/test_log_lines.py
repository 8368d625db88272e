"""Where standard error is no terminal, a training says how far it is: a line a validation, and one a minute."""

import itertools

from apps.training.log_lines import LogLines


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_a_minute_and_one_a_validation(capsys):
    clock = Clock()
    lines = LogLines("run", 1000, on=True, clock=clock)
    for step in range(1, 8):
        clock.now += 20.0
        lines.step(step)
    lines.validated(7, {"cross-entropy": 1.25}, {"accuracy": 0.5}, best=True)
    clock.now += 0.5
    lines.validated(8, {}, {}, best=False)
    assert capsys.readouterr().err.splitlines() == [
        "run: step 3 of 1,000",
        "run: step 6 of 1,000",
        "run: step 7 of 1,000: cross-entropy 1.25, accuracy 0.5 (best)",
    ]


def test_a_name_that_controls_a_terminal_is_written_out(capsys):
    """New runs have no such name, but those of before may."""
    lines = LogLines("a\x1b[31m\n", 10, on=True, clock=itertools.count(0.0, 61.0).__next__)
    lines.step(1)
    assert capsys.readouterr().err == "a\\x1b[31m\\n: step 1 of 10\n"


def test_none_where_there_is_a_bar(capsys):
    clock = Clock()
    lines = LogLines("run", 10, on=False, clock=clock)
    clock.now = 100.0
    lines.step(1)
    lines.validated(1, {}, {}, best=True)
    assert capsys.readouterr().err == ""


def test_a_training_into_a_file_is_followed(penult, monkeypatch):
    monkeypatch.setattr("apps.training.log_lines.SHORTEST", 0.0)
    said = penult("train", "classifier", "--epochs", 2, "--device", "cpu", "--name", "c", "--validation", 100)
    lines = said.err.splitlines()
    assert len(lines) == 2 and all(line.startswith("c: step ") and "accuracy" in line for line in lines)
