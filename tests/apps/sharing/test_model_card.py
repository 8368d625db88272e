"""Model cards: front matter as the Hub's own library reads it, and no number that the run's files do not hold."""

import json
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch

from apps.command.cli import main
from apps.sharing.model_card.front_matter import DATASETS
from apps.sharing.model_card.markdown import code, table, text
from apps.sharing.model_card.scores import evaluated, rounded, trained

NUMBER = re.compile(r"(?<![\w.\-+])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w.]*[A-Za-z_])")


@pytest.fixture(scope="module")
def carded(trained, tmp_path_factory):
    """`carded(name)`: a run that says it is of MNIST, evaluated, and the text of its export's card; not to be
    changed."""

    @cache
    def make(name: str, *words: str, data: str = "mnist") -> tuple[Path, str]:
        place = tmp_path_factory.mktemp("carded")
        run = Path(shutil.copytree(trained / name, place / name))
        assert main(["evaluate", str(run), "--images", "40", "--samples", "3", "--device", "cpu"]) == 0
        for file in ("config.json", "evaluation.json", "model.json"):
            (run / file).write_text((run / file).read_text().replace('"digits"', json.dumps(data)))
        assert main(["export", str(run), str(place / "card"), *words]) == 0
        return run, (place / "card" / "README.md").read_text(encoding="utf-8")

    yield make
    torch.set_num_threads(1)


def front_matter(card: str) -> dict:
    yaml = pytest.importorskip("yaml")
    start, top, body = card.split("---\n", 2)
    assert start == "" and body.startswith("\n# ")
    return yaml.safe_load(top)


