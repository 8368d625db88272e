"""A run's page: well-formed HTML that needs nothing else, and what it says is what the run's files say."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps.recipes.table import tables
from apps.report.contents import contents
from apps.report.curves import draw, frame_of
from apps.report.markup import Html, element, number, table
from apps.report.page import labels, page
from apps.report.published import published
from apps.runs.quantities import panels

VOID = {"meta", "img", "br", "col", "path", "use"}


class Page(HTMLParser):
    """What a page holds, and whether its elements are nested as they should be."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.tables: list[dict] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], "an element is not closed"

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"an attribute of {tag} twice"
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append({"caption": "", "rows": []})
        if tag == "tr":
            self.tables[-1]["rows"].append([])
        if tag in ("td", "th"):
            self.tables[-1]["rows"][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"{tag} closes another element"

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.texts.append(data)
        if "caption" in self.open:
            self.tables[-1]["caption"] += data
        elif "td" in self.open or "th" in self.open:
            self.tables[-1]["rows"][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]

    def table(self, caption: str) -> dict[str, list[str]]:
        """The rows of the first table whose caption has `caption`, by their names."""
        found = next(found for found in self.tables if caption in found["caption"])
        return {row[0]: row[1:] for row in found["rows"]}


def read(path: Path | str) -> Page:
    text = Path(path).read_text(encoding="utf-8")
    page = Page(text)
    check_alone(page, text)
    return page


def check_alone(page: Page, text: str) -> None:
    """The page asks for nothing: no addresses, no scripts, and every id once."""
    assert text.startswith("<!DOCTYPE html>\n<html") and page.all("html")[0]["lang"] == "en"
    assert not page.all("script") and not page.all("link") and "url(" not in re.sub(r'url\("?#', "", text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], "an event handler"
        for name in ("src", "href", "xlink:href", "action", "poster", "data"):
            address = attributes.get(name)
            if address is not None:
                assert address.startswith("data:image/png;base64,") or address.removeprefix("#") in ids, (tag, address)
    assert "http:" not in text and "https:" not in text
    for image in page.all("img"):
        with Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))) as opened:
            assert opened.size == (int(image["width"]), int(image["height"])) and image["alt"].strip()
    assert len(page.all("h1")) == 1 and len(page.all("title")) == 1
    for attributes in page.all("th"):
        assert attributes["scope"] in ("row", "col")
    used = re.findall(r"url\(#([^)]*)\)", text)
    assert set(used) <= set(ids), "a clip path of another page"


def values(page: Page) -> list[float]:
    return [float(attributes["value"]) for attributes in page.all("data")]


# What is on the page.


@pytest.fixture
def scored(penult, copied):
    """`scored(name)`: a copy of a run, evaluated on a few images."""

    def score(name: str) -> Path:
        run = copied(name)
        assert penult("evaluate", run, "--images", 40, "--samples", 3, "--device", "cpu").status == 0
        return run

    return score


def test_a_generator_is_shown_with_its_scores(penult, scored):
    run = scored("hvae-l")
    said = penult("report", run, "--n", 1)
    assert said.status == 0 and said.out == f"1 run in {run / 'report.html'}: open it in a browser\n", said.err
    page = read(run / "report.html")
    (entry,) = json.loads((run / "evaluation.json").read_text())
    shown = page.table("test images of digits")
    assert set(entry["scores"]) == set(shown) - {"quantity"}
    for name, score in entry["scores"].items():
        assert shown[name] == [f"{score['value']:.2f} ± {score['error']:.2f}".replace("-", "\N{MINUS SIGN}")]
        assert score["value"] in values(page), "the whole number is kept beside the rounded one"
    result = json.loads((run / "result.json").read_text())
    assert {*result["best"].values()} <= {*values(page)}
    assert "first 40 test images" in page.text and "K = 3" in page.text and "encoder q(z|x)" in page.text


