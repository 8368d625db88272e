"""Values of another type than was stored end no reader of a run in a trace."""

import json

import pytest


def put(path, keys, value):
    stored = json.loads(path.read_text())
    inner = stored
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(stored))


@pytest.mark.parametrize("value", ["x", [1], {"a": 1}, True])
def test_a_configuration_is_held_to_the_types_of_its_flags(penult, copied, value):
    run = copied("classifier")
    put(run / "config.json", ("config", "validation"), value)
    said = penult("prior", run)
    assert said.status == 2 and "config.json" in said.err and "'validation' is" in said.err, said.err


@pytest.mark.parametrize("words", [("report", "--out", "page.html"), ("export", "out")])
def test_a_command_that_is_no_list_of_words_is_refused(penult, copied, words):
    run = copied("classifier")
    put(run / "config.json", ("command",), 7)
    said = penult(words[0], run, *words[1:])
    assert said.status == 2 and "config.json is damaged: its 'command'" in said.err


def test_a_step_that_is_an_object_is_refused(penult, copied):
    run = copied("hvae")
    put(run / "result.json", ("best step",), {"a": 1})
    said = penult("export", run, "out")
    assert said.status == 2 and "its 'best step' is no number" in said.err


@pytest.mark.parametrize(("keys", "value"), [(("image_shape", 0), True), (("dim",), 10**12), (("hidden",), [2**40])])
def test_sizes_of_a_generator_are_refused(penult, copied, keys, value):
    run = copied("hvae")
    put(run / "model.json", keys, value)
    said = penult("sample", run, "--out", "x.png")
    assert (said.status, len(said.err.splitlines())) == (
        2,
        1,
    ) and "describes no generator that can be built" in said.err


def test_two_things_at_once_are_refused(penult):
    said = penult("table", "penultimate", "4", "--list", "--show")
    assert said.status == 2 and "give one of them" in said.err


def test_a_warmup_longer_than_the_training_is_refused(penult):
    said = penult("train", "classifier", "--arch", "mlp", "--epochs", "2", "--warmup", "3", "--device", "cpu")
    assert said.status == 2 and "--warmup 3: the training has 2 epochs" in said.err
