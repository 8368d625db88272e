"""Tables of papers: every command parses, every cell is published, a table resumes where it was left."""

import importlib
import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import apps.recipes
from apps.command.cli import configured, verb_of
from apps.recipes.table import papers, tables

RECIPES = [(paper, number) for paper in papers() for number in tables(paper)]


def config_of(line: str):
    """What a plain command means, by its own verb's parser."""
    verb, words = verb_of(shlex.split(line))
    return verb, configured(verb, words)[1]


@pytest.mark.parametrize(("paper", "number"), RECIPES)
def test_every_cell_is_published_and_has_a_name_of_its_own(paper, number):
    recipe = tables(paper)[number]
    cells = recipe.cells
    assert len(cells) == len(recipe.rows) * len(recipe.columns) - len(recipe.gaps), "gaps are in the table"
    assert {row for row, _ in cells} == set(recipe.rows) and {column for _, column in cells} == set(recipe.columns)
    assert set(recipe.published) <= set(cells)  # controls of ours are in no paper
    assert bool(recipe.published) != recipe.title.endswith("; nothing of it is published")
    assert all(len(values) == len(recipe.metrics) for values in recipe.published.values())
    named = {}
    for cell in cells:
        for seed in range(recipe.seeds):  # a name of its own, unless two cells are one training
            named.setdefault(recipe.run(*cell, seed), set()).add(recipe.commands(*cell, seed))
    assert all(len(commands) == 1 for commands in named.values())
    assert len(named) == len({recipe.commands(*cell, seed) for cell in cells for seed in range(recipe.seeds)})
    assert set(recipe.instead) <= set(recipe.metrics)


PLACE = "--runs 'some where' --device cpu --threads 2"


def scored(line: str) -> str:
    """The run that a line's command leaves scores of, by its words."""
    words = shlex.split(line)
    if words[1] == "evaluate":
        return words[2]
    if words[1:3] in (["analyse", "spectrum"], ["analyse", "robustness"]):
        return words[3]
    if "--out" in words:
        return str(Path(words[words.index("--out") + 1]).parent)
    return f"some where/{words[words.index('--name') + 1]}"


def kind(line: str) -> tuple[str, ...]:
    """The words of a line but for what tells seeds apart: lines of one kind parse alike."""
    words = shlex.split(line)
    for number, flag in enumerate(words[:-1], 1):
        if flag == "--seed" and words[number].isdigit():
            words[number] = "SEED"
        if flag == "--name" and words[number][0].isalpha() or words[number].startswith("some where/"):
            words[number] = "RUN"
    return tuple(words)


@pytest.mark.parametrize(("paper", "number"), RECIPES)
def test_every_command_of_the_list_parses_and_ends_with_the_evaluation(penult, paper, number):
    said = penult("table", paper, number, "--list", *shlex.split(PLACE))
    assert said.status == 0 and not Path("some where").exists()
    recipe, lines = tables(paper)[number], said.out.splitlines()
    assert len(lines) == len(set(lines))
    for line in {kind(line): line for line in lines}.values():
        assert line.startswith("penult ")
        verb, config = config_of(line.removeprefix("penult "))
        if verb == "export":  # computes nothing, so it is told no place
            assert config.run.parent == config.dir.parent == Path("some where") and config.overwrite
            continue
        place = getattr(config, "place", None) or config.where
        assert (str(place.runs), place.device, place.threads) == ("some where", "cpu", 2)
        named = config if hasattr(config, "name") else getattr(config, "where", config)
        in_the_run = ("evaluate", "analyse spectrum", "analyse robustness")
        assert verb in (*in_the_run, "analyse normalised") or named.name
        if verb in in_the_run:
            assert scored(line) == config.model
        else:
            assert scored(line) == (str(config.out.parent) if "--out" in line else f"some where/{named.name}")
    for cell in ((*pair, seed) for pair in recipe.cells for seed in range(recipe.seeds)):
        last = recipe.commands(*cell)[-1].format(runs="'some where'", data=Path("data/imagenet"))
        assert f"penult {last} {PLACE}" in lines
        assert scored(f"penult {last}") == f"some where/{recipe.run(*cell)}"


