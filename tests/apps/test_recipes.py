"""Tables of papers: every command parses, every cell is published, a table resumes where it was left."""

import importlib
import json
import shlex
from pathlib import Path

import pytest

import apps.recipes
from apps.cli import VERBS
from apps.flags import parse
from apps.recipe import papers, tables

RECIPES = [(paper, number) for paper in papers() for number in tables(paper)]


def config_of(line: str):
    """What a plain command means, by its own verb's parser."""
    words = shlex.split(line)
    count = 2 if " ".join(words[:2]) in VERBS else 1
    verb = " ".join(words[:count])
    module = importlib.import_module(VERBS[verb][0])
    return verb, parse(module.Config, verb, module.__doc__, words[count:])


@pytest.mark.parametrize(("paper", "number"), RECIPES)
def test_every_cell_is_published_and_has_a_name_of_its_own(paper, number):
    recipe = tables(paper)[number]
    cells = [(row, column) for row in recipe.rows for column in recipe.columns]
    assert set(recipe.published) == set(cells)
    assert all(len(values) == len(recipe.metrics) for values in recipe.published.values())
    names = {recipe.run(*cell, seed) for cell in cells for seed in range(recipe.seeds)}
    assert len(names) == len(cells) * recipe.seeds
    assert set(recipe.instead) <= set(recipe.metrics)


@pytest.mark.parametrize(("paper", "number"), RECIPES)
def test_every_command_of_the_list_parses_and_ends_with_the_evaluation(penult, paper, number):
    said = penult("table", paper, number, "--list", "--runs", "some where", "--device", "cpu", "--threads", 2)
    assert said.status == 0 and not Path("some where").exists()
    recipe, lines = tables(paper)[number], said.out.splitlines()
    assert len(lines) == len(set(lines))
    evaluated = []
    for line in lines:
        assert line.startswith("penult ")
        verb, config = config_of(line.removeprefix("penult "))
        place = getattr(config, "place", None) or config.where
        assert (str(place.runs), place.device, place.threads) == ("some where", "cpu", 2)
        if verb == "evaluate":
            evaluated.append(config.model)
        else:
            assert config.where.name
    runs = [
        f"some where/{recipe.run(row, column, seed)}"
        for seed in range(recipe.seeds)
        for column in recipe.columns
        for row in recipe.rows
    ]
    assert evaluated == runs


def test_penultimate_table_4_is_the_papers():
    """Section 4.2: S^d in R^(d+1), so that the classifier's penultimate layer has d + 1 units; kappa 20; five seeds."""
    recipe = tables("penultimate")["4"]
    assert recipe.seeds == 5 and recipe.published["hvae-l", "10"] == (-90.5, -95.1)
    train, generator, evaluate = (config_of(line.format(runs="runs")) for line in recipe.commands("hvae-l", "10", 3))
    assert train[1].penultimate == 11 and generator[1].latent_dim == 10 and generator[1].concentration == ("20",)
    assert generator[1].classifier == f"runs/{train[1].where.name}"
    assert {config.optimisation.seed for _, config in (train, generator)} == {3}
    assert {config.data.validation for _, config in (train, generator)} == {10000} and evaluate[1].samples == 500


STANDIN = '''"""A stand-in of a paper."""

from apps.recipe import Table


def run(row, column, seed):
    return f"stand-{row}-{column}-{seed}"


def commands(row, column, seed):
    name = run(row, column, seed)
    train = f"train hvae --data digits --variant {row} --latent-dim {column} --epochs 0.1 --kl-warmup 0 --seed {seed}"
    return (f"{train} --validation 100 --name {name}", f"evaluate {{runs}}/{name} --samples 2 --images 30")


TABLES = {
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
'''


@pytest.fixture
def standin(tmp_path, monkeypatch, penult):
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "standin.py").write_text(STANDIN)
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
