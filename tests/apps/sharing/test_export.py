"""Exports: what they hold, that they are runs by themselves, that nothing private or old gets lost or out."""

import json
import os
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from apps.command.cli import main
from apps.generators.latents import Gaussian
from apps.generators.sngan import SNGAN
from apps.generators.sngan_presets import architecture
from apps.models.named import classifier, generator_run
from apps.pretrained import from_pretrained
from apps.runs.public import public
from apps.sharing import export as exporting
from priors.errors import InputError
from priors.files import tensors as tensor_files
from priors.files.tensors import write_tensors

RUNS = ("classifier", "hvae", "hvae-c", "hvae-l")
GENERATORS = RUNS[1:]
JSON = ("model.json", "config.json", "result.json")


@pytest.fixture(scope="module")
def exports(trained, tmp_path_factory) -> Path:
    """An export of each run, called as the run is. Not to be changed."""
    folder = tmp_path_factory.mktemp("exports")
    for name in RUNS:
        assert main(["export", str(trained / name), str(folder / name)]) == 0
    torch.set_num_threads(1)
    return folder


@pytest.fixture
def refused(penult, tmp_path):
    """`refused(*words)`: the one line that an export answers with; nothing is written or changed."""

    def call(*words: object) -> str:
        before = contents(tmp_path)
        said = penult("export", *words)
        assert (said.status, said.out) == (2, ""), (said.out, said.err)
        assert said.err.startswith("penult: ") and said.err.count("\n") == 1
        assert contents(tmp_path) == before
        return said.err

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def read(path: Path):
    return json.loads(path.read_text())


# What is in it.


@pytest.mark.parametrize("name", RUNS)
def test_an_export_holds_the_model_its_scores_and_a_card(exports, trained, name):
    files = {path.name for path in (exports / name).iterdir()}
    drawn = {"samples.png"} if name in GENERATORS else set()
    assert files == {"model.safetensors", *JSON, "README.md", *drawn}
    ours, theirs = (load_file(folder / name / "model.safetensors") for folder in (exports, trained))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert read(exports / name / "result.json") == read(trained / name / "result.json")


def test_nothing_is_left_beside_it(exports):
    assert sorted(path.name for path in exports.iterdir()) == sorted(RUNS)


def test_scores_go_along_with_their_protocols(penult, copied):
    run = copied("hvae-l")
    assert penult("evaluate", run, "--images", 30, "--samples", 2, "--device", "cpu").status == 0
    said = penult("export", run, "out")
    assert said.status == 0 and said.out == (
        f"{run} is in out: model.safetensors, model.json, config.json, result.json, evaluation.json, samples.png, "
        "README.md\n"
    )
    assert read(Path("out/evaluation.json")) == read(run / "evaluation.json")


@pytest.mark.parametrize(("name", "words"), [("hvae-l", ["--labels", "0-9", "--n", 8]), ("hvae", ["--n", 80])])
def test_the_grid_is_what_the_run_itself_draws(penult, exports, trained, name, words):
    assert penult("sample", trained / name, *words, "--seed", 0, "--out", "grid.png", "--device", "cpu").status == 0
    with Image.open("grid.png") as expected, Image.open(exports / name / "samples.png") as drawn:
        assert np.array_equal(np.asarray(expected), np.asarray(drawn))


# It is a run.


@pytest.mark.parametrize("name", RUNS)
def test_an_export_is_loaded_as_its_run_is(exports, trained, name):
    model = from_pretrained(exports / name)
    assert not model.training
    with torch.inference_mode():
        if name == "classifier":
            images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
            expected = classifier(str(trained / name))(images)
            found = model(images)
        else:
            labels = torch.arange(10)
            expected, found = (
                one.generate(labels, torch.Generator().manual_seed(3)) for one in (generator_run(trained / name), model)
            )
    assert torch.equal(found, expected)
    assert {type(from_pretrained(str(trained / name)))} == {type(model)}


@pytest.mark.parametrize("name", RUNS)
def test_an_export_is_a_model_for_the_verbs(penult, exports, tmp_path, name):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in (exports / name).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    said = penult("evaluate", folder, "--images", 20, "--samples", 2, "--device", "cpu")
    assert said.status == 0, said.err
    (entry,) = read(folder / "evaluation.json")
    assert entry["data"] == "digits" and entry["images"] == 20
    if name == "classifier":
        assert penult("prior", folder, "--device", "cpu").status == 0
    else:
        assert penult("sample", folder, "--n", 2, "--out", "a.png").status == 0
    assert penult("report", folder, "--n", 1).status == 0
    assert "finished" in penult("ls", "runs", "--runs", tmp_path).out


