"""`penult table --all`: every cell as it stands, on a stand-in of a paper whose runs are trained here."""

import importlib
import json
import re
import sys
from html.parser import HTMLParser

import pytest
import torch

import apps.recipes
from apps.recipes.table import papers, tables
from apps.runs.by_image import FILE, by_image, keep_by_image
from apps.tables import costs

STANDIN = '''"""A stand-in of a paper, with a <tag> in its name."""

from apps.recipes.table import Table


def run(row, column, seed):
    return f"in-{row}-{column}-{seed}"


def commands(row, column, seed):
    name, epochs = run(row, column, seed), {"short": 0.5, "long": 2, "never": 3}[row]
    words = f"--data digits --arch {column} --epochs {epochs} --lr 0.003 --seed {seed}"
    return (f"train classifier {words} --name {name}",)


TABLES = {
    "1": Table(
        title="Table 1: a stand-in",
        convention="in %",
        rows=("short", "long", "never"),
        columns=("mlp",),
        seeds=2,
        axes=("row", "network"),
        metrics=("accuracy",),
        published={("long", "mlp"): (98.5,)},
        deviations={("long", "mlp"): (0.25,)},
        commands=commands,
        run=run,
        against={"long": "short", "never": "short"},
    ),
    "2": Table(
        title="Table 2: nothing of it is run; nothing of it is published",
        convention="in %",
        rows=("long",),
        columns=("convnet",),
        seeds=1,
        metrics=("accuracy",),
        published={},
        commands=commands,
        run=run,
    ),
}
'''


@pytest.fixture
def standin(tmp_path, monkeypatch):
    (tmp_path / "recipes/standin").mkdir(parents=True)
    (tmp_path / "recipes/standin/__init__.py").write_text(STANDIN)
    monkeypatch.setattr(apps.recipes, "__path__", [*apps.recipes.__path__, str(tmp_path / "recipes")])
    monkeypatch.setattr(costs, "_measured", lambda device, threads, precision: 1e9)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("apps.recipes.standin", None)


def row(text: str, *starts: str) -> str:
    pattern = r"\s+".join(map(re.escape, starts))
    (found,) = re.findall(rf"^{pattern}\s.*$", text, re.MULTILINE)
    return " ".join(found.split())


class Rows(HTMLParser):
    """The texts of a page's rows."""

    def __init__(self, text: str):
        super().__init__()
        self.rows, self.cell, self.sources = [], None, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        if self.cell:
            self.rows[-1][-1] += data


def test_cells_that_are_run_stand_beside_those_that_are_not(penult, standin, tmp_path):
    words = ["--device", "cpu", "--threads", 1]
    for name in ("short", "long"):
        assert penult("table", "standin", 1, "--row", name, *words).status == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")}
    said = penult("table", "standin", "--all", "--out", "all.html", *words)
    assert said.status == 0, said.err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")} == before, "nothing is trained"

    result = [json.loads((tmp_path / f"runs/in-long-mlp-{seed}/result.json").read_text()) for seed in (0, 1)]
    ours = torch.tensor([100 * one["test/accuracy"] for one in result], dtype=torch.float64)
    shown = row(said.out, "long", "mlp", "98.5").split()
    assert shown[:8] == f"long mlp 98.5 +- 0.25 {ours.mean():.2f} +- {ours.std():.2f}".split()
    assert shown[8] == "2/2" and shown[-1] == "a"
    assert row(said.out, "never", "mlp").split()[2:5] == ["-", "-", "0/2"]
    assert row(said.out, "never", "mlp").endswith("not run")
    assert row(said.out, "long", "convnet").endswith("not run")
    assert re.search(r"made a: .*device cpu, .* torch ", " ".join(said.out.split()))
    environment = json.loads((tmp_path / "runs/in-long-mlp-0/config.json").read_text())["environment"]
    assert environment["machine"] in " ".join(said.out.split())
    if "commit" in environment:
        assert f"commit {environment['commit']}" in said.out

    # The pairs: by seed, and by the images that both were asked.
    other = [json.loads((tmp_path / f"runs/in-short-mlp-{seed}/result.json").read_text()) for seed in (0, 1)]
    apart = ours - torch.tensor([100 * one["test/accuracy"] for one in other], dtype=torch.float64)
    error = float(apart.std() / 2**0.5)
    pairs = row(said.out, "long - short", "mlp", "2 seeds")
    assert pairs.startswith(f"long - short mlp 2 seeds {apart.mean():+.2f} +- {error:.2f} t, 1 df ")
    images = row(said.out, "long - short", "mlp", "360 images")
    assert f"{apart.mean():+.2f}" in images and "t, 359 df" in images
    assert "standin 1 2 of 3 cells" in row(said.out, "standin 1", "2 of 3")

    page = (tmp_path / "all.html").read_text()
    found = Rows(page)
    assert ["long", "mlp", "98.5 \N{PLUS-MINUS SIGN} 0.25"] in [one[:3] for one in found.rows]
    assert ["never", "mlp"] in [one[:2] for one in found.rows] and "&lt;tag&gt;" in page
    assert all(source.startswith("#") for source in found.sources), "no network is needed"
    document = json.loads(penult("table", "standin", 1, "--all", "--json", *words).out)["found"]
    told = {(one["row"], one["column"]): one for one in document if one["kind"] == "cell"}
    assert told["long", "mlp"]["scores"]["accuracy"]["ours"] == ours.tolist()
    assert told["never", "mlp"]["made"] == "" and told["never", "mlp"]["hours left"]["hours"] > 0
    (pair,) = [one for one in document if one["kind"] == "pair" and one["over"] == "2 seeds"]
    assert pair["difference"] == pytest.approx(float(apart.mean())) and pair["other"] == "short"
    again = penult("table", "standin", "--all", "--out", "all.html", *words)
    assert again.status == 0 and (tmp_path / "all.html").read_text() == page

    # A seed whose images are others is left out of the pairs of images.
    for name in ("short", "long"):
        folder = tmp_path / f"runs/in-{name}-mlp-1"
        keep_by_image(folder, {"accuracy": by_image(folder).scores["accuracy"].repeat(2)}, "of each image twice")
    fewer = penult("table", "standin", "--all", *words)
    assert fewer.status == 0 and "McNemar" in row(fewer.out, "long - short", "mlp", "360 images")


