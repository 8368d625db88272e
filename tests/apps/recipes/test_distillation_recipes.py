"""Methods of distillation side by side: any objectives on any pair, the same runs as other tables, and bad input."""

import json
import shlex
from itertools import combinations
from statistics import mean, median, stdev

import pytest
from scipy import stats

from apps.command.cli import configured, verb_of
from apps.recipes.distillation.methods import METHODS, WIDE
from apps.recipes.penultimate.distillation import METHODS as PENULTIMATE
from apps.recipes.table import Table, all_against, tables
from apps.report.published import published
from apps.scores.choosing import check_fits
from apps.scores.reproduction import part_of
from apps.scores.settings import Choices, Reproduction
from apps.tables.cells import Cell, Filled, Value
from apps.tables.costs import Estimate
from apps.tables.standings import orders
from distill.terms import terms
from priors.errors import InputError

FOUND = tables("distillation")


def asked(*terms: str, number: str = "short", data: str | None = None, **choices) -> Reproduction:
    return Reproduction("distillation", number, data=data, choice=Choices(terms, **choices))


def students(config: Reproduction) -> dict[str, str]:
    """By row, the training of its first student."""
    recipe = part_of(config).recipe
    return {row: recipe.commands(row, recipe.columns[0], 0)[-1] for row in recipe.rows if row != "teacher"}


def meant(command: str):
    return configured(*verb_of(shlex.split(command.format(runs="runs"))))[1]


@pytest.mark.parametrize(("number", "theirs"), [("cifar100", "2"), ("short", "2-short")])
def test_what_table_2_trains_is_not_trained_again(number, theirs):
    ours, table = FOUND[number], tables("penultimate")[theirs]
    shared = set(ours.rows) & set(table.rows)
    assert shared >= {"teacher", "student", "kd", "ckd", "ckd+kd", "at", "sp", "rkd", "crd"}
    for row in shared:
        seed = 0 if row == "teacher" else 1
        assert ours.commands(row, "cifar100", 1) == table.commands(row, "cifar100", seed)
        assert ours.run(row, "cifar100", 1) == table.run(row, "cifar100", seed)
    run = ours.run("kd", "cifar100", 0)
    assert (found := published(run, {}, None)) is None or (found.paper, found.number) == ("penultimate", "2")


def test_methods_are_as_they_were_published():
    for name, (words, known) in PENULTIMATE.items():
        assert METHODS[name][0] == words and known in (None, METHODS[name][1])
    recipe = FOUND["cifar100"]
    assert recipe.published["dkd", "cifar100"] == (76.24,) and recipe.published["crd+kd", "cifar100"] == (75.64,)
    pair = ("wrn-40-2", "wrn-16-2")
    for row in set(recipe.rows) - {"teacher"}:
        for term in (name for name in METHODS[row][0].split()[0].split("+") if pair in terms()[name].pairs):
            own = getattr(meant(recipe.commands(row, "cifar100", 0)[-1]), term.replace("-", "_"))
            assert own == terms()[term].for_pair(*pair), row
    assert all(row.choosing.known.keys() == METHODS.keys() for row in FOUND.values())


def test_methods_take_the_settings_of_a_pair_and_terms_those_that_are_typed():
    found = students(asked("dkd", "at", "ce+dkd", "ce+dkd --dkd.beta .5", teacher="resnet-56", student="resnet-20"))
    own = {row: meant(command) for row, command in found.items()}
    assert [one.dkd.beta for row, one in own.items() if row != "at"] == [2.0, 8.0, 0.5]
    assert (
        own["at"].student_taps == ()
        and own["at"].attention.activation == meant("distill ce+attention").attention.activation
    )
    assert {one.student for one in own.values()} == {"resnet-20"} and len(set(found.values())) == 4
    long = [f"ce+hinton --hinton.weight 1.{70 * '0'}{end}" for end in (1, 2)]
    chosen = part_of(asked("kd", *long, epochs=2.0)).recipe
    short, *others = (chosen.run(row, "cifar100", 0) for row in chosen.rows[1:])
    assert short == "distillation-short-2-epochs-kd-seed0"
    assert len(set(others)) == 2 and all(len(other) < 150 for other in others)
    wide = {row: meant(command) for row, command in students(asked("dkd", "sp", student="wrn-40-1")).items()}
    assert {"dkd", "sp"} < WIDE and wide["dkd"].dkd.beta == 6.0 and len(wide["sp"].student_taps) == 3


