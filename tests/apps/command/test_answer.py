"""Documents of --json: one on standard output, the same numbers as are kept, and nothing on an error."""

import json
from math import isfinite
from pathlib import Path

import numpy as np
import pytest

from apps.command.answer import answering, as_json, tell
from apps.command.cli import ANSWERS, VERBS, flags_of

SMALL = ["--device", "cpu", "--threads", "1"]
KEYS = {"penult", "format", "verb", "words", "found"}


def document(said):
    assert said.status == 0, said.err
    return json.loads(said.out, parse_constant=lambda name: pytest.fail(name))


def numbers(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


def test_a_document_has_what_is_kept_and_the_rest_goes_elsewhere(copied, penult):
    run = copied("classifier")
    plain = penult("evaluate", run, *SMALL)
    said = penult("evaluate", run, "--json", *SMALL)
    found = document(said)
    assert set(found) == KEYS and found["verb"] == "evaluate" and str(run) in found["words"]
    (kept,) = json.loads((run / "evaluation.json").read_text())
    assert found["found"] == [{"kind": "evaluation", **kept}]
    assert "cross-entropy" in plain.out and all(line in said.err for line in plain.out.splitlines()[:8])


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (["prior", "--concentration", "mle", "--no-compare"], ["prior", "fit"]),
        (["analyse", "normalised", "--every-gauge"], ["normalised"] * 12),
        (["analyse", "anomaly", "--against", "noise", "--images", "20"], ["anomaly"]),
        (["analyse", "gauges"], ["gauges"]),
        (["analyse", "robustness", "--images", "3", "--wrong", "2", "--steps", "10"], ["robustness"]),
    ],
)
def test_verbs_on_a_classifier(copied, penult, words, kinds):
    run = copied("classifier")
    count = 2 if words[0] == "analyse" else 1
    found = document(penult(*words[:count], run, *words[count:], "--json", *SMALL))
    assert [one["kind"] for one in found["found"]] == kinds
    assert all(map(isfinite, numbers(found))) and len(list(numbers(found))) > 3
    if (file := run / f"{kinds[0]}.json").exists():
        stored = json.loads(file.read_text())
        told = [{name: value for name, value in one.items() if name not in ("kind", "run")} for one in found["found"]]
        assert told == stored


@pytest.mark.slow
def test_every_other_verb_answers(copied, penult, monkeypatch, tmp_path):
    runs = copied("hvae").parent
    copied("classifier")
    monkeypatch.chdir(tmp_path)
    shared = [*SMALL, "--runs", str(runs)]
    trained = ["train", "classifier", "--epochs", "0.2", *shared]
    assert penult(*trained, "--arch", "convnet", "--name", "net").status == 0
    assert penult(*trained, "--penultimate", "2", "--name", "two", "--snapshots", "3").status == 0
    sizes = "--filters 2 --decoder-filters 2 --decoder-epochs 0.1 --epochs 0.1 --test-images 31 --shown 2 --n 2"
    coded = "--decoder-width 2 --ru-steps 2 --ru-measured 4 --epochs 0.1"
    kinds = {
        "evaluate hvae --samples 2 --images 20": {"evaluation"},
        "evaluate hvae --protocol fid-all --split test --extractor runs/classifier": {"evaluation"},
        "prior classifier --concentration mle": {"prior", "fit", "gauges"},
        "analyse circle two": {"circle"},
        "analyse circle two --every-gauge --overwrite": {"circle"},
        f"analyse invert two --taps logits --layers 1 {sizes} --distances 4 --closest logits --draws 7 --estimates "
        "--snapshots --ema none": {"inversion", "through-training", "distances", "closest", "estimates"},
        "analyse spectrum net --taps convolutions --images 20": {"spectrum"},
        "analyse saliency net --images 2 --steps 2 --noisy 2": {"saliency"},
        "analyse perturb net --images 9 --methods full-jacobian": {"perturb"},
        "analyse layers net --images 9 --draws 100": {"layers"},
        f"analyse discard net --metrics sid,ru --taps norm2 --images 9 --grid 4 {coded}": {"discard"},
        "analyse coherency net --taps norm2 --images 9 --grid 4 --sid-steps 2 --sid-check 4": {"coherency"},
    }
    for line, wanted in kinds.items():
        words = [str(runs / word) if (runs / word).is_dir() else word for word in line.split()]
        place = shared if line.startswith(("analyse invert", "analyse discard", "analyse coherency")) else SMALL
        found = document(penult(*words, "--json", *place))
        assert {one["kind"] for one in found["found"]} == wanted, line
        assert all(map(isfinite, numbers(found)))


