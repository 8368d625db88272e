"""Runs from Python: what is kept in a folder comes back by name, and folders that hold no run say so."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from importing import imports_from

import apps
from priors import InputError

ROOT = Path(__file__).parents[2]


def test_a_run_is_read_by_name(trained):
    run = apps.load_run(trained / "classifier")
    stored = json.loads((trained / "classifier" / "config.json").read_text())
    lines = [json.loads(line) for line in (trained / "classifier" / "metrics.jsonl").read_text().splitlines()]
    assert run.name == "classifier" and run.verb == "train classifier" and run.finished
    assert run.config == stored["config"] and run.config["penultimate"] == 6
    assert run.metrics["step"].tolist() == [line["step"] for line in lines]
    for name in {name for line in lines for name in line}:
        wanted = np.array([line.get(name, np.nan) for line in lines], dtype=float)
        np.testing.assert_array_equal(run.metrics[name], wanted)
    assert run.result == json.loads((trained / "classifier" / "result.json").read_text())
    assert run.step == run.result["steps"] and run.evaluations == {} and run.snapshots == {}
    assert run.pictures == {"curves": trained / "classifier" / "curves.png"}
    with pytest.raises(KeyError, match="unknown column 'sttep': did you mean 'step'"):
        _ = run.metrics["sttep"]


def test_its_model_is_read_when_it_is_asked_for(trained, copied):
    run = apps.load_run(copied("classifier"))
    assert "model" not in vars(run)
    images = torch.rand(3, 1, 8, 8)
    expected = apps.from_pretrained(trained / "classifier")(images)
    assert torch.equal(run.model(images), expected) and run.model is run.model
    generator = apps.load_run(trained / "hvae-l").model
    assert generator.generate(torch.arange(2)).shape == (2, 1, 8, 8)


def test_all_kinds_of_scores_come_with_their_protocols(copied, penult):
    run = copied("classifier")
    shared = ["--device", "cpu", "--threads", "1"]
    for words in (["evaluate"], ["evaluate", "--images", "20"], ["analyse", "normalised"]):
        (verb, *rest) = words
        verb = [verb, rest.pop(0)] if verb == "analyse" else [verb]
        assert penult(*verb, run, *rest, *shared).status == 0
    found = apps.load_run(run).evaluations
    assert set(found) == {"evaluation", "normalised"}
    whole, part = found["evaluation"]
    assert "first" not in whole and part["first"] == 20 and 0 <= part["scores"]["accuracy"] <= 1
    assert found["normalised"] == json.loads((run / "normalised.json").read_text())
    (run / "normalised.json").write_text("{")
    with pytest.raises(InputError, match="normalised.json is not a readable file of scores"):
        _ = apps.load_run(run).evaluations


def test_what_is_no_finished_run_says_so_in_a_line(copied, tmp_path):
    run = copied("classifier")
    states = run / "state" / "step-7"
    states.mkdir(parents=True)
    (run / "result.json").unlink()
    with pytest.raises(InputError, match="is not finished"):
        apps.load_run(run)
    begun = apps.load_run(run, unfinished=True)
    assert not begun.finished and begun.step == 7 and len(begun.metrics["step"])
    for what in ("result", "model"):
        with pytest.raises(InputError, match="is not finished"):
            getattr(begun, what)
    (run / "config.json").write_text("{")
    with pytest.raises(InputError, match="config.json is not a readable run configuration"):
        apps.load_run(run, unfinished=True)
    (run / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="another program's"):
        apps.load_run(run, unfinished=True)
    with pytest.raises(InputError, match="unknown run .*did you mean"):
        apps.load_run(tmp_path / "runs" / "clasifier")
    with pytest.raises(InputError, match="is not a run: it has no config.json"):
        apps.load_run(tmp_path)
    with pytest.raises(InputError, match="load_run of 3: expected the path"):
        apps.load_run(3)


def test_runs_are_a_table_with_a_row_for_what_cannot_be_read(trained, copied, tmp_path):
    for name in ("classifier", "hvae", "hvae-l"):
        copied(name)
    runs = tmp_path / "runs"
    (runs / "hvae" / "result.json").unlink()
    (runs / "hvae" / "state" / "step-20").mkdir(parents=True)
    (runs / "hvae-l" / "result.json").write_text("{")
    (runs / "bert").mkdir()
    (runs / "bert" / "config.json").write_text('{"model_type": "bert"}')
    found = apps.list_runs(runs)
    assert found["run"] == ["bert", "classifier", "hvae", "hvae-l"]
    assert found["state"] == ["another program's", "finished", "at step 20", "damaged"]
    assert "result.json" in found["problem"][3] and found["problem"][1] is None
    own = apps.load_run(trained / "classifier")
    assert found["config/lr"][1] == own.config["lr"] and np.isnan(found["config/lr"][0])
    assert found["result/test/accuracy"][1] == found["value"][1] == own.result["test/accuracy"]
    assert [row["run"] for row in found.rows] == found["run"]
    with pytest.raises(InputError, match="there is no such folder"):
        apps.list_runs(tmp_path / "none")
    with pytest.raises(InputError, match="this is a file"):
        apps.list_runs(runs / "bert" / "config.json")


def test_tables_become_frames(trained):
    pandas = pytest.importorskip("pandas")
    frame = apps.list_runs(trained).frame()
    assert list(frame["run"]) == ["classifier", "hvae", "hvae-c", "hvae-l"]
    metrics = apps.load_run(trained / "hvae").metrics
    assert list(metrics.frame().columns) == list(metrics) and isinstance(metrics.frame(), pandas.DataFrame)
    assert metrics.frame()["step"].dtype == "int64"


def test_frames_name_what_is_missing(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pip install pandas"):
        apps.list_runs(trained).frame()


def test_importing_the_package_and_listing_runs_loads_no_torch(trained):
    script = (
        "import sys, apps\nassert 'priors' not in sys.modules\napps.load_run, apps.list_runs\n"
        f"assert len(apps.list_runs({str(trained)!r}).rows) == 4\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], env=imports_from(ROOT), check=True)