def test_penultimate_table_2_is_the_papers():
    """Section 4.1.3 and the protocol of Tian, Krishnan and Isola 2020, which are the defaults of the verb."""
    recipe = tables("penultimate")["2"]
    assert recipe.seeds == 5 and recipe.published["ckd", "cifar100"] == (74.32,)
    teach, distil = (config_of(line.format(runs="runs"))[1] for line in recipe.commands("ckd", "cifar100", 3))
    assert (teach.arch, distil.student, distil.concentration) == ("wrn-40-2", "wrn-16-2", ("80",))
    assert distil.teacher == f"runs/{teach.where.name}" and distil.optimisation.seed == 3
    assert replace(teach.optimisation, seed=3) == distil.optimisation, "teachers are trained as students are"
    own = distil.optimisation
    assert (own.epochs, own.batch_size, own.lr, own.weight_decay) == (240, 64, 0.05, 5e-4)
    assert [round(own.epochs * part) for part in own.milestones] == [150, 180, 210] and own.decay == 0.1
    assert (distil.ckd.temperature, distil.ckd.logits) == (4.0, "prior")
    label = config_of(recipe.commands("student", "cifar100", 0)[0])[1]
    assert (label.terms, label.teacher, label.optimisation.epochs) == ("ce", None, 240)
    for row, weights in (
        ("kd", {"hinton": 0.9}), ("at", {"attention": 1000}), ("sp", {"sp": 3000}), ("fitnet", {"fitnet": 100}),
        ("vid", {"vid": 1}), ("rkd", {"rkd": 1}), ("crd", {"crd": 0.8}),
    ):  # fmt: skip
        config = config_of(recipe.commands(row, "cifar100", 0)[-1].format(runs="runs"))[1]
        assert {name: getattr(config, name).weight for name in weights} == weights


@pytest.mark.parametrize("number", ["2", "2-short"])
def test_penultimate_table_2_compares_what_tian_et_al_s_code_does(number):
    """Groups as they are summed, without batch norm and ReLU; activation boundaries behind the next batch norm."""
    recipe = tables("penultimate")[number]
    sums = ("body.group1", "body.group2", "body.group3")
    terms = {"fitnet": "fitnet", "at": "attention", "sp": "sp", "vid": "vid", "ft": "ft"}
    for row in recipe.rows[1:]:
        config = config_of(recipe.commands(row, "cifar100", 0)[-1].format(runs="runs"))[1]
        own = sums if row in terms else ()
        assert (config.student_taps, config.teacher_taps) == (own, own), row
        assert row not in terms or getattr(config, terms[row]).activation == "none"
        assert ("sums" in config.where.name) == (row in terms), "runs of other stages have other names"
        if row == "fitnet":
            assert (config.fitnet.stage, config.fitnet.convolution, config.fitnet.regression) == (2, "strided", "relu")
        if row == "ft":
            assert (config.ft.variant, config.ft.rate, config.ft.lr) == ("repdistiller", 0.5, 0.01)


def test_penultimate_table_3_is_the_papers():
    """Section 4.1.4: label, KD and CKD on shifted images; unshifted columns are the runs of table 2."""
    recipe, second = (tables("penultimate")[number] for number in "32")
    assert recipe.published["kd", "photometric-0.8"] == (51.35,)
    assert recipe.published["ckd", "downsample-0.25"] == (49.72,)
    for column in ("photometric-0", "downsample-1"):
        assert recipe.commands("ckd", column, 2) == second.commands("ckd", "cifar100", 2)
        assert recipe.published["ckd", column] == second.published["ckd", "cifar100"]
    shifts = {column: config_of(recipe.commands("label", column, 0)[-1])[1].shift for column in recipe.columns}
    assert shifts["photometric-0.4"] == "photometric:0.4" and shifts["downsample-0.25"] == "downsample:0.25"
    assert [shifts[column] for column in ("photometric-0", "downsample-1")] == [None, None]


