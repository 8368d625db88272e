"""Every number of every verb has a range, and words that are no options are answered with what was meant."""

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import pytest

from apps.command.cli import VERBS, configured, verb_of
from apps.command.config import Optimisation
from apps.command.options import check_values, options_of
from apps.command.ranges import FolderRule, Range
from apps.command.words import check_words
from priors.errors import InputError

TERMS = "ce+hinton+ckd+crd+ab+ft+vid+rkd+sp+fitnet+attention"


def configuration(verb: str) -> type:
    module = import_module(VERBS[verb][0])
    return module.configuration([TERMS]) if hasattr(module, "configuration") else module.Config


def numbers(verb: str) -> list:
    return [option for option in options_of(configuration(verb)) if isinstance(option.rule, Range)]


@pytest.mark.parametrize("verb", VERBS)
def test_options_are_those_of_the_help(penult, verb):
    """What is derived from the types is what the parser, which derives them by itself, prints."""
    words = [*verb.split(), TERMS] if verb == "distill" else verb.split()
    said = penult(*words, "--help").out
    shown = set(re.findall(r"(?:^|[ ,│|])(--[a-z0-9.-]+)(?=[ ,│|\n])", said.partition("options")[2]))
    spelt = {one for option in options_of(configuration(verb)) if option.named for one in option.spellings}
    assert spelt <= shown and {option.flag for option in numbers(verb) if option.named} <= shown


@pytest.mark.parametrize("verb", [verb for verb in VERBS if numbers(verb)])
def test_no_number_is_without_end(verb):
    for option in numbers(verb):
        for value in (-1e31, float("nan")):
            assert option.rule.refusal(value), (option.flag, value)
        if option.rule.most != float("inf"):
            assert option.rule.refusal(float("inf")) and option.rule.refusal(10**31), option.flag


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train classifier --batch-size 99999999999999999999", "--batch-size 99999999999999999999: expected 1 or more"),
        ("train classifier --epochs 1e30", "--epochs 1e30: expected a number above 0, at most 1,000,000"),
        ("train classifier --threads 100000", "--threads 100000: expected 1 or more, at most 1,024"),
        ("train hvae --seed -1", "--seed -1: expected 0 or more"),
        ("train hvae --hidden 8 0", "--hidden 8 0: expected 1 or more, at most 1,000,000,000, of each"),
        ("train sngan --betas 0 1", "--betas 0 1: expected 0 or more, below 1, of each"),
        ("sample x --concentration 1e39", "--concentration 1e39: expected 0 or more, at most 1e+12"),
        ("distill ce+hinton --hinton.weight 1e300", "--hinton.weight 1e300"),
        ("analyse invert x --log-every 1000000000", "--log-every 1000000000"),
        ("train classifier --batch_size 3 --batch-size=4", "--batch-size is given twice"),
        ("train classifier --head-bias --no-head-bias", "--no-head-bias contradicts --head-bias"),
        ("train classifier --learning-rate 1", "did you mean --lr?"),
        ("distill ce --learning_rate 1", "did you mean --lr?"),
        ("train hvae --epchs 1", "did you mean --epochs?"),
        ("distill ce+hinton --temperature 1", "did you mean --hinton.temperature?"),
        ("distill ce --attention.weight 5", "of penult distill: attention is not among the terms"),
        ("distill ce --hinton.temperature=5", "--hinton.temperature of penult distill: hinton is not among the terms"),
        ("distill ce+hinton --hintn.temperature 5", "did you mean --hinton.temperature?"),
        ("train classifier --resume", "the same command again"),
        ("train classifier --optimizer lion", "unknown value of --optimizer 'lion'"),
        ("train sngan --augment color", "did you mean 'colour'?"),
        ("ls clasifiers", "did you mean 'classifiers'?"),
        ("analyze invert", "did you mean 'analyse invert'?"),
        ("trian", "did you mean 'train'?"),
        ("train vae", "did you mean 'train hvae'?"),
        ("generate x", "did you mean 'sample'?"),
        ("xyzzy", "unknown verb 'xyzzy' (known: demo"),
    ],
)
def test_words_that_cannot_be_are_one_line(words, expected):
    with pytest.raises(InputError, match=re.escape(expected)):
        configured(*verb_of(words.split()))