def tables(card: str) -> list[list[list[str]]]:
    """The rows of each table, head and rule left out, with what was escaped put back."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", card + "\n", re.M)
    return [
        [
            [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in block.splitlines()[2:]
        ]
        for block in blocks
    ]


def scores_of(card: str) -> list[list[str]]:
    """Name, value and protocol of each score: a protocol stands once, above the table of its scores."""
    found = re.findall(r"^(?:On|By) (.*):\n\n((?:^\|.*\|\n)+)", card, re.M)
    assert len({said for said, _ in found}) == len(found)
    return [[*row, re.sub(r"\\(.)", r"\1", said)] for said, block in found for row in tables(block)[0]]


def numbers(value) -> list[float]:
    """All numbers in JSON, in values, in texts and in names."""
    if isinstance(value, dict):
        return [number for item in [*value, *value.values()] for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    if isinstance(value, str):
        return [float(found.replace(",", "")) for found in NUMBER.findall(value)]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def held(shown: str, there: list[float], share: bool) -> bool:
    """Whether a shown number is one that is there, rounded to the digits it is shown with."""
    digits = len(shown.partition(".")[2].partition("e")[0])
    value = float(shown.replace(",", ""))
    scale = 100 if share else 1
    return any(abs(scale * number - value) <= 0.5000001 * 10**-digits for number in there)


@pytest.mark.parametrize("name", ["classifier", "hvae", "hvae-c", "hvae-l"])
def test_every_number_in_the_tables_is_in_the_runs_files(carded, name):
    run, card = carded(name)
    there = [number for file in run.glob("*.json") for number in numbers(json.loads(file.read_text()))]
    checked = 0
    for rows in [*tables(card), scores_of(card)]:  # the latter with their protocols
        for row in rows:
            if row[0] == "exported by":
                continue  # the program's version, which is not the run's
            for cell in row:
                for shown in NUMBER.findall(cell):
                    assert held(shown, there, share="%" in cell), (row, shown)
                    checked += 1
    assert checked > 40


def test_the_check_of_numbers_can_fail():
    assert held("98.18", [0.98180002], share=True) and held("-94.09", [-94.08698], share=False)
    assert not held("98.19", [0.98180002], share=True) and not held("-94.08", [-94.08698], share=False)
    assert NUMBER.findall("98.18 %, 10,000 of b0858264e9346055 at -2.30 ± 0.29") == ["98.18", "10,000", "-2.30", "0.29"]


@pytest.mark.parametrize("name", ["classifier", "hvae-l"])
def test_every_score_has_its_protocol_beside_it(carded, name):
    run, card = carded(name)
    (entry,) = json.loads((run / "evaluation.json").read_text())
    rows = scores_of(card)
    single = [score for score, value in entry["scores"].items() if not isinstance(value, dict) or "value" in value]
    own = [row for row in rows if "the first 40 test images of mnist" in row[2]]
    assert [row[0] for row in own] == single
    for row in own:
        assert entry["data_digest"] in row[2]
        if name == "hvae-l":
            assert "K = 3 importance samples" in row[2] and "seed 0" in row[2] and "batch size 100" in row[2]
            assert f"{entry['scores'][row[0]]['value']:.2f} ±" in row[1]
    result = json.loads((run / "result.json").read_text())
    if name == "classifier":
        tested = [row for row in rows if row[2] == "360 test images of mnist, after the training" and "acc" in row[0]]
        assert [row[1] for row in tested] == [
            f"{100 * result[f'test/{name}']:.2f} %" for name in ("accuracy", "top-5 accuracy")
        ]
    else:
        (bound,) = [row for row in rows if row[0].startswith("ELBO with") and "held out" in row[2]]
        assert bound[1] == f"{result['best']['elbo']:.2f}" and str(result["best step"]) in bound[2]


# The Hub's part.


@pytest.mark.parametrize("name", ["classifier", "hvae", "hvae-l"])
def test_the_hubs_library_takes_the_card(carded, name):
    hub = pytest.importorskip("huggingface_hub")
    run, text = carded(name)
    card = hub.ModelCard(text)
    assert card.data.to_dict() == front_matter(text), "nothing is dropped or read otherwise"
    assert isinstance(card.data, hub.ModelCardData)
    assert (card.data.license, card.data.library_name, card.data.datasets) == (None, "penult", ["ylecun/mnist"])
    assert card.data.pipeline_tag == (
        "image-classification" if name == "classifier" else "unconditional-image-generation"
    )
    assert ("class-conditional" in card.data.tags) == (name == "hvae-l")
    if name != "classifier":
        assert card.data.eval_results is None, "the Hub has no metric that is a likelihood"


def test_the_model_index_is_what_the_hubs_library_makes(carded):
    hub = pytest.importorskip("huggingface_hub")
    run, card = carded("classifier")
    accuracy = json.loads((run / "result.json").read_text())["test/accuracy"]
    expected = hub.metadata_eval_result(
        model_pretty_name="card",
        task_pretty_name="Image classification",
        task_id="image-classification",
        metrics_pretty_name="Accuracy on 360 test images",
        metrics_id="accuracy",
        metrics_value=accuracy,
        dataset_pretty_name="mnist",
        dataset_id="ylecun/mnist",
        dataset_split="test",
    )
    for result in expected["model-index"][0]["results"]:
        for metric in result["metrics"]:
            del metric["verified"]  # the Hub's own, not to be set
    assert front_matter(card)["model-index"] == expected["model-index"], "an evaluation of the first 40 is none"


def test_whole_evaluations_are_indexed_by_their_own_data():
    from apps.sharing.model_card.front_matter import accuracies

    entry = {"data": "cifar10", "images": 10_000, "scores": {"accuracy": 0.5}}
    part = {"data": "svhn", "images": 40, "first": 40, "scores": {"accuracy": 0.9}}
    unknown = {"data": "./mine.npz", "images": 40, "scores": {"accuracy": 0.9}}
    found = accuracies("mnist", [entry, part, unknown], {"test/accuracy": 0.25, "test/images": 10_000})
    assert [(one["dataset"]["type"], one["metrics"][0]["value"]) for one in found] == [
        ("ylecun/mnist", 0.25),
        ("uoft-cs/cifar10", 0.5),
    ]


@pytest.mark.parametrize(
    ("words", "expected"), [(["--licence", "cc-by-4.0"], "cc-by-4.0"), (["--licence", "none"], None), ([], None)]
)
def test_the_licence_is_the_users(carded, words, expected):
    card = carded("hvae", *words)[1]
    assert front_matter(card).get("license") == expected and ("licen" in card.lower()) == bool(
        words[1:] != ["none"] and words
    )


def test_data_that_the_hub_does_not_know_are_not_named_to_it(carded):
    top = front_matter(carded("classifier", data="/home/ann/photos.npz")[1])
    assert "datasets" not in top and "model-index" not in top and "metrics" not in top


def test_the_hubs_data_sets_are_ours():
    from apps.data.sources.catalogue import DATASETS as ours

    assert set(DATASETS) <= set(ours) and all(re.fullmatch(r"[\w-]+/[\w-]+", name) for name in DATASETS.values())


# What it says.


def test_a_card_says_where_its_prior_comes_from(carded):
    run, card = carded("hvae-l")
    config = json.loads((run / "config.json").read_text())["config"]
    for said in ("20, given for all classes", config["prior_digest"], "trained on | mnist", "classifier | mlp"):
        assert said in card
    assert "## The class prior" not in carded("hvae")[1]


def test_a_card_says_how_the_model_was_trained_and_what_it_cannot_do(carded):
    run, card = carded("hvae-c")
    stored = json.loads((run / "config.json").read_text())
    for said in (
        stored["config"]["data_digest"],
        stored["environment"]["torch"],
        "penult train hvae",
        "## Limitations",
    ):
        assert said in card
    assert "chosen by the validations" in card and "arxiv.org/abs/2107.01900" in card and "Lee, Yoonho" in card


def test_an_unscored_run_says_so(penult, trained):
    assert penult("export", trained / "hvae", "out").status == 0
    assert "It has not been scored after its training." in Path("out/README.md").read_text()


# Its parts.


def test_signs_of_markdown_are_shown_as_they_are():
    """By the escapes of CommonMark: a backslash before any ASCII punctuation is that sign."""
    name = "a|b <script> *x* _y_ `z` [l](u) & # ~ $ \\ {q}\nnext"
    shown = text(name)
    assert re.sub(r"\\([^\w\s]|_)", r"\1", shown) == name.replace("\n", " ")
    assert not re.search(r"(?<!\\)(?:\\\\)*[|<*_`\[&]", shown)
    assert len(re.findall(r"(?<!\\)\|", table(("h",), [(name,)]).splitlines()[2])) == 2


def test_code_cannot_end_its_own_block():
    block = code("a ``` b", "sh").splitlines()
    assert block[0] == "````sh" and block[-1] == "````"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("test accuracy", 0.5, "50.00 %"),
        ("accuracy by class cat", 1.0, "100.00 %"),
        ("cross-entropy", 0.0707262, "0.07073"),
        ("FID", 23.456, "23.46"),
        ("images", 10000, "10,000"),
        ("KL", {"value": 18.0555, "error": 0.0363}, "18.055 ± 0.036"),
        ("ELBO", {"value": -94.087, "error": 0.2945}, "-94.09 ± 0.29"),
        ("KID", {"value": 0.0021344, "deviation": 0.00031}, "0.00213 (deviation 0.00031)"),
        ("FID", {"value": 23.456, "deviation": None}, "23.46"),
        ("p", {"value": 2.0, "error": 0.0}, "2.00"),
    ],
)
def test_scores_are_rounded_to_what_can_be_read(name, value, expected):
    assert rounded(name, value) == expected


def test_a_frechet_distance_is_never_without_its_extractor():
    entry = {
        "data": "cifar10",
        "split": "train",
        "protocol": "fid-5k",
        "fakes": 50_000,
        "seed": 0,
        "extractor": "wrn-16-2",
        "scores": {"FID (wrn-16-2)": {"value": 12.5, "deviation": 0.25}},
    }
    ((score,), groups) = evaluated([entry])
    assert groups == [] and score.name == "FID (wrn-16-2)" and score.value == "12.50 (deviation 0.25)"
    for said in ("fid-5k", "data cifar10", "split train", "fakes 50,000", "seed 0", "extractor wrn-16-2"):
        assert said in score.protocol
    assert "test images" not in score.protocol


def test_validations_without_a_known_protocol_are_not_shown():
    result = {"best": {"FID": 12.0}, "best step": 10, "steps": 20}
    assert trained({"data": "cifar10"}, result, "sngan") == []
    ((score),) = trained({"data": "mnist", "validation": 100}, {"best": {"elbo": -3.0}, "best step": 10}, "hvae")
    assert (score.name, score.value) == ("ELBO", "-3.00") and "100 training images of mnist, held out" in score.protocol