@pytest.mark.parametrize("number", ["2", "3"])
def test_short_tables_are_the_papers_at_another_size(number):
    """Nothing but the networks, the teacher's training and the students' schedule differ."""
    long, short = tables("penultimate")[number], tables("penultimate")[f"{number}-short"]
    assert short.seeds == 3 and set(short.rows) <= set(long.rows) and set(short.columns) <= set(long.columns)
    for cell in ((row, column, 1) for row in short.rows for column in short.columns if row != "teacher"):
        theirs, ours = (config_of(recipe.commands(*cell)[-1].format(runs="runs"))[1] for recipe in (long, short))
        assert (ours.student, ours.optimisation.epochs) == ("wrn-16-1", 3) and "-short-" in ours.where.name
        size = {"student": theirs.student, "teacher": theirs.teacher, "where": theirs.where}
        ours = replace(ours, **size, optimisation=replace(ours.optimisation, epochs=240.0, schedule="step"))
        assert asdict(ours) == asdict(theirs)


def test_inversions_are_the_papers():
    """Appendix A: three layers a block, 64 filters for grey images, 196 for colour; dropout .5 but for two layers."""
    found = tables("inversion")
    assert found["1"].published["cifar10", "fc3"] == (5.28e-1, 7.39e-1, 5.79e-1)
    assert found["architectures"].published["global-pooling", "fc3"] == (98.9, -704.01)
    for data, filters, special in (("mnist", 64, {}), ("svhn", 196, {"conv1"}), ("cifar10", 196, {"conv1", "fc3"})):
        train, invert = (config_of(line.format(runs="runs"))[1] for line in found["1"].commands(data, "fc3", 0))
        taken = {"mnist": 55_000, "svhn": 68_257, "cifar10": 45_000}[data] * train.optimisation.epochs / 64
        assert 249_000 < taken <= 250_000 and train.data.validation == 5000
        assert train.arch == ("lenet-32-32" if data == "mnist" else "lenet-64-128") and train.optimisation.lr == 3e-4
        assert invert.model == f"runs/{train.where.name}" and invert.distances == 500 and invert.draws == 1024
        images = {"mnist": 60_000, "svhn": 73_257, "cifar10": 50_000}[data]
        own = invert.optimisation
        assert 249_000 < (images - images // 12) * own.epochs / own.batch_size <= 250_000
        assert (own.optimizer, own.lr, own.schedule, own.decay) == ("adam", 1e-3, "exponential", 0.9999)
        usual = {"layers": 3, "filters": filters, "dropout": 0.5, "context_dropout": 0.0}
        own = {"conv1": {"dropout": 0.1}, "fc3": {"context_dropout": 0.2}}
        for layer in ("conv1", "conv2", "fc3", "logits"):
            assert invert.density.of(layer) == usual | (own[layer] if layer in special else {})
    whole = config_of(found["figures"].commands("mnist", "fc3", 0)[-1].format(runs="runs"))[1]
    assert (
        whole.snapshots
        and whole.overfit == 100
        and replace(whole, snapshots=False, overfit=0)
        == config_of(found["1"].commands("mnist", "fc3", 0)[-1].format(runs="runs"))[1]
    ), "the figures go on from what table 1 has trained"


def test_penultimate_table_4_is_the_papers():
    """Section 4.2: S^d in R^(d+1), so that the classifier's penultimate layer has d + 1 units; kappa 20; five seeds."""
    recipe = tables("penultimate")["4"]
    assert recipe.seeds == 5 and recipe.published["hvae-l", "10"] == (-90.5, -95.1)
    train, generator, evaluate = (config_of(line.format(runs="runs")) for line in recipe.commands("hvae-l", "10", 3))
    assert train[1].penultimate == 11 and generator[1].latent_dim == 10 and generator[1].concentration == ("20",)
    assert generator[1].classifier == f"runs/{train[1].where.name}"
    assert {config.optimisation.seed for _, config in (train, generator)} == {3}
    assert {config.data.validation for _, config in (train, generator)} == {10000} and evaluate[1].samples == 500


def test_penultimate_table_4_has_the_papers_optimiser_as_well():
    """Section 4.2: Adam, 1e-3, batches of 64; the S-VAE authors' code: 100 epochs of warm-up, a look-ahead of 50."""
    theirs, ours = (tables("penultimate")[number] for number in ("4-adam", "4"))
    assert (theirs.published, theirs.rows, theirs.seeds) == (ours.published, ours.rows, ours.seeds)
    assert "not the paper's" in ours.convention and "4-adam" in ours.convention
    for row in theirs.rows:
        config = config_of(theirs.commands(row, "10", 3)[-2].format(runs="runs"))[1]
        own = config.optimisation
        assert (own.optimizer, own.lr, own.batch_size, own.weight_decay) == ("adam", 1e-3, 64, 0)
        assert (own.schedule, own.warmup, own.ema, own.patience, config.kl_warmup) == ("constant", 0, None, 50, 100)
    classifier = config_of(theirs.commands("hvae-l", "10", 3)[0])[1].optimisation
    assert (classifier.optimizer, classifier.lr, classifier.batch_size) == ("adam", 1e-3, 64)


def test_penultimate_table_5_is_the_papers():
    """Section 4.3: WRN-40-2, 128 dimensions, kappa 5, length 10, the settings of Shmelkov et al. 2018; FID 5k."""
    recipe = tables("penultimate")["5"]
    assert recipe.seeds == 5 and recipe.published["vmf", "cifar10"] == (8.511, 18.764)
    train, generator, evaluate = (config_of(line.format(runs="runs")) for line in recipe.commands("vmf", "cifar10", 3))
    assert train[1].arch == "wrn-40-2" and generator[1].classifier == f"runs/{train[1].where.name}"
    assert (generator[1].latent, generator[1].concentration, generator[1].radius) == ("vmf", ("5",), 10)
    assert (generator[1].preset, generator[1].steps) == ("gan-evaluation", 100_000)
    assert generator[1].optimisation.ema is None and evaluate[1].protocol == "fid-5k"
    assert {config.optimisation.seed for _, config in (train, generator)} == {3}
    plain, control = (config_of(recipe.commands(row, "cifar10", 0)[0])[1] for row in ("gaussian", "uniform-sphere"))
    assert (plain.latent, control.latent, control.radius) == ("gaussian", "uniform-sphere", 10)
    same = replace(control, latent="gaussian", where=plain.where)
    assert same == plain  # the controls differ in the latents alone
    assert ("uniform-sphere", "cifar10") not in recipe.published


STANDIN = '''"""A stand-in of a paper."""

from apps.recipes.table import Table


def run(row, column, seed):
    return f"stand-{row}-{column}-{seed}"


def commands(row, column, seed):
    name = run(row, column, seed)
    train = f"train hvae --data digits --variant {row} --latent-dim {column} --epochs 0.1 --kl-warmup 0 --seed {seed}"
    return (f"{train} --validation 100 --name {name}", f"evaluate {{runs}}/{name} --samples 2 --images 30")


def taught(row, column, seed):
    return f"taught-{row}-{column}-{seed}"


def teaching(row, column, seed):
    words = f"--data digits --epochs 1 --lr 0.01 --seed {seed} --name {taught(row, column, seed)}"
    first = "train classifier --data digits --epochs 1 --name taught-teacher"
    if row == "teacher":
        return (first,)
    shift = "" if column == "1" else f" --shift downsample:{column}"
    return (first, f"distill {row} --student mlp {words}{shift}" + " --teacher {runs}/taught-teacher" * (row != "ce"))


TABLES = {
    "2": Table(
        title="Table 2: students",
        convention="in %",
        rows=("ce", "ce+ckd"),
        columns=("1", "0.5"),
        seeds=1,
        metrics=("accuracy",),
        published={("ce", "1"): (1.5,)},
        commands=teaching,
        run=taught,
        extra=("best accuracy", "clean accuracy"),
    ),
    "1": Table(
        title="Table 1: a stand-in",
        convention="in nats",
        rows=("hvae", "hvae-c"),
        columns=("2", "3"),
        seeds=2,
        axes=("model", "d"),
        metrics=("log p(x|i)",),
        instead={"log p(x|i)": "log p(x)"},
        published={("hvae", "2"): (-1.5,), ("hvae", "3"): (-2.5,), ("hvae-c", "2"): (-3.5,), ("hvae-c", "3"): (-4.5,)},
        commands=commands,
        run=run,
        extra=("log p(x)",),
    )
}
INVERT = (
    "analyse invert {runs}/inverted-network --taps penultimate,logits --layers 1 --filters 3 --epochs 0.1 --shown 0 "
    "--decoder-epochs 0 --distances 2 --test-images 20 --name inverted"
)
TABLES["3"] = Table(
    title="Inverted",
    convention="none",
    rows=("digits",),
    columns=("penultimate", "logits"),
    seeds=1,
    metrics=("NCE", "1NN"),
    published={("digits", "logits"): (-1.5, 0.5)},
    commands=lambda *cell: ("train classifier --epochs 0.1 --name inverted-network", INVERT),
    run=lambda *cell: "inverted",
    score=lambda row, column, metric: metric if metric == "accuracy" else f"{column} {metric}",
    places=".3g",
    extra=("accuracy",),
)
'''


@pytest.fixture
def standin(tmp_path, monkeypatch, penult):
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "standin").mkdir()
    (folder / "standin/__init__.py").write_text(STANDIN)
    monkeypatch.setattr(apps.recipes, "__path__", [*apps.recipes.__path__, str(folder)])
    importlib.invalidate_caches()
    yield
    importlib.sys.modules.pop("apps.recipes.standin", None)