@pytest.mark.parametrize(("name", "strips"), [("hvae", 5), ("hvae-c", 15), ("hvae-l", 15)])
def test_samples_are_drawn_from_the_weights(penult, trained, tmp_path, name, strips):
    """One strip a class and five on the way between classes; of HVAE one sheet and five on the way between draws."""
    assert penult("report", trained / name, "--out", "a.html", "--n", 3).status == 0
    page = read("a.html")
    assert len([image for image in page.all("img") if re.search("images, |of class", image["alt"])]) == strips
    assert penult("report", trained / name, "--out", "b.html", "--n", 0).status == 0
    assert not [image for image in read("b.html").all("img") if "samples" in image["alt"]]


def test_a_strip_is_what_sample_draws(penult, trained):
    """The pixels of class 4 on the page are those of `penult sample --labels 4`, magnified by a whole number."""
    assert penult("sample", trained / "hvae-l", "--labels", 4, "--n", 3, "--seed", 5, "--out", "a.npz").status == 0
    with np.load("a.npz") as found:
        drawn = found["x"]
    assert penult("report", trained / "hvae-l", "--n", 3, "--seed", 5, "--out", "a.html").status == 0
    (image,) = [image for image in read("a.html").all("img") if image["alt"] == "3 samples of class 4"]
    with Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))) as opened:
        pixels = np.asarray(opened)
    side, gap = pixels.shape[0], 4
    scale = side // 8
    assert side == 8 * scale and pixels.shape == (side, 3 * side + 2 * gap, 2)
    for index in range(3):
        part = pixels[:, (side + gap) * index : (side + gap) * index + side]
        assert (part[..., 0] == drawn[index].repeat(scale, 0).repeat(scale, 1)).all() and (part[..., 1] == 255).all()
    assert (pixels[:, side : side + gap, 1] == 0).all(), "gaps are clear, so that they suit light and dark"


def test_the_stored_prior_is_a_table(penult, trained):
    assert penult("report", trained / "hvae-l", "--out", "a.html").status == 0
    rows = read("a.html").table("The prior of each class")
    assert rows["class"][:2] == ["|w|", "concentration"] and [rows[str(label)][1] for label in range(10)] == ["20"] * 10
    prior = {row.name: row for row in contents(trained / "hvae-l", n=0).classes}
    assert all(rows[name][3] == row.nearest for name, row in prior.items())


def test_a_classifier_is_shown_by_class(penult, scored):
    run = scored("classifier")
    assert penult("report", run).status == 0
    page = read(run / "report.html")
    (entry,) = json.loads((run / "evaluation.json").read_text())
    rows = page.table("The prior of each class")
    assert rows["class"] == ["accuracy", "|w|", "nearest class", "cosine"]
    for name, accuracy in entry["scores"]["accuracy by class"].items():
        assert rows[name][0] == f"{accuracy:.2%}".replace("%", " %")
    assert {entry["scores"]["accuracy"], entry["scores"]["cross-entropy"]} <= {*values(page)}
    assert not [attributes for attributes in page.all("svg") if "ELBO" in attributes["aria-label"]]


def test_a_long_class_table_is_folded_away(trained):
    run = contents(trained / "classifier")
    many = replace(run, classes=run.classes * 4)
    assert not Page(page([run])).all("details") and len(Page(page([many])).all("details")) == 1
    assert len(Page(page([many])).table("The prior of each class")) == 11, "forty rows under ten names, and the heads"


def test_an_unscored_run_has_a_page(penult, trained):
    assert penult("report", trained / "classifier", "--out", "a.html").status == 0
    page = read("a.html")
    assert "accuracy" not in page.table("The prior of each class")["class"]
    assert page.table("Settings")["penultimate"] == ["6"] and page.table("Settings")["clip"] == ["unset"]