def test_a_generator_of_another_kind_is_exported_as_well(penult, tmp_path):
    """An SNGAN that was never trained, in a folder as a run's."""
    torch.manual_seed(0)
    model = SNGAN(architecture("mimicry", (1, 8, 8), 4, 4), tuple("0123456789"), Gaussian(3))
    run = tmp_path / "runs" / "gan"
    write_tensors(run / "model.safetensors", model.state_dict())
    for file, content in (
        ("model.json", model.description()),
        ("config.json", {"verb": "train sngan", "config": {"data": "digits"}, "command": ["train", "sngan"]}),
        ("result.json", {"steps": 0, "last": {"FID": 3.0}}),
    ):
        (run / file).write_text(json.dumps(content))
    assert penult("export", run, "out").status == 0
    assert penult("sample", "out", "--n", 8, "--out", "again.png", "--device", "cpu").status == 0
    with Image.open("again.png") as drawn, Image.open("out/samples.png") as expected:
        assert np.array_equal(np.asarray(drawn), np.asarray(expected))
    labels = torch.tensor([3, 1])
    images = [one.generate(labels, torch.Generator().manual_seed(1)) for one in (model.eval(), from_pretrained("out"))]
    assert torch.equal(*images)
    card = Path("out/README.md").read_text()
    assert "SNGAN, a class-conditional generator" in card and "None: the run holds no scores." in card


def test_an_export_of_an_export_is_the_same(penult, exports):
    assert penult("export", exports / "hvae-c", "hvae-c").status == 0
    assert contents(Path("hvae-c")) == contents(exports / "hvae-c")


def test_the_program_knows_an_export_by_its_mark(exports):
    mark = read(exports / "hvae" / "config.json")["export"]
    assert mark["format"] == "penult export 1" and re.fullmatch(r"\d+\.\d+\S*", mark["penult"])


# What is public.

PRIVATE = {
    "/home/ann/cats.npz": "./cats.npz",
    "/home/ann/my cats/": "./my cats",
    "~/cats": "./cats",
    "~ann/cats": "./cats",
    "../../ann/cats.npz": "./cats.npz",
    "runs/../../ann": "./ann",
    "..": ".",
    "C:\\Users\\ann\\cats": "./cats",
    "\\\\ann\\share\\cats": "./cats",
    "file:///home/ann/cats": "./cats",
    "--data=/home/ann/my cats": "--data=./my cats",
    "import:mine.net:build,weights=/home/ann/w.safetensors": "import:mine.net:build,weights=./w.safetensors",
    "penultimate of /home/ann/wrn, by (/home/ann/x)": "penultimate of ./wrn, by (./x)",
}
OPEN = (
    "mnist",
    "runs/classifier-11",
    "./cats.npz",
    "torchvision:resnet18:IMAGENET1K_V1",
    "20, given for all classes",
    "2.15.0+cu132",
    "N/A",
    "--labels=0-9",
    "https://huggingface.co/me/digits",
    "a / b",
    "/",
    "~20",
    "wait...",
)


@pytest.mark.parametrize("text", PRIVATE)
def test_paths_of_a_machine_are_cut_to_their_last_part(text):
    assert public({"a": [text]}) == {"a": [PRIVATE[text]]}
    assert public(PRIVATE[text]) == PRIVATE[text]


@pytest.mark.parametrize("text", OPEN)
def test_other_texts_stay_what_they_are(text):
    assert public(text) == text


def test_names_of_classes_are_no_paths():
    named = {"class_names": ["/home", "~/b"], "architecture": {"classes": ["../c"]}, "by class": {"/home/d": 0.5}}
    assert public(named) == named


@pytest.mark.parametrize("name", ["classifier", "hvae-l"])
def test_no_file_tells_of_the_machine(penult, copied, name):
    run = copied(name)
    secret = "/home/annabelle/her place"
    config, model = read(run / "config.json"), read(run / "model.json")
    config["config"] |= {"data": f"{secret}/photos.npz", "classifier": f"{secret}/net"}
    config["command"] = ["train", f"--data={secret}/photos.npz", "--runs", secret + "/runs"]
    part, key = ("provenance", "data") if name == "classifier" else ("prior", "dataset")
    model[part][key] = f"{secret}/photos.npz"
    (run / "config.json").write_text(json.dumps(config))
    (run / "model.json").write_text(json.dumps(model))
    assert penult("export", run, "out").status == 0
    for path, content in contents(Path("out")).items():
        assert b"annabelle" not in content and b"her place" not in content, path
    assert read(Path("out/config.json"))["config"]["data"] == "./photos.npz"
    line = penult("evaluate", "out", "--device", "cpu").err
    assert "photos.npz" in line and line.count("\n") == 1, "the data are named with --data"