def cells(text: str) -> dict[tuple[str, str], list[str]]:
    rows = [line.split() for line in text.splitlines()]
    return {(row[0], row[1]): row[2:] for row in rows if row and row[0] in ("hvae", "hvae-c")}


def test_a_table_is_run_printed_and_resumed(penult, standin, tmp_path):
    assert "standin" in papers()
    shown = penult("table", "standin", 1, "--show")
    assert shown.status == 0 and not (tmp_path / "runs").exists()
    assert cells(shown.out)["hvae-c", "3"] == ["0/2", "-", "-4.5", "-"]

    words = ["table", "standin", 1, "--device", "cpu", "--threads", 1]
    first = penult(*words, "--row", "hvae-c", "--column", 3, "--seeds", 1)
    assert first.status == 0, first.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["stand-hvae-c-3-0"]
    assert set(cells(first.out)) == {("hvae-c", "3")}
    count, ours, published, other = cells(first.out)["hvae-c", "3"]
    scores = json.loads((tmp_path / "runs/stand-hvae-c-3-0/evaluation.json").read_text())[0]["scores"]
    assert (count, published) == ("1/1", "-4.5")
    assert ours == f"{scores['log p(x|i)']['value']:.2f}" and other == f"{scores['log p(x)']['value']:.2f}"

    # A cell that was trained but not scored is only scored; one that is scored is left alone.
    marked = tmp_path / "runs/stand-hvae-c-3-0/model.safetensors"
    before = marked.stat().st_mtime_ns
    (tmp_path / "runs/stand-hvae-c-3-0/evaluation.json").unlink()
    again = penult(*words, "--column", 3, "--seeds", 1)
    assert again.status == 0 and "finished already" in again.out and marked.stat().st_mtime_ns == before
    assert cells(again.out)["hvae-c", "3"][:2] == ["1/1", ours]
    assert cells(again.out)["hvae", "3"][1] == cells(again.out)["hvae", "3"][3], "log p(x) stands for log p(x|i)"
    last = penult(*words, "--column", 3, "--seeds", 1)
    assert "penult evaluate" not in last.out and cells(last.out) == cells(again.out)

    both = penult(*words, "--row", "hvae", "--column", 3)
    assert cells(both.out)["hvae", "3"][:3] == ["2/2", *cells(both.out)["hvae", "3"][1:3]] and "+-" in both.out