def test_pictures_and_analyses_of_the_folder_are_shown(penult, copied):
    run = copied("classifier")
    for name, colour in (("circle.png", "red"), ("my-own_picture.png", "blue"), (".hidden.png", "green")):
        Image.new("RGB", (7, 5), colour).save(run / name)
    (run / "unknown.json").write_text('{"secret": 1}')
    found = {"scores": {"softmax": {"AUROC": 0.25, "FPR95": 0.5}, "a|b": {"AUROC": 1.0, "FPR95": 0.125}}, "seed": 3}
    (run / "anomaly.json").write_text(json.dumps([found]))
    (run / "normalised.json").write_text('{"any": [1, 2.5, null], "shape": {"of": {"it": {"x": "<y>"}}}}')
    assert penult("report", run).status == 0
    page = read(run / "report.html")
    assert "Normalised activations on the circle" in page.text and "My own picture" in page.text
    assert [(image["width"], image["height"]) for image in page.all("img")] == [("7", "5")] * 2
    assert "secret" not in page.text
    assert page.table("scores") == {
        "": ["AUROC", "FPR95"],
        "softmax": ["25.00 %", "50.00 %"],
        "a|b": ["100.00 %", "12.50 %"],
    }
    assert "1, 2.5, none" in page.text and "<y>" in page.text and "seed 3" in page.text


@pytest.mark.parametrize(("count", "shown"), [(9, [1, 4, 6, 9]), (3, [1, 2, 3]), (1, [1]), (0, [])])
def test_some_of_the_pictures_that_a_training_drew_are_shown(penult, copied, count, shown):
    run = copied("classifier")
    (run / "grids").mkdir()
    for thousand in range(1, count + 1):
        Image.new("RGB", (7, 5)).save(run / f"grids/step-{thousand:03d}000.png")
    (run / "grids/step-of-mine.png").write_text("no picture")
    assert penult("report", run).status == 0
    page = read(run / "report.html")
    assert re.findall(r"Samples after (\d+),000 steps\b(?! \()", page.text) == [str(thousand) for thousand in shown]
    assert len(page.all("img")) == len(shown)


# Beside the published.


def test_a_cell_of_a_table_is_known_by_its_name():
    recipe = tables("penultimate")["4"]
    cell = published(recipe.run("hvae-l", "20", 3), {}, None)
    assert (cell.row, cell.column, cell.own) == ("hvae-l", "20", True)
    assert cell.values == {"log p(x|i)": -87.9, "ELBO": -93.3}  # section 4.2, table 4
    assert cell.ours("log p(x|i)", {"log p(x|i)": 1, "log p(x)": 2}) == ("log p(x|i)", 1)
    hvae = published(recipe.run("hvae", "3", 0), {}, None)
    assert hvae.ours("log p(x|i)", {"log p(x)": 2}) == ("log p(x)", 2) and hvae.ours("ELBO", {}) == ("ELBO", None)


@pytest.mark.parametrize(
    ("config", "dim", "expected"),
    [
        ({"variant": "hvae-c", "data": "mnist"}, 6, {"log p(x|i)": -110.7, "ELBO": -114.3}),
        ({"variant": "hvae-c", "data": "mnist"}, 7, None),
        ({"variant": "hvae-c", "data": "digits"}, 6, None),
        ({"arch": "mlp", "data": "mnist"}, None, None),
    ],
)
def test_a_run_is_like_a_cell_by_variant_data_and_sphere(config, dim, expected):
    """d = 5 is S^5 in R^6."""
    cell = published("mine", config, dim)
    assert (cell and cell.values) == expected and (cell is None or not cell.own)