def test_what_is_chosen_is_in_the_commands_and_in_the_names(tmp_path):
    usual = FOUND["short"]
    assert part_of(asked("kd", "ce+hinton --hinton.temperature 2")).recipe.run("kd", "cifar100", 2) == usual.run(
        "kd", "cifar100", 2
    ), "an objective beside it leaves a run as it is"
    names = set()
    for choice in ({}, {"student": "mlp"}, {"teacher": "wrn-40-1"}, {"epochs": 2.0}, {"data": "digits"}):
        recipe = part_of(asked("kd", **choice)).recipe
        names.add(recipe.run("kd", recipe.columns[0], 0))
        command = meant(recipe.commands("kd", recipe.columns[0], 0)[-1])
        assert (command.student, command.data.data) == (choice.get("student", "wrn-16-1"), recipe.columns[0])
        assert command.optimisation.epochs == choice.get("epochs", 3)
        assert command.teacher == f"runs/{recipe.run('teacher', recipe.columns[0], 3)}"
    assert len(names) == 5
    odd = "my {own} 'images'"
    recipe = part_of(asked("ckd", "ce+ckd --concentration 20", data=odd)).recipe
    own = [meant(recipe.commands(row, odd, 0)[-1]) for row in ("ckd", "ce+ckd --concentration 20")]
    assert [one.data.data for one in own] == [odd] * 2 and [one.concentration for one in own] == [("80",), ("20",)]
    assert part_of(asked("student", "kd", against="kd")).recipe.against == {"student": "kd"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (lambda: asked("kd", "rdk"), "unknown method or term 'rdk': did you mean 'rkd'"),
        (lambda: asked("ce+hintn"), "unknown term 'hintn': did you mean 'hinton'"),
        (lambda: asked("kd", "ce+hinton"), "'kd' and 'ce\\+hinton' are the same objective"),
        (lambda: asked("ce+rkd --seed 3"), "--seed is the table's own"),
        (lambda: asked("ce+ckd --ckd.wieght 1"), "unknown option --ckd.wieght of penult distill: did you mean"),
        (lambda: asked("ce+ckd --ckd.weight x"), "--ckd.weight x: expected a number"),
        (lambda: asked("ce ckd"), "a flag was expected after the terms"),
        (lambda: asked("rkd --rkd.weight 1"), "trains the student's final layer"),
        (lambda: asked("ce+ckd '"), "No closing quotation"),
        (lambda: asked(""), "expected a method, such as kd"),
        (lambda: asked("ce --teacher-norms batch"), "runs no teacher"),
        (lambda: asked(teacher="wrn-40"), "unknown --teacher 'wrn-40': did you mean 'wrn-40-2'"),
        (lambda: asked(teacher="runs/none"), "unknown run"),
        (lambda: asked(student="resnet8x4"), "unknown --student 'resnet8x4': did you mean 'resnet-8x4'"),
        (lambda: asked("kd", "at", against="student"), "unknown --against 'student'"),
        (lambda: Reproduction("penultimate", "2", choice=Choices(epochs=2.0)), "--epochs: table 2 of penultimate is"),
        (lambda: Reproduction(all=True, choice=Choices(student="mlp")), "--student with --all"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(config, expected):
    with pytest.raises(InputError, match=expected):
        part_of(config())


def test_a_term_that_needs_what_the_pair_lacks_is_found_before_the_first_training():
    config = asked("student", "kd", "at", data="digits", teacher="mlp", student="mlp")
    with pytest.raises(InputError, match="at: the student: .* no feature maps"):
        check_fits(part_of(config).recipe, config)
    every = ("student", "kd", "ckd", "class-means", "kd++")
    config = asked(*every, data="digits", teacher="mlp", student="mlp")
    check_fits(part_of(config).recipe, config)


@pytest.mark.slow
@pytest.mark.parametrize("number", FOUND)
def test_all_methods_fit_their_own_pair(number):
    config = asked(*(row for row in FOUND[number].rows if row != "teacher"), number=number)
    check_fits(part_of(config).recipe, config)


def test_methods_are_trained_ordered_and_compared(penult, trained, tmp_path):
    own = ["--teacher", trained / "classifier", "--student", "mlp", "--data", "digits", "--epochs", 0.5, "--seeds", 3]
    objectives = ["student", "ce+hinton --hinton.temperature 2"]
    words = ["table", "distillation", "short", *own, "--device", "cpu", "--threads", 1, "--terms", *objectives]
    said = penult(*words)
    assert said.status == 0, said.err
    assert said.out.count(" is done (") == 6, "two methods, three seeds; the teacher is there"
    runs = {}
    for path in (tmp_path / "runs").glob("*/result.json"):
        stored, result = json.loads((path.parent / "config.json").read_text())["config"], json.loads(path.read_text())
        own = runs.setdefault(stored["terms"], {})
        own[stored["seed"]] = [100 * result[f"test/{name}"] for name in ("accuracy", "best accuracy")]
    last, best = ({name: [own[seed][index] for seed in range(3)] for name, own in runs.items()} for index in (0, 1))

    again = penult(*words, "--json")
    assert again.status == 0 and again.err.count(" is done (") == 0, "nothing is trained twice"
    found = json.loads(again.out)["found"]
    (order,) = [one for one in found if one["kind"] == "order"]
    by_row = dict(zip(objectives, ("ce", "ce+hinton"), strict=True))
    assert order["rows"] == sorted(objectives, key=lambda row: -mean(last[by_row[row]]))
    test = stats.ttest_rel(last["ce+hinton"], last["ce"])
    assert order["compared"] == 1 and order["told apart"] == order["told apart at once"] == (test.pvalue < 0.05)
    for one in (one for one in found if one["kind"] == "standing"):
        name = by_row[one["row"]]
        for told, values in ((one["last"], last[name]), (one["best"], best[name])):
            expected = [mean(values), median(values), stdev(values), min(values), max(values)]
            assert list(told.values()) == pytest.approx(expected)
        if name != "ce":
            assert one["other"] == "student" and one["by seed"]["p"] == pytest.approx(test.pvalue)
            assert one["by seed"]["interval"] == pytest.approx(list(test.confidence_interval(0.95)))
            assert one["by image"]["pairs"] == 360
    assert f"{mean(last['ce']):.2f} +- {stdev(last['ce']):.2f}" in said.out and "Of 1 pair of methods" in said.out
    page = tmp_path / "all.html"
    every = penult(*(word for word in words if word not in ("--seeds", 3)), "--all", "--out", page)
    assert every.status == 0, every.err
    for text in (every.out, page.read_text().replace("\N{PLUS-MINUS SIGN}", "+-")):
        assert (
            "distillation short: methods in order" in text
            and f"{mean(best['ce']):.2f} +- {stdev(best['ce']):.2f}" in text
        )
    alone = penult(*words, "--show", "--row", "student").out
    assert "\nstudent " in alone and "\nce+hinton" not in alone


def scored(row: str, *values: float) -> Cell:
    value = Value("accuracy", None, dict(enumerate(values)), {})
    seeds = tuple(range(len(values)))
    return Cell(row, "images", (value,), (), seeds, seeds, "", None, Estimate(None, False), {})


def test_places_are_those_that_rows_may_have():
    """Of four methods two are level, one is worse than all, and one was never run."""
    rows = {"low": (1.0, 2.0, 3.0), "level": (5.0, 6.5, 7.0), "high": (5.1, 6.3, 7.4), "never": ()}
    recipe = Table(
        "", "", tuple(rows), ("images",), 3, ("accuracy",), {}, str, str, against=all_against(tuple(rows), "low")
    )
    cells = tuple(scored(row, *values) for row, values in rows.items())
    (order,) = orders(Filled("mine", "1", recipe, cells, (), Estimate(None, False)))
    p = {
        pair: stats.ttest_rel(rows[pair[0]], rows[pair[1]]).pvalue for pair in combinations(("low", "level", "high"), 2)
    }
    assert [one < 0.05 for one in p.values()] == [True, True, False]
    assert [one.row for one in order.standings] == ["high", "level", "low", "never"]
    assert [one.places for one in order.standings] == [(1, 2), (1, 2), (3, 3), None]
    held = sorted(p.values())
    assert (order.compared, order.apart) == (3, 2) and held[0] < 0.05 / 3 and held[1] < 0.05 / 2 and order.together == 2
