"""Where standard error is no terminal, a training says how far it is: a line a validation, and one a minute."""

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


def test_none_where_there_is_a_bar_or_another_process(capsys, monkeypatch):
    clock = Clock()
    lines = LogLines("run", 10, on=False, clock=clock)
    clock.now = 100.0
    lines.step(1)
    lines.validated(1, {}, {}, best=True)
    monkeypatch.setenv("RANK", "1")
    other = LogLines("run", 10, on=True, clock=clock)
    clock.now = 200.0
    other.step(1)
    assert capsys.readouterr().err == ""


def test_a_training_into_a_file_is_followed(penult, monkeypatch):
    monkeypatch.setattr("apps.training.log_lines.SHORTEST", 0.0)
    said = penult("train", "classifier", "--epochs", 2, "--device", "cpu", "--name", "c", "--validation", 100)
    lines = said.err.splitlines()
    assert len(lines) == 2 and all(line.startswith("c: step ") and "accuracy" in line for line in lines)