def test_the_published_numbers_stand_beside_ours(penult, scored):
    run = scored("hvae-l")
    place = run.with_name(tables("penultimate")["4"].run("hvae-l", "5", 0))
    run.rename(place)
    assert penult("report", place, "--n", 0).status == 0
    page = read(place / "report.html")
    (entry,) = json.loads((place / "evaluation.json").read_text())
    rows, minus = page.table("model hvae-l, d 5"), "\N{MINUS SIGN}"
    for name, value in (("log p(x|i)", -105.2), ("ELBO", -109.1)):
        ours = entry["scores"][name]["value"]
        gap = f"{ours - value:+.2f}".replace("-", minus)
        assert rows[name][0] == f"{minus}{-value}" and rows[name][2] == gap
    assert "Seo, Lee and Kwak, 2021" in page.text and "Table 4" in page.text and "repetition of that cell" in page.text
    (place / "evaluation.json").unlink()
    assert penult("report", place, "--n", 0).status == 0
    assert read(place / "report.html").table("model hvae-l, d 5")["ELBO"][1:] == ["–", "–"]


# Curves.


def test_curves_hold_training_and_held_out_images_under_one_name():
    """The training's losses are the bound's parts with the other sign; what never moves is left out."""
    entries = [
        {
            "step": s,
            "train/distortion": 100.0 / s,
            "train/weighted divergence": s / 4,
            "train/label": 2.3,
            "images/s": 1,
        }
        for s in range(1, 9)
    ] + [
        {"step": 4, "validation/elbo": -30.0, "validation/log p(i)": -2.3},
        {"step": 8, "validation/elbo": -20.0, "validation/log p(i)": -2.3},
    ]
    found = {panel.name: panel for panel in panels(entries)}
    assert list(found) == ["ELBO", "reconstruction", "KL divergence"]
    train, validation = found["ELBO"].curves
    assert train.values == pytest.approx([-(100 / s + s / 4 + 2.3) for s in range(1, 9)])
    assert (validation.kind, validation.steps, validation.values) == ("validation", (4, 8), (-30.0, -20.0))
    assert "with log p(i)" in found["ELBO"].notes and found["ELBO"].unit == "nats an image"


def test_damaged_entries_are_passed_over():
    entries = [{"step": "x", "train/loss": 1}, {"train/loss": 2}, {"step": 3, "train/loss": "a", "train/": None}]
    assert panels([*entries, {"step": 4, "train/loss": float("nan")}]) == ()


def test_many_entries_become_means():
    (panel,) = panels([{"step": s, "train/loss": float(s % 2)} for s in range(1000)])
    (curve,) = panel.curves
    assert len(curve.values) == 250 and set(curve.values) == {0.5} and curve.steps[-1] == 999
    assert panel.notes == ("train: means of 4 entries",)


def test_a_curve_is_drawn_in_the_pages_colours():
    """Text is text, nothing is black by itself, and no id is shared between two drawings."""
    entries = [{"step": s, "train/<loss>": 1 / s, "validation/<loss>": 2 / s} for s in range(1, 20)]
    (panel,) = panels(entries)
    one, two = (draw(panel, (0.0, 1.0), prefix) for prefix in ("a", "b"))
    page = Page(f"{one}{two}")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert ids and len(ids) == len(set(ids)) and one == draw(panel, (0.0, 1.0), "a")
    assert "var(--train)" in one and "var(--validation)" in one and "#0" not in one and "font-family" not in one
    assert "step" in page.texts and page.all("svg")[0]["aria-label"].startswith("<loss> by step: train ends at 0.05")


def test_a_steep_start_does_not_flatten_the_curves():
    steep = panels([{"step": s, "train/loss": 1000.0 if s < 5 else 10 - s / 100} for s in range(100)])
    low, high = frame_of(steep)
    assert low == pytest.approx(9.01) and high < 11
    level = panels([{"step": s, "train/loss": float(s)} for s in range(100)])
    assert frame_of(level) == (0, 99)
    assert frame_of([*steep, *level]) == frame_of([*level, *steep]), "runs side by side have one frame"


# Several runs.