def test_what_is_kept_of_images_counts_where_it_is_of_the_score(penult, standin, tmp_path):
    words = ["table", "standin", 1, "--device", "cpu", "--threads", 1]
    for name in ("short", "long"):
        assert penult(*words, "--row", name, "--seeds", 1).status == 0
    folder = tmp_path / "runs/in-long-mlp-0"
    kept = by_image(folder)
    right = kept.scores["accuracy"]
    found = json.loads((folder / "result.json").read_text())["test/accuracy"]
    assert len(right) == 360 and float(right.float().mean()) == pytest.approx(found)
    assert "McNemar," in penult(*words, "--all").out
    keep_by_image(folder, {"accuracy": right}, "of other images")
    assert "McNemar," not in penult(*words, "--all").out
    keep_by_image(folder, {"accuracy": torch.ones(360)}, kept.digest)
    assert "McNemar," not in penult(*words, "--all").out, "the score is another"
    (folder / FILE).write_bytes(b"no tensors")
    assert penult(*words, "--all").status == 0
    (folder / FILE).unlink()
    assert penult("evaluate", folder, "--device", "cpu").status == 0, "which keeps it of runs of before"
    assert torch.equal(by_image(folder).scores["accuracy"], right)


def test_every_table_is_there(standin):
    from apps.scores.settings import Reproduction
    from apps.tables.program import chosen

    assert chosen(Reproduction(all=True)) == [(paper, number) for paper in papers() for number in tables(paper)]


def test_rows_are_compared_with_rows_that_there_are():
    for paper in papers():
        for recipe in tables(paper).values():
            assert set(recipe.against) | set(recipe.against.values()) <= set(recipe.rows)
            assert all(one != other for one, other in recipe.against.items())


@pytest.mark.parametrize(
    ("words", "expected"),
    (
        (["--all", "--show"], "--show with --all"),
        (["jacobian", "4", "--all", "--row", "dropout", "--seeds", "1"], "--row, --seeds with --all"),
        (["jacobian", "4", "--show", "--out", "x.html"], "--out x.html"),
        ([], "PAPER and NUMBER are missing"),
        (["jacobian"], "NUMBER is missing"),
        (["jacobean", "--all"], "did you mean 'jacobian'"),
        (["jacobian", "44", "--all"], "'44'"),
        (["--all", "--out", "x.pdf"], "--out x.pdf"),
        (["--all", "--out", "mine.html"], "--out mine.html exists"),
    ),
)
def test_what_cannot_be_is_refused_in_a_line(penult, tmp_path, words, expected):
    (tmp_path / "mine.html").write_text("my own page")
    said = penult("table", *words)
    assert said.status == 2 and said.err.count("\n") == 1 and expected in said.err, said.err
    assert (tmp_path / "mine.html").read_text() == "my own page"