# Places.


def test_an_earlier_export_is_replaced_only_when_told(penult, copied, refused, exports):
    assert penult("export", copied("hvae"), "out").status == 0
    before = contents(Path("out"))
    assert "add --overwrite where it holds an earlier export" in refused(exports / "hvae-c", "out")
    assert contents(Path("out")) == before
    assert penult("export", exports / "hvae-c", "out", "--overwrite").status == 0
    assert read(Path("out/model.json"))["variant"] == "hvae-c"
    assert sorted(path.name for path in Path().iterdir()) == ["out", "runs"], "nothing is left beside it"


def test_nothing_but_an_export_is_replaced(refused, copied, exports, penult, tmp_path):
    other = copied("hvae-c")
    assert "holds no earlier export" in refused(exports / "hvae", other, "--overwrite")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("my only copy")
    assert "holds no earlier export" in refused(exports / "hvae", "mine", "--overwrite")
    assert penult("export", other, "out").status == 0
    Path("out/notes.txt").write_text("mine")
    assert "'notes.txt' beside an earlier export" in refused(other, "out", "--overwrite")


def test_scores_made_on_an_export_are_not_lost(refused, copied, penult):
    run = copied("classifier")
    assert penult("export", run, "out").status == 0
    assert penult("evaluate", "out", "--images", 20, "--device", "cpu").status == 0
    assert "has scores that" in refused(run, "out", "--overwrite")
    assert penult("export", "out", "again").status == 0 and Path("again/evaluation.json").exists()
    assert penult("evaluate", run, "--images", 20, "--device", "cpu").status == 0
    assert penult("export", run, "out", "--overwrite").status == 0


def test_an_empty_folder_and_folders_on_the_way(penult, exports, tmp_path):
    (tmp_path / "empty").mkdir()
    assert penult("export", exports / "hvae", "empty").status == 0
    assert penult("export", exports / "hvae", "a/b/c").status == 0
    assert contents(tmp_path / "empty").keys() == contents(tmp_path / "a/b/c").keys()


def test_a_link_stays_a_link(penult, exports, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert penult("export", exports / "hvae", "link").status == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "README.md").exists()


PLACES = {
    "not a run": (["{tmp}", "out"], "is not a run"),
    "no folder": (["nowhere", "out"], "unknown run"),
    "MODEL that is no folder": (["torchvision:resnet18", "out"], "unknown run"),
    "the run itself": (["{run}", "{run}", "--overwrite"], "is within the run"),
    "inside the run": (["{run}", "{run}/export"], "is within the run"),
    "around the run": (["{run}", "runs"], "not an empty folder"),
    "a file": (["{run}", "file"], "is a file"),
    "below a file": (["{run}", "file/out"], "is a file, not a folder"),
    "here": (["{run}", "."], "is the current folder"),
    "above": (["{run}", ".."], "is the current folder, or around it"),
    "private": (["{run}", "out", "--private"], "--private without --push"),
    "licence": (["{run}", "out", "--licence", "My Licence"], "an identifier of the Hub's"),
    "name": (["{run}", "out", "--push", "digits"], "expected OWNER/NAME"),
    "name of three parts": (["{run}", "out", "--push", "a/b/c"], "expected OWNER/NAME"),
}


@pytest.mark.parametrize("case", PLACES)
def test_what_cannot_be_exported(refused, copied, tmp_path, case):
    run = copied("hvae")
    (tmp_path / "file").write_text("mine")
    words, expected = PLACES[case]
    assert expected in refused(*(word.format(run=run, tmp=tmp_path) for word in words))