def test_several_runs_stand_side_by_side(penult, scored, trained, tmp_path):
    runs = [scored("hvae-l"), trained / "hvae-c", trained / "classifier"]
    said = penult("report", *runs, "--n", 0)
    assert said.status == 0 and said.out.startswith("3 runs in report.html"), said.err
    page = read(tmp_path / "report.html")
    assert len(page.all("article")) == 3 and len(page.all("section")) > 9
    differing = page.table("Settings that differ")
    assert differing["name"] == ["hvae-l", "hvae-c", "classifier"]
    assert differing["variant"] == ["hvae-l", "hvae-c", "not set"]
    assert differing["made by"] == ["train hvae", "train hvae", "train classifier"]
    assert "seed" not in differing and "data" not in differing, "these agree"
    (entry,) = json.loads((runs[0] / "evaluation.json").read_text())
    first, *others = page.table("Scores")["ELBO"]
    assert first.startswith(f"{entry['scores']['ELBO']['value']:.2f}".replace("-", "\N{MINUS SIGN}"))
    assert others == ["–", "–"] and "not all scored" in page.text
    assert {f"run-{number}" for number in range(3)} == {
        attributes["href"].removeprefix("#") for attributes in page.all("a")
    }


def test_runs_of_one_name_are_told_apart():
    assert labels([Path("a/x"), Path("b/x"), Path("b/y")]) == ["a/x", "b/x", "y"]


def test_what_comes_from_files_is_escaped(penult, copied):
    run = copied("classifier")
    odd = run.with_name("<b>&\"x'<b>")
    run.rename(odd)
    for name in ("config.json", "result.json"):
        stored = json.loads((odd / name).read_text())
        if name == "config.json":
            stored["command"] = ["train", "<em>"]
            stored["config"]["<script>alert(1)</script>"] = "</table><img src=x>"
        else:  # which holds numbers alone
            stored["<script>alert(2)</script>"] = 2.0
        (odd / name).write_text(json.dumps(stored))
    Image.new("L", (2, 2)).save(odd / "<i>.png")
    classes = ["<u>", "&amp;", *"23456789"]
    (odd / "evaluation.json").write_text(
        json.dumps(
            [{"data": "<d>", "images": 3, "scores": {"<q>": 0.5, "accuracy by class": {c: 0.5 for c in classes}}}]
        )
    )
    assert penult("report", odd).status == 0
    page = read(odd / "report.html")
    assert len(page.all("img")) == 1 and not page.all("b") and not page.all("script") and not page.all("u")
    assert "<b>&\"x'<b>" in page.texts and "</table><img src=x>" in page.texts and "<q>" in page.texts
    assert "penult train '<em>'" in "".join(page.texts), "the command, quoted as for a shell"


# The file.


def test_the_same_run_gives_the_same_page(penult, scored):
    run = scored("hvae-l")
    assert penult("report", run, "--n", 2, "--out", "a.html").status == 0
    assert penult("report", run, "--n", 2, "--out", "b.html").status == 0
    assert Path("a.html").read_bytes() == Path("b.html").read_bytes()
    assert penult("report", run, "--n", 2, "--out", "c.html", "--seed", 1).status == 0
    assert Path("a.html").read_bytes() != Path("c.html").read_bytes()


def test_a_page_is_written_anew_and_other_files_are_kept(penult, trained):
    words = ["report", trained / "classifier", "--out", "a.html"]
    assert penult(*words).status == 0 and penult(*words).status == 0
    Path("a.html").write_text("<!DOCTYPE html><p>mine</p>")
    said = penult(*words)
    assert said.status == 2 and "--overwrite" in said.err and "mine" in Path("a.html").read_text()
    assert penult(*words, "--overwrite").status == 0 and "mine" not in Path("a.html").read_text()


