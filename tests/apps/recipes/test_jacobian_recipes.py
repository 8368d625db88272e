"""Tables of the full-Jacobian paper: what is published, and what the commands of a cell mean."""

import json
import shlex
from dataclasses import asdict, replace
from functools import cache

import pytest
import torch
from torch import nn

from apps.classifiers.regularisation import last_layer
from apps.classifiers.regularisers import parse_regularisers
from apps.command.cli import configured, verb_of
from apps.distilling.settings import told
from apps.recipes.jacobian.protocol import LAYERS, NORMS, Schooling, blocks, compared, norms
from apps.recipes.table import tables
from priors import zoo
from priors.reading.taps import tap

FOUND = tables("jacobian")


@cache
def meant(number, row, column, seed=0):
    """What the last command of a cell means."""
    words = shlex.split(FOUND[number].commands(row, column, seed)[-1].format(runs="runs"))
    return configured(*verb_of(words))[1]


def updates(config, images):
    return config.optimisation.epochs * images / config.optimisation.batch_size


def test_what_is_published_is_the_papers():
    second, third, fourth = (FOUND[number] for number in "234")
    assert second.published["teacher", "5"] == (66.82,) and third.published["teacher", "5000"] == (90.49,)
    assert second.published["full-jacobian+attention", "5"] == (47.11,)
    assert second.deviations["full-jacobian+attention", "5"] == (0.9,)
    assert second.published["attention", "500"] == (66.53,) and second.deviations["ce", "100"] == (0.01,)
    assert third.published["jacobian+attention", "500"] == (86.51,) and third.deviations["ce", "50"] == (1.6,)
    assert fourth.published["bias-jacobian", "500"] == (71.49,) and fourth.deviations["bias-jacobian", "50"] == (0.08,)
    assert [FOUND["students"].published.get((row, "50")) for row in FOUND["students"].rows] == [
        (50.87,), (58.08,), None, (62.95,),
    ]  # fmt: skip
    for recipe in (second, third, fourth):
        assert recipe.seeds == 2 and set(recipe.deviations) == {
            cell for cell in recipe.published if "teacher" not in cell
        }
        assert all(len(values) == 1 for values in recipe.deviations.values())


def test_published_deviations_are_printed(penult):
    said = penult("table", "jacobian", 2, "--show", "--row", "ce")
    lines = [line.split() for line in said.out.splitlines()]
    assert ["ce", "5", "0/2", "-", "7.45", "+-", "0.3", "-", "-"] in lines
    said = penult("table", "jacobian", 2, "--show", "--row", "teacher", "--column", 5)
    assert "66.82" in said.out and "+-" not in said.out


@pytest.mark.parametrize(("number", "student"), [("2", "vgg-11"), ("3", "vgg-11"), ("2-short", "vgg-6")])
def test_methods_differ_by_their_terms_alone(number, student):
    """Section 7.1: all but the labels match the logits; the same images, length and teacher for all of a seed."""
    recipe = FOUND[number]
    classes = 10 if number == "3" else 100
    for column in (recipe.columns[0], recipe.columns[-1]):
        plain = meant(number, "ce", column, 1)
        images = int(column) * classes
        assert plain.terms == "ce" and plain.teacher is None and plain.student == student
        assert plain.train_images == (images if images < 50_000 else None)
        assert round(updates(plain, images)) == (1000 if "short" in number else 20_000)
        for row in recipe.rows[2:]:
            config = meant(number, row, column, 1)
            assert set(config.terms.split("+")) == {"ce", "activation", *row.split("+")}
            assert config.teacher == f"runs/{recipe.run('teacher', column, 0)}"
            same = ("data", "train_images", "student", "augment", "optimisation")
            assert all(getattr(config, name) == getattr(plain, name) for name in same), row
            assert config.jacobian_angle == ("jacobian" not in row)
            assert bool(config.student_taps) == bool(config.teacher_taps) == ("attention" in row)
            if "attention" in row:
                assert config.attention.p == 1 and config.attention.activation == "relu"
            for term in set(row.split("+")) & {"jacobian", "full-jacobian"}:
                own = getattr(config, term.replace("-", "_"))
                assert (own.norms, own.form, own.weight) == ("running", "normalised", 1)
    teacher = meant(number, "teacher", recipe.columns[0])
    assert teacher.arch == "vgg-9" and teacher.train_images is None
    assert teacher.optimisation.epochs == pytest.approx(12 if "short" in number else 200, rel=1e-3)