def test_unfinished_and_damaged_runs(refused, copied):
    run = copied("hvae-c")
    (run / "result.json").unlink()
    assert "is not finished" in refused(run, "out")
    run = copied("hvae-l")
    (run / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:-50])
    assert str(run) in refused(run, "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_may_not_be_written(refused, trained, tmp_path):
    (tmp_path / "shut").mkdir(mode=0o500)
    assert "may not be written to" in refused(trained / "hvae", "shut/out")


@pytest.mark.parametrize("file", ["model.safetensors", "README.md"])
def test_a_full_disk_leaves_what_was_there(penult, copied, monkeypatch, tmp_path, file):
    run = copied("hvae")
    assert penult("export", run, "out").status == 0
    before = contents(tmp_path)
    write = tensor_files.write_bytes

    def full(path, *payload):
        if path.name == file:
            raise OSError(28, "No space left on device", str(path))
        write(path, *payload)

    for module in (tensor_files, exporting):
        monkeypatch.setattr(module, "write_bytes", full)
    said = penult("export", run, "out", "--overwrite")
    assert said.status == 1 and said.err.count("\n") == 1 and "No space left on device" in said.err
    assert contents(tmp_path) == before


def test_a_rename_that_fails_puts_the_earlier_one_back(penult, copied, monkeypatch, tmp_path):
    run = copied("hvae")
    assert penult("export", run, "out").status == 0
    before = contents(tmp_path)
    rename = os.replace

    def failing(source, target):
        if str(source).endswith(".partial") and Path(source).is_dir():
            raise OSError(5, "Input/output error", str(target))
        rename(source, target)

    monkeypatch.setattr("apps.sharing.export.os.replace", failing)
    assert penult("export", run, "out", "--overwrite").status == 1
    assert contents(tmp_path) == before


# Loading.


def test_what_is_no_model(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is not a run"):
        from_pretrained(tmp_path)
    for name in ("torchvision:resnet18", "import:os:getcwd", "nowhere", "a/b/c"):
        with pytest.raises(InputError, match="unknown run"):
            from_pretrained(name)
    with pytest.raises(InputError, match="device 'gpu'"):
        from_pretrained(trained / "hvae", device="gpu")


def test_a_name_on_the_hub_is_fetched_where_it_is_no_path(exports, tmp_path, monkeypatch):
    monkeypatch.chdir(exports.parent)
    fetched = []
    package = SimpleNamespace(snapshot_download=lambda name, **given: fetched.append(name) or str(exports / "hvae"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", package)
    assert from_pretrained("me/digits").variant == "hvae" and fetched == ["me/digits"]
    assert from_pretrained(f"{exports.name}/hvae-l").variant == "hvae-l" and len(fetched) == 1


# To the Hub.


def test_an_export_is_written_then_pushed(penult, copied, monkeypatch, tmp_path):
    calls = []

    class Api:
        def create_repo(self, repo_id, **given):
            assert (tmp_path / "out" / "README.md").exists(), "the export is complete before anything is asked for"
            calls.append(("create", repo_id, given["private"]))
            return f"https://huggingface.co/{repo_id}"

        def upload_folder(self, **given):
            calls.append(("upload", given["repo_id"], sorted(given["allow_patterns"])))

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api))
    said = penult("export", copied("hvae"), "out", "--push", "me/digits", "--private")
    assert said.status == 0 and said.out.endswith("Pushed to https://huggingface.co/me/digits\n")
    files = sorted(path.name for path in Path("out").iterdir())
    assert calls == [("create", "me/digits", True), ("upload", "me/digits", files)]
    card = Path("out/README.md").read_text()
    assert card.count('from_pretrained("me/digits")') == 1 and "hf download me/digits --local-dir digits" in card


def test_an_export_stays_where_the_hub_refuses(penult, copied, monkeypatch):
    class Api:
        def create_repo(self, *arguments, **given):
            raise ConnectionError("no route to the Hub")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api))
    said = penult("export", copied("hvae"), "out", "--push", "me/digits")
    assert said.status == 2 and said.err.count("\n") == 1
    assert "out is written, but it is not on the Hub: ConnectionError: no route to the Hub" in said.err
    assert from_pretrained("out").variant == "hvae"


def test_without_the_package_nothing_is_written(refused, copied, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install huggingface_hub" in refused(copied("hvae"), "out", "--push", "me/digits")


# The card's own commands.


@pytest.mark.parametrize("name", RUNS)
def test_the_cards_commands_work(penult, exports, tmp_path, name):
    (tmp_path / name).symlink_to(exports / name)
    card = (exports / name / "README.md").read_text()
    (python,) = re.findall(r"```python\n(.*?)\n```", card, re.S)
    assert len(python.splitlines()) == 4
    there: dict = {}
    exec(python, there)
    if name == "classifier":
        assert there["logits"].shape == (1, 10)
        return  # its shell command scores the whole test set, and writes
    assert there["images"].shape[1:] == (1, 8, 8)
    shell = re.findall(r"```sh\n(.*?)\n```", card, re.S)[0]
    words = shlex.split(shell)
    assert words[0] == "penult" and penult(*words[1:]).status == 0
    with Image.open("samples.png") as drawn, Image.open(exports / name / "samples.png") as expected:
        assert np.array_equal(np.asarray(drawn), np.asarray(expected))