def test_a_table_of_students_is_run_printed_and_resumed(penult, standin, tmp_path):
    words = ["table", "standin", 2, "--device", "cpu", "--threads", 1]
    said = penult(*words)
    assert said.status == 0 and said.out.count(" is done (") == 5, "a teacher and four students"
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in said.out.splitlines() if line.startswith("ce")}
    for (row, column), shown in rows.items():
        result = json.loads((tmp_path / f"runs/taught-{row}-{column}-0/result.json").read_text())
        own = result["test/accuracy" if column == "1" else "test/shifted accuracy"]
        expected = [own, result["test/best accuracy"], result["test/accuracy"]]
        assert shown[0] == "1/1" and [shown[1], *shown[3:]] == [f"{100 * value:.2f}" for value in expected]
        assert shown[2] == ("1.5" if (row, column) == ("ce", "1") else "-")
    assert len(rows) == 4
    again = penult(*words)
    assert again.status == 0 and "done" not in again.out, "nothing is trained twice"

    # What another recipe has left under the same name is neither shown nor trained over.
    row, column = next(iter(rows))
    path = tmp_path / f"runs/taught-{row}-{column}-0/config.json"
    stored = json.loads(path.read_text())
    for key, value, done in (("lr", 0.7, "0/1"), ("ce.smoothing", 0.1, "0/1"), ("teacher", "elsewhere/teacher", "1/1")):
        path.write_text(json.dumps(stored | {"config": stored["config"] | {key: value}}))
        shown = [line.split() for line in penult(*words, "--show").out.splitlines()]
        assert [line[2] for line in shown if line[:2] == [row, column]] == [done], key
        refused = penult(*words)
        assert done == "1/1" or (refused.status == 2 and f"{key}: {value} before" in refused.err)