def test_models_without_a_folder_answer_as_well(copied, penult, monkeypatch, tmp_path):
    """What is kept nowhere is told all the same."""
    run = copied("classifier")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_network.py").write_text(
        f"from apps import from_pretrained\ndef made():\n    return from_pretrained({str(run)!r})\n"
    )
    own = ["import:own_network:made", "--data", "digits"]
    (whole,) = document(penult("evaluate", *own, "--json", *SMALL))["found"]
    (mine,) = document(penult("evaluate", run, "--json", *SMALL))["found"]
    assert whole["scores"] == mine["scores"]
    (found,) = document(penult("analyse", "normalised", *own, "--json", *SMALL))["found"]
    assert found["scores"]["original"]["accuracy"] == pytest.approx(mine["scores"]["accuracy"])


def test_lists_and_tables(trained, penult, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = document(penult("ls", "runs", "--runs", trained, "--json"))["found"]
    assert [one["run"] for one in found] == ["classifier", "hvae", "hvae-c", "hvae-l"]
    assert found[0]["state"] == "finished" and found[0]["value"] == found[0]["result"]["test/accuracy"]
    for what, kind in (("classifiers", "classifier"), ("datasets", "data set"), ("terms", "term"), ("tables", "table")):
        listed = document(penult("ls", what, "--json"))["found"]
        assert {one["kind"] for one in listed} == {kind} and len(listed) > 3
    assert document(penult("ls", "runs", "--runs", tmp_path, "--json"))["found"] == []
    cells = document(penult("table", "penultimate", "4", "--show", "--json"))["found"]
    cell = next(one for one in cells if (one["row"], one["column"]) == ("hvae", "3"))
    assert cell["done"] == 0 and cell["scores"]["ELBO"] == {
        "ours": [None] * cell["seeds"],
        "published": -124.0,
        "published deviation": None,
    }
    listed = document(penult("table", "penultimate", "4", "--list", "--json"))["found"]
    plain = penult("table", "penultimate", "4", "--list").out.splitlines()
    assert [f"penult {line}" for line in dict.fromkeys(line for one in listed for line in one["commands"])] == plain


@pytest.mark.slow
def test_all_cells_are_those_of_their_tables(penult, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cells = document(penult("table", "penultimate", "4", "--show", "--json"))["found"]
    every = document(penult("table", "penultimate", "4", "--all", "--json"))["found"]
    every = {(one["row"], one["column"]): one for one in every if one["kind"] == "cell"}
    for cell in cells:
        same = every[cell["row"], cell["column"]]
        assert all(same[name] == value for name, value in cell.items() if name != "scores")
        assert all(same["scores"][name] == value for name, value in cell["scores"].items() if name in same["scores"])


def test_an_error_leaves_standard_output_empty(trained, penult):
    for words in (["evaluate", trained / "clasifier"], ["ls", "run"], ["prior", trained / "hvae", *SMALL]):
        said = penult(*words, "--json")
        assert said.status == 2 and said.out == "" and said.err.startswith("penult: ") and said.err.count("\n") == 1


def test_all_verbs_that_measure_or_list_take_the_flag():
    for verb in VERBS:
        assert ("--json" in flags_of(verb.split() + ["ce"] * (verb == "distill"))) == (verb in ANSWERS), verb
    measuring = {"prior", "evaluate", "table", "ls"} | {verb for verb in VERBS if verb.startswith("analyse ")}
    assert measuring <= ANSWERS


def test_documents_are_of_one_command(capsys):
    with answering("outer", [], True):
        tell("first", {"value": np.float32(0.5), "error": float("nan"), "place": Path("a"), "counts": (1, np.int64(2))})
        with answering("inner", [], False):
            tell("other", {})
        print("a table")
    said = capsys.readouterr()
    found = json.loads(said.out)["found"]
    assert found == [{"kind": "first", "value": 0.5, "error": None, "place": "a", "counts": [1, 2]}]
    assert said.err == "a table\n"
    tell("nobody asks", {})
    with pytest.raises(TypeError, match="object in the document"):
        as_json([object()])


def test_other_processes_print_none(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    with answering("evaluate", [], True):
        tell("evaluation", {})
    assert capsys.readouterr().out == ""