def test_layers_that_are_compared_are_alike():
    """The last batch norms of blocks of the same size, of which the last gives the last convolutional layer."""
    sides = {}
    for name in LAYERS:
        with torch.device("meta"):
            network = zoo.build(name, classes=10, image_shape=(3, 32, 32)).eval()
            taps = [f"{layer}.{norm}" for layer, norm in zip(LAYERS[name], NORMS[name], strict=True)]
            with tap(network, [*taps, *LAYERS[name]]) as found:
                network(torch.rand(1, 3, 32, 32))
            sides[name] = [found[one].shape[-1] for one in taps]
            assert all(found[one] is found[block] for one, block in zip(taps, LAYERS[name], strict=True))
        assert all(isinstance(network.get_submodule(one), nn.BatchNorm2d) for one in taps)
        norms_of_all = [one for one, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
        assert taps[-1] == norms_of_all[-1]
    assert sides == {"vgg-4": [32, 16, 8], **dict.fromkeys(("vgg-6", "vgg-9", "vgg-11"), [32, 16, 8, 4])}
    for student, expected in (("vgg-4", [32, 16, 8]), ("vgg-11", [16, 8, 4])):
        ours, theirs = compared(student, "vgg-9")
        assert [sides[student][one] for one in ours] == [sides["vgg-9"][one] for one in theirs] == expected
    config = meant("2", "full-jacobian+attention", "5")
    ours, theirs = compared("vgg-11", "vgg-9")
    assert list(config.full_jacobian.student_layers) == norms("vgg-11", ours).split()
    assert list(config.full_jacobian.teacher_layers) == norms("vgg-9", theirs).split()
    assert list(config.student_taps) == blocks("vgg-11", ours).split()


def test_students_of_four_sizes_are_those_of_table_2():
    """Section 7.1.2: by full-jacobian; the cells of VGG-11 are the same trainings."""
    recipe = FOUND["students"]
    for column in recipe.columns:
        assert recipe.commands("vgg-11", column, 1) == FOUND["2"].commands("full-jacobian", column, 1)
        assert recipe.run("vgg-11", column, 1) == FOUND["2"].run("full-jacobian", column, 1)
        for row in recipe.rows:
            config = meant("students", row, column)
            assert config.student == row and config.terms == "ce+activation+full-jacobian"
            assert len(config.full_jacobian.student_layers) == 3


@pytest.mark.parametrize(("number", "network"), [("4", "vgg-11"), ("4-short", "vgg-6")])
def test_table_4_regularises_the_last_convolutional_layer(number, network):
    """Section 7.2: p = .5, lambda = 1e-1 and 1e2, of the same single layer."""
    said = {"none": {}, "dropout": {"dropout": 0.5}, "bias-decay": {"bias_decay": 0.1}, "bias-jacobian": {}}
    said["bias-jacobian"] = {"bias_jacobian": 100.0}
    for row in FOUND[number].rows:
        config = meant(number, row, "50", 1)
        assert (config.arch, config.train_images, config.optimisation.seed) == (network, 5000, 1)
        chosen = {name: own[None] for name, own in asdict(parse_regularisers(config.regularise)).items() if own}
        assert chosen == said[row]
        plain = meant(number, "none", "50", 1)
        assert replace(config, regularise=(), where=plain.where) == plain, "nothing else differs"
    with torch.device("meta"):
        made = zoo.build(network, classes=100, image_shape=(3, 32, 32))
        assert last_layer(made, (3, 32, 32)) == f"{LAYERS[network][-1]}.{NORMS[network][-1]}"


def test_the_grid_is_scored_on_held_out_images_and_has_what_was_chosen():
    recipe = FOUND["4-grid"]
    assert recipe.metrics == ("held-out accuracy",)
    assert {"dropout:0.5", "bias-decay:1e-1", "bias-jacobian:1e2"} <= set(recipe.rows)
    for row in recipe.rows:
        config = meant("4-grid", row, "50")
        name, strength = row.split(":")
        own = asdict(parse_regularisers(config.regularise))[name.replace("-", "_")]
        assert own == {None: float(strength)} and config.data.validation == 5000 and config.train_images == 5000


def test_held_out_accuracies_are_found(penult, tmp_path):
    """A grid's column: the highest accuracy on held-out images, as the run has it."""
    import json

    from apps.scores.kind import Command
    from apps.scores.known.trained import KIND

    words = "train classifier --data digits --epochs 0.2 --validation 200 --name grid"
    assert penult(*words.split(), "--device", "cpu").status == 0
    folder = tmp_path / "runs" / "grid"
    result = json.loads((folder / "result.json").read_text())
    found = KIND.found(Command(tuple(words.split()), folder))
    assert found["held-out accuracy"] == 100 * result["best"]["accuracy"] != found["accuracy"]


def test_lengths_are_of_updates():
    for images in (500, 5000, 50_000):
        flags = Schooling(updates=1000).flags(images).split()
        epochs = float(flags[flags.index("--epochs") + 1])
        assert round(epochs * images / 64) == 1000
        assert round(epochs / float(flags[flags.index("--validate-every") + 1])) == 10


def test_students_of_named_layers_are_found_again():
    """What a run stores is JSON, which has lists where flags are tuples; a cell's command must mean the same."""
    for row, column in (("full-jacobian", "5"), ("full-jacobian+attention", "10")):
        now = told(meant("2-short", row, column))
        assert now["full-jacobian.student_layers"] and json.loads(json.dumps(now)) == now