@pytest.mark.slow
def test_a_table_of_inversions_is_run_printed_and_resumed(penult, standin, tmp_path):
    words = ["table", "standin", 3, "--device", "cpu", "--threads", 1]
    said = penult(*words)
    assert said.status == 0, said.err
    assert said.out.count(" is done (") == 3, "a classifier and two densities, though there are two cells"
    rows = {line.split()[1]: line.split()[2:] for line in said.out.splitlines() if line.startswith("digits ")}
    scores = json.loads((tmp_path / "runs/inverted/inversion.json").read_text())
    apart = json.loads((tmp_path / "runs/inverted/distances.json").read_text())["layers"]
    for number, layer in enumerate(("penultimate", "logits")):
        nats, near = f"{scores['layers'][number]['NCE']:.3g}", f"{apart[number]['1NN']:.3g}"
        assert rows[layer] == [
            "1/1",
            nats,
            "-1.5" if number else "-",
            near,
            "0.5" if number else "-",
            f"{100 * scores['accuracy']:.3g}",
        ]
    result = json.loads((tmp_path / "runs/inverted-network/result.json").read_text())
    assert scores["accuracy"] == result["test/accuracy"]
    again = penult(*words)
    assert again.status == 0 and "penult analyse" not in again.out, "nothing is done twice"
    (tmp_path / "runs/inverted/distances.json").unlink()
    assert "penult analyse" in penult(*words).out, "what is missing is made"
    del scores["layers"][1]
    (tmp_path / "runs/inverted/inversion.json").write_text(json.dumps(scores))
    assert "penult analyse" in penult(*words).out, "another command has left fewer layers"