REFUSED = {
    "no run": (lambda run: [], "RUNS is missing: give penult report RUNS"),
    "no such run": (lambda run: [f"{run}s"], "did you mean"),
    "twice": (lambda run: [run, run / ".." / run.name], "given twice"),
    "ending": (lambda run: [run, "--out", "a.pdf"], "ends in .html"),
    "folder": (lambda run: [run, "--out", "runs"], "ends in .html"),
    "samples": (lambda run: [run, "--n", -1], "--n -1: expected 0 or more, at most 100"),
    "not a run": (lambda run: [run.parent], "no config.json"),
}
BROKEN = {
    "unfinished": ("result.json", None, "is not finished"),
    "config": ("config.json", "{", "not a readable run configuration"),
    "other config": ("config.json", "[1]", "not the configuration of a run"),
    "result": ("result.json", "[", "not a readable result"),
    "evaluation": ("evaluation.json", "{", "not a readable list of evaluations"),
    "analysis": ("anomaly.json", "{", "not a readable result of an analysis"),
    "model": ("model.json", "{", "not a readable"),
    "weights": ("model.safetensors", "x", "truncated"),
    "picture": ("circle.png", "no picture", "no readable PNG"),
    "a folder for a picture": ("circle.png", Path, "not a folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_line(penult, copied, case):
    words, message = REFUSED[case]
    said = penult("report", *words(copied("classifier")))
    assert said.status == 2 and message in said.err and said.err.count("\n") == 1
    assert not list(Path().rglob("*.html"))


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_run_is_one_line(penult, copied, case):
    run = copied("hvae-l" if case in ("model", "weights") else "classifier")
    file, content, message = BROKEN[case]
    if content is None:
        (run / file).unlink()
    elif content is Path:
        (run / file).mkdir()
    else:
        (run / file).write_text(content)
    said = penult("report", run)
    assert said.status == 2 and message in said.err and said.err.count("\n") == 1, said.err
    assert not list(Path().rglob("*.html"))


# Markup.


def test_markup_is_escaped_once():
    assert element("p", "a & b", Html("<br>"), title='"') == '<p title="&quot;">a &amp; b<br></p>'
    assert element("td", element("b", "<"), None) == "<td><b>&lt;</b>None</td>"
    found = Page(table("t < u", ("a", "b"), [("x", number(1.5)), ("y", "")]))
    assert found.tables == [{"caption": "t < u", "rows": [["a", "b"], ["x", "1.5000"], ["y", ""]]}]
    assert [cell.get("class") for cell in found.all("td")] == ["number", "number"]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(12345), "12,345"),
        (number(-98.0, decimals=1), "−98.0"),
        (number(8.531, 0.13), "8.53 ± 0.13"),
        (number(0.975, 0.001), "0.9750 ± 0.0010"),
        (number(1e-5), "1e−05"),
        (number(2.0, decimals=2, signed=True), "+2.00"),
        (number(float("nan")), "not finite"),
        (number(float("inf")), "not finite"),
    ],
)
def test_numbers_are_read_as_they_are_meant(shown, expected):
    assert "".join(Page(shown).texts) == expected


def test_a_run_made_of_files_shows_no_paths_of_the_machine(penult, copied, tmp_path):
    run = copied("classifier")
    stored = json.loads((run / "config.json").read_text())
    stored["config"]["data"] = "/home/ann/all of mine/cats.npz"
    stored["command"] = ["train", "classifier", "--data", "/home/ann/all of mine/cats.npz", "--runs=/home/ann/runs"]
    (run / "config.json").write_text(json.dumps(stored))
    entry = {"scores": {"accuracy": 0.5}, "data": "/home/ann/all of mine/cats.npz", "images": 9, "first": None}
    (run / "evaluation.json").write_text(json.dumps([entry]))
    (run / "anomaly.json").write_text(json.dumps([{"against": "/home/ann/dogs", "scores": {"AUROC": 0.5}}]))
    assert penult("report", run).status == 0
    text = (run / "report.html").read_text()
    assert "ann" not in re.sub(r"<style>.*?</style>|base64,[^\"]*", "", text, flags=re.S).replace("channel", "")
    assert all(part in text for part in ("on ./cats.npz", "test images of ./cats.npz", "--runs=./runs", "./dogs"))
