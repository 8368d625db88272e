"""A run's evaluations as they are read: scores are numbers, or the file is damaged."""

import json

import pytest

from apps.runs.evaluations import follows, keep_evaluation, read_evaluations
from priors.errors import InputError

SCORES = {"accuracy": 0.9, "ELBO": {"value": -90.5, "error": None}, "accuracy by class": {"0": 1, "1": 0.8}}


def test_scores_come_back(tmp_path):
    keep_evaluation(tmp_path, {"data": "digits", "scores": SCORES})
    keep_evaluation(tmp_path, {"data": "mnist", "scores": {}})
    assert read_evaluations(tmp_path) == [{"data": "digits", "scores": SCORES}, {"data": "mnist", "scores": {}}]


@pytest.mark.parametrize("value", ["", "0.9", True, [0.9], [], {"value": ""}, {"0": {"AUROC": False}}], ids=repr)
@pytest.mark.parametrize("name", SCORES)
def test_a_score_that_is_no_number_is_damage(tmp_path, name, value):
    """A page would leave it out in silence, and the next evaluation would keep it."""
    (tmp_path / "evaluation.json").write_text(json.dumps([{"scores": SCORES | {name: value}}]))
    with pytest.raises(InputError, match=r"evaluation.json is damaged: its score '.*' is .*, a number was expected"):
        read_evaluations(tmp_path)


@pytest.mark.parametrize(("field", "value"), [("data", [7]), ("images", "x"), ("seed", None), ("samples", True)])
def test_a_protocol_of_another_type_is_damage(tmp_path, field, value):
    (tmp_path / "evaluation.json").write_text(json.dumps([{field: value, "scores": SCORES}]))
    with pytest.raises(InputError, match=f"evaluation.json is damaged: '{field}' is .* was expected; move it away"):
        read_evaluations(tmp_path)


def test_fields_of_later_programs_are_left_alone(tmp_path):
    entry = {"images": 5, "of its own": [1, {}], "scores": SCORES}
    (tmp_path / "evaluation.json").write_text(json.dumps([entry]))
    assert read_evaluations(tmp_path) == [entry]


def test_an_evaluation_replaces_the_one_by_its_protocol_alone(tmp_path):
    """Tuples are lists once they are stored, and what an entry says beside its protocol may change."""
    for taps, value in ((("a", "b"), 1.0), (("a",), 2.0), (("a", "b"), 3.0)):
        protocol = {"taps": taps, "seed": 0}
        keep_evaluation(tmp_path, protocol | {"scores": {"x": value}, "beside": value}, "found.json", protocol)
    kept = read_evaluations(tmp_path, "found.json")
    assert [entry["scores"]["x"] for entry in kept] == [2.0, 3.0]
    assert [follows(entry, {"taps": ("a", "b"), "seed": 0}) for entry in kept] == [False, True]
    assert not follows(kept[1], {"taps": ("a", "b"), "seed": 1})