def test_scores_by_another_protocol_do_not_count(penult, standin, tmp_path):
    words = ["table", "standin", 1, "--row", "hvae", "--column", 2, "--seeds", 1]
    assert penult(*words).status == 0
    path = tmp_path / "runs/stand-hvae-2-0/evaluation.json"
    (entry,) = json.loads(path.read_text())
    for change in ({"samples": 3}, {"seed": 1}, {"data": "mnist"}, {"first": 31}, {"batch_size": 7}):
        path.write_text(json.dumps([entry | change]))
        assert cells(penult(*words, "--show").out)["hvae", "2"][0] == "0/1", change
    path.write_text(json.dumps([entry | {"samples": 3}, entry]))
    assert cells(penult(*words, "--show").out)["hvae", "2"][0] == "1/1"


def test_a_table_stops_at_the_first_command_that_fails(penult, standin, tmp_path):
    (tmp_path / "runs" / "stand-hvae-2-0").mkdir(parents=True)
    (tmp_path / "runs" / "stand-hvae-2-0" / "mine.txt").write_text("mine")
    said = penult("table", "standin", 1)
    assert said.status == 2 and "is no run" in said.err
    assert not (tmp_path / "runs" / "stand-hvae-c-2-0").exists()


# Table 1: networks that others trained, on a folder of images.


def test_penultimate_table_1_is_the_papers():
    recipe = tables("penultimate")["1"]
    assert len(recipe.rows) == 9 and recipe.published["RX-101", "imagenet"] == (79.3, 78.9, -0.6)
    for row in recipe.rows:
        original, normalised, drop = recipe.published[row, "imagenet"]
        # The printed accuracies are rounded to .1, which moves their ratio by up to .15 per cent.
        assert abs(100 * (normalised / original - 1) - drop) < 0.15 + 0.05
        (line,) = recipe.commands(row, "imagenet", 0)
        verb, config = config_of(line.format(runs="runs", data="folder"))
        assert verb == "analyse normalised" and (config.image_size, config.resize) == (224, 256)
        assert config.model.endswith(":IMAGENET1K_V1") and config.data == "folder"


def test_a_table_of_a_folder_says_where_it_looks(penult, tmp_path):
    words = ["table", "penultimate", 1]
    assert f" --data {Path('data') / 'imagenet'} " in penult(*words, "--list").out
    assert " --data 'my images' " in penult(*words, "--list", "--data", "my images").out
    assert (
        f" --data {tmp_path / 'sets' / 'imagenet'} " in penult(*words, "--list", "--data-root", tmp_path / "sets").out
    )
    said = penult(*words)
    assert said.status == 2 and said.err.count("\n") == 1 and "--data FOLDER" in said.err and "test/n0" in said.err
    assert penult(*words, "--data", tmp_path / "none").status == 2
    said = penult("table", "penultimate", 4, "--data", tmp_path)
    assert said.status == 2 and "leave it out" in said.err


FOLDER_STANDIN = '''"""A stand-in of a paper whose networks come with their weights."""

from apps.recipes.table import Table


def commands(row, column, seed):
    return (
        f"analyse normalised import:given:{row} --data {{data}} --image-size 8 --resize 10 "
        f"--out {{runs}}/{row}/normalised.json",
    )


TABLES = {
    "1": Table(
        title="Table 1: a stand-in",
        convention="in %",
        rows=("one", "two"),
        columns=("squares",),
        seeds=1,
        axes=("network", "images"),
        metrics=("original", "normalised", "drop rate"),
        published={("one", "squares"): (50.0, 40.0, -20.0), ("two", "squares"): (60.0, 30.0, -50.0)},
        commands=commands,
        run=lambda row, column, seed: row,
        extra=("bias kept",),
        folder="squares",
        layout="squares in test/CLASS/*",
    )
}
'''

NETWORKS = """
import torch


def one(seed=1):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 6), torch.nn.Linear(6, 2))


def two():
    return one(2)
"""


