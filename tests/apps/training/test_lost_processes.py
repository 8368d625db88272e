"""A process that is killed, hangs or fails by itself ends the others, with one line of all together."""

import pytest

PROGRAM = """
import os, signal, sys, time
from datetime import timedelta
import toys
from apps.command import ending
from apps.training import session
from priors.errors import InputError

how, runs = sys.argv[1:]
last = int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1
session.PATIENCE = timedelta(seconds=5)
ending._WAITED = 1.0
losses = toys.Noisy.losses

def failing(task, turn, batch, step):
    if step == 4 and last and how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if step == 4 and last and how == "hung":
        time.sleep(60)
    if step == 4 and last and how == "short of memory":
        raise MemoryError()
    if step == 4 and ((last and how == "refused") or how == "refused by all"):
        raise InputError("no such thing")
    return losses(task, turn, batch, step)

toys.Noisy.losses = failing
sys.exit(toys.penult("train", "toy", "--device", "cpu", "--threads", "1", "--batch-size", "12", "--epochs", "3",
                     "--kind", "noisy", "--name", "lost", "--runs", runs))
"""


@pytest.mark.parametrize(
    ("how", "statuses", "expected"),
    [
        ("killed", [1, 1, -9], "another process of this command was killed, or has not answered for too long"),
        pytest.param("killed", [1, -9], "another process of this command was killed", marks=pytest.mark.slow),
        pytest.param("hung", [1, -9], "or has not answered for too long", marks=pytest.mark.slow),
        pytest.param("refused", [1, 1, 2], "process 2: no such thing", marks=pytest.mark.slow),
        pytest.param("short of memory", [1, 1], "process 1: there is not enough memory", marks=pytest.mark.slow),
        pytest.param("refused by all", [2, 2, 2], "no such thing", marks=pytest.mark.slow),
    ],
)
def test_one_line_says_why_all_end(machine, tmp_path, how, statuses, expected):
    """What is killed leaves the last whole state behind."""
    (tmp_path / "program.py").write_text(PROGRAM)
    job = {"processes": len(statuses), "left": how != "hung", "seconds": 100}
    ran = machine([how, tmp_path], program=tmp_path / "program.py", **job)
    assert ran["statuses"] == statuses, ran["errors"]
    said = [line for line in ran["errors"].splitlines() if line.startswith("penult: ")]
    assert len(said) == 1 and expected in said[0], ran["errors"]
    assert "Traceback" not in ran["errors"]
    assert [path.name for path in (tmp_path / "lost/state").iterdir()] == ["step-4"]
