"""A run's format: kept by the run and by what derives from it, asked by arithmetic that changed, refused if newer."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import toys
import tyro
from accelerate import Accelerator
from PIL import ExifTags, Image

from apps.command.config import Data, Optimisation, Where, added, differences, identity, older_values, restored
from apps.command.flags import parse
from apps.data.sources import load
from apps.models.named import open_run, trained_on
from apps.report.comparison import comparison
from apps.report.contents import contents
from apps.runs.format import FORMAT, format_of
from apps.runs.run import Run
from apps.training import loop
from apps.training import train as training
from apps.training.averaging import Average
from apps.training.whole_state import read_description, write_description
from priors.errors import InputError
from priors.files.tensors import read_tensors

TOY = ("train", "toy", "--epochs", "2", "--batch-size", "12", "--device", "cpu", "--threads", "1", "--ema", "0.5")


class OfItsFormat(toys.Plain):
    """The loss is half of what it was, since format 1."""

    def losses(self, turn, batch, step):
        scale = 0.5 if self.format >= 1 else 1.0
        return {name: scale * loss for name, loss in super().losses(turn, batch, step).items()}


class AverageOfItsFormat(Average):
    """The average is the last weights, since format 1."""

    def update(self):
        return self.restart() if self.format >= 1 else super().update()


@pytest.fixture
def made_with(monkeypatch):
    """`made_with(0)`: from now on new runs get that number, as from a program of that format."""
    real = Run.__init__

    def use(number: int) -> None:
        monkeypatch.setattr(Run, "__init__", lambda run, folder, format=number: real(run, folder, format))

    return use


def train(name: str, *words: object) -> dict[str, torch.Tensor]:
    assert toys.penult(*TOY, "--runs", "runs", "--name", name, *words) == 0
    return read_tensors(Path("runs") / name / "model.safetensors")[0]


def stored(folder: str) -> dict:
    return json.loads((Path("runs") / folder / "config.json").read_text())


def forget_number(run: Run) -> None:
    """As runs of format 0 are: without one, and without checksums."""
    for path, name in ((run.folder, "config.json"), *((state, "state.json") for state in run.states())):
        kept = json.loads((path / name).read_text())
        for key in ("format", "files", "checksum"):
            kept.pop(key, None)
        (path / name).write_text(json.dumps(kept))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


class Stopping(toys.Plain):
    """It is interrupted after the state of step 4."""

    def losses(self, turn, batch, step):
        if step == 4:
            raise KeyboardInterrupt
        return super().losses(turn, batch, step)


def test_a_resumed_run_keeps_its_arithmetic(monkeypatch, tmp_path, made_with):
    monkeypatch.chdir(tmp_path)
    made_with(0)
    before = train("before")
    monkeypatch.setitem(toys.KINDS, "plain", Stopping)
    words = [*TOY, "--runs", "runs", "--name", "resumed", "--checkpoint-every", "2", "--snapshots", "2"]
    assert toys.penult(*words) == 130
    run = Run("runs/resumed")
    assert [state.name for state in run.states()] == ["step-2", "step-4"]
    forget_number(run)
    made_with(FORMAT)
    monkeypatch.setitem(toys.KINDS, "plain", OfItsFormat)
    monkeypatch.setattr(loop, "Average", AverageOfItsFormat)
    assert toys.penult(*words) == 0
    assert same(read_tensors(run.folder / "model.safetensors")[0], before)
    assert run.format == 0 and "format" not in stored("resumed")
    assert not same(train("new"), before)
    assert Run("runs/new").format == FORMAT == stored("new")["format"]


@pytest.mark.parametrize("number", [0, FORMAT])
def test_tasks_averages_and_snapshots_are_of_their_run(monkeypatch, tmp_path, made_with, number):
    monkeypatch.chdir(tmp_path)
    made_with(number)
    expected = train("expected", "--ema", "none" if number else 0.5)
    monkeypatch.setattr(loop, "Average", AverageOfItsFormat)
    assert same(train("run", "--snapshots", 3), expected), "the average goes by the number"
    assert toys.tasks[-1].format == number
    assert stored("run/snapshots/step-3")["format"] == stored("run")["format"] == number


def test_the_number_is_known_before_the_run_is_opened(tmp_path):
    run = Run(tmp_path / "run", format=0)
    assert run.format == 0 and Run(tmp_path / "run").format == FORMAT
    run.open("train toy", {}, {})
    run.close()
    assert Run(tmp_path / "run").format == FORMAT, "nothing had begun: the run is made anew"
    run.log({"step": 1})
    assert Run(tmp_path / "run").format == 0


def test_a_state_of_another_format_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(toys.KINDS, "plain", toys.Overflowing)
    words = [*TOY, "--runs", "runs", "--name", "run", "--checkpoint-every", "1"]
    assert toys.penult(*words) == 1
    _, state = Run("runs/run").states()
    held = read_description(state)
    write_description(state, held | {"format": 0})
    capsys.readouterr()
    assert toys.penult(*words) == 2
    assert f"it is of a run of format 0, this one is of {FORMAT}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "evaluate runs/classifier",
        "report runs/classifier",
        "prior runs/classifier --concentration 20",
        "export runs/classifier out",
        "analyse invert runs/classifier",
        "train classifier --name classifier --device cpu",
    ],
)
def test_a_run_of_a_newer_program_is_refused_in_a_line(penult, copied, words):
    path = copied("classifier") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": FORMAT + 1}))
    said = penult(*words.split())
    assert said.status == 2 and len(said.err.strip().splitlines()) == 1
    assert f"of format {FORMAT + 1}, made by a newer penult; this one knows formats up to {FORMAT}" in said.err


@pytest.mark.parametrize("number", ["1", None, 1.0, -1, True])
def test_a_damaged_number_is_said(tmp_path, number):
    with pytest.raises(InputError, match="a number was expected, it is damaged"):
        format_of({"format": number}, tmp_path / "config.json")


# Flags that are added.


@dataclass(frozen=True)
class Inner:
    """Of a section within."""

    shape: tuple[int, ...] = added((4, 4), before=(2, 2))
    """How large."""
    plain: int = 1
    """As ever."""


@dataclass(frozen=True)
class Told:
    """A verb's."""

    clip_by: str = added("value", before="norm")
    """What is clipped."""
    inner: tyro.conf.OmitArgPrefixes[Inner] = field(default_factory=Inner)
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)