def refusal(words: list[str]) -> str:
    with pytest.raises(InputError) as refused:
        configured(*verb_of(words))
    assert "\n" not in str(refused.value) and "see penult" in str(refused.value).lower()
    return str(refused.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train classifier --epochs many", "--epochs many: expected a number above 0, at most 1,000,000; see penult"),
        ("train classifier --batch-size 1e3", "--batch-size 1e3: expected a whole number, 1 or more"),
        (
            "train classifier --patience=",
            "--patience '': expected a whole number, 1 or more, at most 1,000,000,000, or",
        ),
        ("train hvae --hidden 8 wide", "--hidden 8 wide: expected of each a whole number, 1 or more"),
        ("train sngan --betas 0.5", "--betas 0.5: expected 2 values, each a number, 0 or more, below 1"),
        ("train sngan --betas 0.5 0.9 0.1", "'0.1' is a word too many: --betas takes 2 values"),
        ("train classifier --epochs --lr 3", "--epochs has no value: expected a number above 0"),
        ("sample x --out", "--out has no value: expected a path"),
        ("train classifier --epochs 1 2", "'2' is a word too many: --epochs takes one value"),
        ("train classifier --head-bias yes", "'yes' is a word too many: --head-bias takes no value"),
        ("evaluate x --gan-train=1", "--gan-train=1: --gan-train takes no value"),
        ("train classifier epochs=3", "did you mean --epochs?"),
        ("export a b c", "'c' is a word too many: penult export takes RUN, DIR and options"),
        ("export a", "DIR is missing: give penult export RUN DIR"),
        ("table", "PAPER and NUMBER are missing: give penult table PAPER NUMBER"),
        ("distill", "TERMS is missing"),
        ("sample x -o a.png", "unknown option -o of penult sample: did you mean --out?"),
        ("sample x ---n 3", "did you mean --n?"),
        ("sample -- -a b", "'b' is a word too many"),
        ("ls --tyro-print-completion basch", "did you mean 'bash'?"),
    ],
)
def test_values_that_are_missing_wrong_or_too_many_are_one_line(words, expected):
    assert expected in refusal(words.split())


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_without_its_value_or_with_another_kind_is_one_line(verb):
    """The parser's own boxes of several lines are never reached."""
    options = options_of(configuration(verb))
    places = [TERMS if verb == "distill" else "x" for option in options if option.required]
    for option in (option for option in options if option.named):
        said = refusal([*verb.split(), *places, option.flag + ("=1" if option.switch else "")])
        assert option.flag in said and ("has no value" in said or "takes no value" in said)
        if option.kind in (int, float):
            assert f"{option.flag} many" in refusal([*verb.split(), *places, option.flag, "many"])
    if places:
        assert "missing" in refusal(verb.split())


def test_what_the_parser_alone_finds_is_one_line_too(monkeypatch):
    monkeypatch.setattr("apps.command.flags.check_words", lambda *arguments: None)
    for words in ("train classifier --epochs many", "sample", "ls x", "export a b c"):
        assert not set("│╭╰|") & set(refusal(words.split()))


def test_a_dash_before_a_name_or_a_number_is_read():
    assert configured("sample", ["--", "-a"])[1].run == Path("-a")
    assert configured("train classifier", ["--data", "x", "--snapshots", "3"])[1].data.data == "x"
    assert configured("evaluate", ["x", "--mean", "-0.5", "-1e-3"])[1].foreign.mean == (-0.5, -0.001)


def test_a_file_for_a_folder(penult, tmp_path):
    (tmp_path / "file").write_text("mine")
    for words in (
        ["ls", "runs", "--runs", "file"],
        ["ls", "datasets", "--data-root", "file"],
        ["demo", "--runs", "file"],
    ):
        said = penult(*words)
        assert said.status == 2 and "this is a file" in said.err
    assert FolderRule("runs").refusal(tmp_path) is None


def test_none_unsets_a_number_of_values():
    assert configured("train sngan", ["--betas", "none"])[1].betas is None
    assert configured("train sngan", ["--betas", "0", "0.5"])[1].betas == (0.0, 0.5)
    assert "expected 2 values" in refusal("train sngan --betas none 0.5".split())


def test_none_unsets_one_value_and_several():
    _, config = configured("train classifier", ["--patience", "none", "--snapshots", "none", "--penultimate", "3"])
    assert (config.optimisation.patience, config.where.snapshots, config.penultimate) == (None, (), 3)


def test_the_density_without_context_may_be_asked_for_alone():
    _, config = configured("analyse invert", ["x", "--taps", "none"])
    assert config.asked_layers == ["none"]


def test_a_seed_of_a_stored_run_is_let_be():
    with pytest.raises(InputError, match="--seed -1"):
        check_values(Optimisation(seed=-1))
    check_values(Optimisation(seed=-1), stored=True)


def test_a_range_of_a_base_holds_for_another_default():
    @dataclass(frozen=True)
    class Base:
        size: Annotated[int, Range(1, most=9)] = 3

    @dataclass(frozen=True)
    class Other(Base):
        size: int = 5

    with pytest.raises(InputError, match="--size 10"):
        check_values(Other(10))


def test_check_words_lets_help_through():
    check_words(configuration("sample"), "sample", ["--bogus", "--help"])