@pytest.fixture
def squares(tmp_path, monkeypatch, penult):
    """A folder of wider pictures, two networks, and a recipe that scores one on the other."""
    stream = np.random.default_rng(0)
    for label in ("n00000001", "n00000002"):
        (tmp_path / "data" / "squares" / "test" / label).mkdir(parents=True)
        for number in range(15):
            pixels = stream.integers(0, 256, (12, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / "squares" / "test" / label / f"{number}.png")
    (tmp_path / "given.py").write_text(NETWORKS)
    (tmp_path / "recipes/folderstandin").mkdir(parents=True)
    (tmp_path / "recipes/folderstandin/__init__.py").write_text(FOLDER_STANDIN)
    monkeypatch.setattr(apps.recipes, "__path__", [*apps.recipes.__path__, str(tmp_path / "recipes")])
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path / "data" / "squares"
    for name in ("apps.recipes.folderstandin", "given"):
        importlib.sys.modules.pop(name, None)


def test_a_table_of_given_networks_is_run_printed_and_resumed(penult, squares, tmp_path):
    words = ["table", "folderstandin", 1, "--device", "cpu", "--threads", 1]
    assert "0/1" in penult(*words, "--show").out
    said = penult(*words, "--row", "one")
    assert said.status == 0, said.err
    (entry,) = json.loads((tmp_path / "runs" / "one" / "normalised.json").read_text())
    assert entry["images"] == 30 and entry["model"] == "import:given:one" and entry["resize"] == 10
    scores = entry["scores"]
    row = next(line.split() for line in said.out.splitlines() if line.startswith("one "))
    both = "both normalised, bias dropped"
    assert row[1:] == [
        "squares",
        "1/1",
        f"{100 * scores['original']['accuracy']:.2f}",
        "50.0",
        f"{100 * scores[both]['accuracy']:.2f}",
        "40.0",
        f"{scores[both]['drop rate in %']:.2f}",
        "-20.0",
        f"{100 * scores['both normalised, bias kept']['accuracy']:.2f}",
    ]
    again = penult(*words)
    assert again.out.count("penult analyse normalised") == 1, "only the other network is left"
    assert (tmp_path / "runs" / "two" / "normalised.json").is_file()
    other = penult(*words, "--data", squares.resolve().relative_to(tmp_path), "--show")
    assert "1/1" in other.out
    moved = squares.rename(squares.with_name("moved"))
    assert "0/1" in penult(*words, "--data", moved, "--show").out, "scores on other images do not count"


def test_the_centre_is_cut_out_of_what_was_resized(penult, squares, tmp_path):
    """As torchvision's Resize(10) and CenterCrop(8) would: what the network then sees decides the scores."""
    from torchvision.transforms.functional import center_crop, pil_to_tensor, resize

    importlib.sys.path.insert(0, str(tmp_path))
    network = importlib.import_module("given").one()
    right = 0
    for label, name in enumerate(("n00000001", "n00000002")):
        for path in sorted((squares / "test" / name).iterdir()):
            with Image.open(path) as image:
                pixels = pil_to_tensor(center_crop(resize(image, 10), 8)).float() / 255
            right += int(network(pixels[None]).argmax()) == label
    words = ["--data", squares, "--image-size", 8, "--resize", 10, "--out", "a.json", "--device", "cpu"]
    assert penult("analyse", "normalised", "import:given:one", *words).status == 0
    (entry,) = json.loads(Path("a.json").read_text())
    assert entry["scores"]["original"]["accuracy"] == pytest.approx(right / 30)


def test_an_arithmetic_is_told_to_the_trainings_alone(penult):
    said = penult("table", "penultimate", "5", "--list", "--precision", "bf16")
    assert said.status == 0, said.err
    trained = {line: "--precision bf16" in line for line in said.out.splitlines()}
    assert {line.split()[1] for line, told in trained.items() if told} == {"train"}
    assert {line.split()[1] for line, told in trained.items() if not told} == {"evaluate"}
    for line in (line for line, told in trained.items() if told):
        assert config_of(line.removeprefix("penult "))[1].optimisation.precision == "bf16"
    assert "--precision" not in penult("table", "penultimate", "5", "--list").out
