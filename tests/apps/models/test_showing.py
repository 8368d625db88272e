"""The command that a run shows makes that run, whatever verb made it, and however it was called."""

import json
import shlex

import pytest

from apps.command.cli import configured, verb_of
from apps.command.config import identity
from apps.models.like import command_of
from apps.runs.run import Run
from priors import InputError

SMALL = ["--device", "cpu", "--threads", "1"]


def meant(words):
    return configured(*verb_of(words))[1]


def test_the_command_makes_the_run(trained, penult, tmp_path):
    for name in ("classifier", "hvae", "hvae-c", "hvae-l"):
        said = penult("show", trained / name)
        assert said.status == 0
        first, *rest = said.out.splitlines()
        words = shlex.split(first)
        assert words[0] == "penult" and "finished" in rest[1]
        stored = json.loads((trained / name / "config.json").read_text())["config"]
        now = identity(meant(words[1:]))
        assert now == {key: stored[key] for key in now}
        again = penult(*words[1:])
        assert again.status == 0 and "is finished already" in again.out


def test_it_is_quoted_and_shows_the_state(copied, penult, tmp_path):
    run = copied("classifier").rename(tmp_path / "runs" / "a b;c")
    (run / "result.json").unlink()
    (run / "state" / "step-20").mkdir(parents=True)
    said = penult("show", run)
    assert said.status == 0 and "--name 'a b;c'" in said.out and "at step 20" in said.out
    row = next(line.split() for line in said.out.splitlines() if line.startswith("lr "))
    assert row == ["lr", "0.003", "0.001"]
    (found,) = json.loads(penult("show", run, "--json").out)["found"]
    assert found["settings"]["lr"] == 0.003 and shlex.join(found["command"]) in said.out.splitlines()[0]


def test_what_an_older_run_did_is_said(copied):
    """A run without a flag does what was done before it, not what is usual now."""
    run = copied("classifier")
    stored = json.loads((run / "config.json").read_text())
    del stored["config"]["tf32"], stored["config"]["mixup"]
    stored["config"]["lr"] = 0.001
    stored["command"] = ["table", "penultimate", "4"]
    (run / "config.json").write_text(json.dumps(stored))
    words = command_of(Run(run))
    assert not {"--tf32", "--mixup", "--lr"} & set(words)
    assert words[:4] == ["train", "classifier", "--penultimate", "6"] and "--device" not in words


def test_runs_of_a_command_within_another_keep_their_own(penult, monkeypatch, tmp_path):
    """What the run keeps is what was typed for it, though sys.argv is another program's."""
    monkeypatch.chdir(tmp_path)
    words = ["train", "classifier", "--epochs", "0.1", "--name", "mine", *SMALL]
    assert penult(*words).status == 0
    assert json.loads((tmp_path / "runs" / "mine" / "config.json").read_text())["command"] == words


def test_runs_of_a_layer_show_the_command_of_all(copied, penult):
    run = copied("classifier")
    stored = json.loads((run / "config.json").read_text())
    stored["verb"], stored["command"] = "analyse invert", ["analyse", "invert", "runs/x", "--taps", "conv1,fc3"]
    (run / "config.json").write_text(json.dumps(stored))
    assert command_of(Run(run)) == ["analyse", "invert", "runs/x", "--taps", "conv1,fc3"]
    found = meant(["analyse", "invert", "--like", str(run), "--epochs", "3"])
    assert found == meant(["analyse", "invert", "runs/x", "--taps", "conv1,fc3", "--epochs", "3"])
    stored["command"] = ["mine.py", "5"]
    (run / "config.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="made by 'mine.py 5', which is no command of penult"):
        command_of(Run(run))
    said = penult("show", run)
    assert said.status == 2 and said.out == ""


def test_a_word_that_is_no_number_is_passed_over_where_settings_say_it(copied):
    run = copied("classifier")
    stored = json.loads((run / "config.json").read_text())
    stored["command"] = ["train", "classifier", "--epochs", "many"]
    (run / "config.json").write_text(json.dumps(stored))
    assert "many" not in command_of(Run(run))
    stored["verb"], stored["command"] = "analyse invert", ["analyse", "invert", "runs/x", "--epochs", "many"]
    (run / "config.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="--epochs many: expected a number"):
        meant(["analyse", "invert", "--like", str(run)])


def test_what_is_no_run_is_refused(penult, trained, tmp_path):
    for place, said in ((trained / "clasifier", "did you mean"), (tmp_path, "is not a run")):
        found = penult("show", place)
        assert found.status == 2 and said in found.err