def test_an_added_flag_is_a_flag_like_others(capsys):
    assert parse(Told, "verb", "Does.", ["--shape", "3", "3"]) == Told(inner=Inner((3, 3)))
    with pytest.raises(SystemExit):
        parse(Told, "verb", "Does.", ["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "What is clipped. (default: value)" in said and "How large. (default: 4 4)" in said


def test_what_a_stored_configuration_lacks_is_as_before():
    told = Told()
    older = older_values(told)
    assert older == {"clip_by": "norm", "shape": [2, 2]}
    assert older_values(Inner(), "term.") == {"term.shape": [2, 2]}
    now = identity(told)
    assert differences({"plain": 1}, now, older) == [
        "clip_by: norm before, value now",
        "shape: [2, 2] before, [4, 4] now",
    ]
    assert differences({"plain": 1}, now | {"clip_by": "norm", "shape": [2, 2]}, older) == []
    assert differences({"plain": 1}, {"plain": 1}, older) == [], "of another verb"
    assert differences(now | {"clip_by": "norm"}, now, older) == ["clip_by: norm before, value now"]
    assert restored(Told, {"plain": 3}, inner=restored(Inner, {"plain": 3})) == Told("norm", Inner((2, 2), 3))
    assert restored(Inner, {"shape": [5, 5]}) == Inner((5, 5), 1)


def test_pages_complete_an_older_run_beside_a_newer_one(penult, copied, monkeypatch):
    """A flag that the older one lacks does not tell them apart where it did the same."""
    (part,) = (part for part in dataclasses.fields(Optimisation) if part.name == "clip")
    run = copied("classifier")
    older = contents(run)
    kept = json.loads((run / "config.json").read_text())
    del older.config["clip"]
    kept["older"] = {"clip": None}
    (run / "config.json").write_text(json.dumps(kept))
    both = comparison([older, contents(run)], ["older", "newer"])
    assert "All" in both and "settings agree" in both
    assert "not set" in comparison([older, dataclasses.replace(contents(run), older={})], ["older", "newer"])
    monkeypatch.setattr(part, "metadata", {"before": None})
    words = ["--arch", "mlp", "--penultimate", 6, "--epochs", 0.1, "--name", "new"]
    assert penult("train", "classifier", "--device", "cpu", *words).status == 0
    before = stored("new")["older"]
    assert before.pop("clip", "missing") is None
    told = {"deterministic": False, "mixup": None, "reset_momentum": False, "resize": None, "sync_batchnorm": False}
    told |= {"tf32": "convolutions", "regularise": [], "jacobian_norms": "running", "jacobian_over": "parameters"}
    told |= {"narrow": None, "narrow_filters": None, "narrow_kernel": None}
    told |= {
        "classes": None,
        "init": None,
        "freeze": None,
        "head_lr": None,
        "mean": [],
        "std": [],
        "head": None,
        "taps": [],
    }
    assert before == told, "what new flags do not do unless asked"


def test_images_of_an_older_run_are_found(copied, monkeypatch):
    run = copied("classifier")
    kept = json.loads((run / "config.json").read_text())
    del kept["config"]["image_size"]
    (run / "config.json").write_text(json.dumps(kept))
    assert trained_on(open_run(run)) == Data("digits")
    (part,) = (part for part in dataclasses.fields(Data) if part.name == "image_size")
    monkeypatch.setattr(part, "metadata", {"before": 8})
    assert trained_on(open_run(run)) == Data("digits", 8)


@pytest.mark.parametrize("turned", [False, True])
def test_an_older_run_goes_on_unless_its_pictures_are_turned_now(tmp_path, turned):
    """Names and sizes of files that are decoded as they are needed do not tell how they are read."""
    exif = Image.Exif()
    if turned:
        exif[ExifTags.Base.Orientation] = 3
    for split in ("train", "test"):
        (tmp_path / "set" / split / "a").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "set" / split / "a" / "0.jpg", exif=exif)
    images = load(tmp_path / "set", memory_limit=0)
    older = Run(tmp_path / "run", format=1)
    older.open("train toy", {"data_digest": images.digest.removesuffix("-upright")}, {})
    older.log({"step": 1})
    older.close()
    run, identity = Run(tmp_path / "run"), {"data_digest": images.digest}
    arguments = (Accelerator(cpu=True), images, lambda: 1 / 0, lambda task: {}, Optimisation(), Where(runs=tmp_path))
    if turned:
        with pytest.raises(InputError, match="left pictures on their side .*set/train/a/0.jpg: train anew"):
            training.train("train toy", run, identity, *arguments)
    else:
        with pytest.raises(ZeroDivisionError):  # it comes to building the task
            training.train("train toy", run, identity, *arguments)


@pytest.mark.parametrize(
    ("number", "why"), [(1, "linked folders or lie on their side by EXIF"), (2, "they have changed;")]
)
def test_a_run_of_other_images_is_told_so(tmp_path, number, why):
    run = Run(tmp_path / "run", format=number)
    run.open("train toy", {"data": "pictures", "data_digest": "0" * 16}, {})
    run.log({"step": 1})
    run.close()
    with pytest.raises(InputError, match=f"other images than pictures holds now .*{why}"):
        Run(tmp_path / "run").open("train toy", {"data": "pictures", "data_digest": "1" * 16}, {})
