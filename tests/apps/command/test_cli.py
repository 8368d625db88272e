"""Every verb from its words to its files: in this process on digits, and as a program where that is the point."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tyro
from importing import imports_from
from PIL import Image

from apps.command.cli import VERBS, main
from priors.model.classifier_prior import ClassifierPrior

SNAPSHOTS = Path(__file__).parent / "snapshots"
ROOT = Path(__file__).parents[3]


# Help.


def pages() -> list[str]:
    return ["", "train", *VERBS]


@pytest.mark.parametrize("verb", pages(), ids=lambda verb: verb.replace(" ", "-") or "penult")
def test_help_reads_as_it_was_last_read(penult, verb):
    """`PENULT_SNAPSHOTS=write pytest tests/apps/test_cli.py` writes them anew; then read the difference."""
    said = penult(*verb.split(), "--help")
    assert (said.status, said.err) == (0, "")
    assert all(len(line) <= 100 for line in said.out.splitlines()), "help is folded to the terminal"
    # Frames are drawn in ASCII or not, as the terminal's encoding has it.
    lines = (re.sub(r"[\u2500-\u257f]", " ", line).strip() for line in said.out.splitlines())
    shown = "".join(f"{line}\n" for line in lines if line.strip("- "))
    place = SNAPSHOTS / f"{verb.replace(' ', '-') or 'penult'}.txt"
    version = SNAPSHOTS / "tyro-version.txt"
    if os.environ.get("PENULT_SNAPSHOTS") == "write":
        SNAPSHOTS.mkdir(exist_ok=True)
        place.write_text(shown, encoding="utf-8")
        version.write_text(tyro.__version__ + "\n", encoding="utf-8")
    if verb in VERBS and version.read_text(encoding="utf-8").strip() != tyro.__version__:
        pytest.skip("drawn by another version of tyro")
    assert shown == place.read_text(encoding="utf-8")


def test_every_snapshot_is_of_a_verb():
    names = {verb.replace(" ", "-") or "penult" for verb in pages()} | {"tyro-version"}
    assert {path.stem for path in SNAPSHOTS.glob("*.txt")} == names


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_no_empty_default_and_threads_beside_the_device(verb):
    shown = (SNAPSHOTS / f"{verb.replace(' ', '-')}.txt").read_text(encoding="utf-8")
    assert "(default: )" not in shown and "{None" not in shown
    assert ("--threads" in shown) >= ("--device" in shown)


def test_drawing_verbs_take_threads(penult, trained, monkeypatch):
    given = []
    monkeypatch.setattr("torch.set_num_threads", given.append)
    for words in (["sample", trained / "hvae", "--n", 1], ["report", trained / "hvae", "--n", 0, "--out", "a.html"]):
        assert penult(*words, "--threads", 2).status == 0 and given.pop() == 2
        assert penult(*words, "--overwrite").status == 0 and given.pop() == 1


@pytest.mark.parametrize("words", [[], ["-h"], ["help"], ["--help"]])
def test_help_by_any_name(penult, words):
    assert penult(*words).out == penult("--help").out
    assert all(verb in penult(*words).out for verb in VERBS)


def test_version(penult):
    assert re.fullmatch(r"penult \d+\.\d+\S*\n", penult("--version").out)


def program(*words: str, **options) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "PENULT_DATA"}
    environment |= {"COLUMNS": "100"} | imports_from(ROOT)
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120, **options)


def test_the_package_is_the_program(tmp_path):
    done = program(sys.executable, "-m", "apps", "--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("penult ")
    assert program(sys.executable, "-m", "apps", "bogus", cwd=tmp_path).returncode == 2


INSTANT = [["--help"], ["train"], *([*verb.split(), "--help"] for verb in VERBS)]
INSTANT += [["ls", what] for what in ("runs", "classifiers", "datasets", "terms", "tables")]


def test_help_and_lists_answer_without_torch(tmp_path, trained):
    """Importing torch alone takes longer than these may: what they load is asked, rather than how long they take."""
    script = f"""
import contextlib, io, sys
from apps.command.cli import main
for words in {INSTANT!r}:
    words = words + (["--runs", {str(trained)!r}] if words[0] == "ls" and "--help" not in words else [])
    with contextlib.redirect_stdout(io.StringIO()) as said:
        main(words)
    assert said.getvalue(), words
    heavy = {{"torch", "numpy", "accelerate", "matplotlib", "sklearn", "PIL"}} & set(sys.modules)
    assert not heavy, (words, heavy)
"""
    done = program(sys.executable, "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


# Training.


def test_a_classifier_is_trained_and_then_only_reported(trained, penult, copied):
    run = copied("classifier")
    assert {"config.json", "metrics.jsonl", "model.json", "model.safetensors", "result.json", "curves.png"} <= {
        path.name for path in run.iterdir()
    }
    assert not (run / "state").exists()
    result = json.loads((run / "result.json").read_text())
    assert 0.3 < result["test/accuracy"] <= 1 and result["test/images"] == 360
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir() if path.name != ".lock"}
    words = ["--arch", "mlp", "--penultimate", 6, "--epochs", 3, "--lr", "3e-3", "--name", "classifier"]
    said = penult("train", "classifier", *words, "--device", "cpu", "--threads", 1)
    assert said.status == 0 and "finished already" in said.out and "Next: penult prior runs/classifier" in said.out
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir() if path.name != ".lock"} == before


def test_a_run_is_named_by_what_it_is(penult, tmp_path):
    said = penult("train", "classifier", "--epochs", 0.05, "--penultimate", 3, "--seed", 7, "--device", "cpu")
    assert said.status == 0 and (tmp_path / "runs" / "digits-mlp-3-seed7" / "result.json").is_file()
    assert said.out.count("\n") == 1 and said.err == ""


@pytest.mark.parametrize("variant", ["hvae", "hvae-c", "hvae-l"])
def test_generators_are_trained(trained, variant):
    result = json.loads((trained / variant / "result.json").read_text())
    assert result["steps"] > 0 and np.isfinite(result["best"]["elbo"])
    assert json.loads((trained / variant / "model.json").read_text())["variant"] == variant


def test_a_generator_takes_a_saved_prior_and_its_concentrations(penult, trained, tmp_path):
    kappas = list(range(1, 11))
    prior = ["prior", trained / "classifier", "--concentration", *kappas, "--no-measure", "--out", "p.safetensors"]
    assert penult(*prior).status == 0
    words = ["--classifier", "p.safetensors", "--latent-dim", 5, "--epochs", 0.05, "--device", "cpu", "--name", "mine"]
    said = penult("train", "hvae", *words)
    assert said.status == 0, said.err
    assert json.loads((tmp_path / "runs/mine/model.json").read_text())["prior"]["concentration"] == "one a class, given"


def test_latent_dimensions_are_counted_either_way(penult, trained, tmp_path):
    words = ["--classifier", trained / "classifier", "--epochs", 0.05, "--device", "cpu", "--name"]
    assert penult("train", "hvae", "--latent-dim", 5, *words, "a").status == 0
    assert penult("train", "hvae", "--latent-dim", 6, "--convention", "ambient", *words, "b").status == 0
    dims = [json.loads((tmp_path / "runs" / name / "model.json").read_text())["dim"] for name in "ab"]
    assert dims == [6, 6]


# The prior.


def test_prior_prints_a_row_a_class_and_keeps_a_file(penult, trained):
    said = penult("prior", trained / "classifier", "--concentration", 5, "--out", "new/prior.safetensors")
    assert said.status == 0 and len(re.findall(r"^ +\d +\d\.\d{3} +5 ", said.out, re.M)) == 10
    assert "--classifier new/prior.safetensors" in said.out
    prior = ClassifierPrior.load("new/prior.safetensors")
    assert (prior.classes, prior.dim, prior.concentration.tolist()) == (10, 6, [5.0] * 10)


def test_prior_takes_a_number_a_class(penult, trained):
    kappas = [float(k) for k in range(10, 20)]
    words = ["prior", trained / "classifier", "--concentration", *kappas, "--no-measure", "--out", "p.safetensors"]
    assert penult(*words).status == 0
    assert ClassifierPrior.load("p.safetensors").concentration.tolist() == kappas


def test_prior_by_norms_follows_the_weights(penult, trained):
    words = ["--concentration", "norms", "--out", "p.safetensors", "--device", "cpu"]
    assert penult("prior", trained / "classifier", *words).status == 0
    prior = ClassifierPrior.load("p.safetensors")
    ratio = prior.concentration / prior.weight.norm(dim=1)
    assert ratio.std() < 1e-4 * ratio.mean() and ratio.mean() > 0


def test_prior_overwrites_only_when_told(penult, trained):
    words = ["prior", trained / "classifier", "--no-measure", "--out", "p.safetensors"]
    assert penult(*words).status == 0
    written = Path("p.safetensors").read_bytes()
    said = penult(*words, "--concentration", 3)
    assert said.status == 2 and "--overwrite" in said.err and Path("p.safetensors").read_bytes() == written
    assert penult(*words, "--concentration", 3, "--overwrite").status == 0
    assert Path("p.safetensors").read_bytes() != written


def test_a_saved_prior_is_shown_with_its_own_concentrations(penult, trained):
    penult("prior", trained / "classifier", "--concentration", 7, "--no-measure", "--out", "p.safetensors")
    assert " 7 " in penult("prior", "p.safetensors").out
    assert " 9 " in penult("prior", "p.safetensors", "--concentration", 9).out


# Sampling.


def archive(path: str) -> dict[str, np.ndarray]:
    with np.load(path) as found:
        return dict(found)


def test_a_picture_of_samples(penult, trained):
    said = penult("sample", trained / "hvae-l", "--labels", "0-9", "--n", 8, "--out", "grid.png")
    assert said.status == 0 and said.out == "80 images in grid.png\n"
    with Image.open("grid.png") as picture:
        assert picture.width > 300 and picture.height > 300


@pytest.mark.parametrize("ending", ["jpg", "pdf", "svg"])
def test_a_picture_of_any_kind(penult, trained, ending):
    assert penult("sample", trained / "hvae", "--n", 3, "--out", f"a.{ending}").status == 0
    assert Path(f"a.{ending}").stat().st_size > 500


def test_a_folder_of_samples_by_class(penult, trained):
    assert penult("sample", trained / "hvae-c", "--labels", "3,5", "--n", 4, "--out", "new/folder").status == 0
    files = sorted(str(path.relative_to("new/folder")) for path in Path("new/folder").rglob("*.png"))
    assert files == [f"{label}/{number:05d}.png" for label in (3, 5) for number in range(4)]
    with Image.open("new/folder/3/00000.png") as picture:
        assert (picture.size, picture.mode) == ((8, 8), "L")
    assert sorted(path.name for path in Path("new").iterdir()) == ["folder"]


def test_a_folder_of_an_unconditional_model(penult, trained):
    assert penult("sample", trained / "hvae", "--n", 70, "--out", "folder").status == 0
    assert sorted(path.name for path in Path("folder").iterdir()) == [f"{number:05d}.png" for number in range(70)]


def test_an_archive_of_samples(penult, trained):
    assert penult("sample", trained / "hvae-l", "--labels", "7,2", "--n", 3, "--out", "a.npz").status == 0
    found = archive("a.npz")
    assert found["x"].shape == (6, 8, 8) and found["x"].dtype == np.uint8
    assert found["y"].tolist() == [7] * 3 + [2] * 3 and found["classes"].tolist() == [str(i) for i in range(10)]
    assert penult("sample", trained / "hvae", "--n", 3, "--out", "b.npz").status == 0
    assert set(archive("b.npz")) == {"x"}


@pytest.mark.parametrize("variant", ["hvae-c", "hvae-l"])
def test_a_picture_hangs_on_its_seed_class_and_number_alone(penult, trained, variant):
    def draw(labels: str, n: int, seed: int = 0) -> np.ndarray:
        words = ["--labels", labels, "--n", n, "--seed", seed, "--out", "a.npz", "--overwrite", "--device", "cpu"]
        assert penult("sample", trained / variant, *words).status == 0
        return archive("a.npz")["x"].reshape(-1, n, 8, 8)

    few, many = draw("4", 2), draw("2-4", 70)
    assert (few[0] == many[2, :2]).all()
    assert (draw("4", 2) == few).all() and (draw("4", 2, seed=1) != few).any()
    assert (many[2, 0] != many[2, 1]).any() and (many[2, 0] != many[2, 64]).any() and (many[1, 0] != many[2, 0]).any()


def test_samples_are_the_same_in_any_form(penult, trained):
    for out in ("a.npz", "folder"):
        assert penult("sample", trained / "hvae-l", "--labels", "1", "--n", 2, "--out", out).status == 0
    with Image.open("folder/1/00001.png") as picture:
        assert (np.asarray(picture) == archive("a.npz")["x"][1]).all()


def test_a_larger_concentration_varies_less(penult, trained):
    spread = []
    for kappa in (0, 1e6):
        words = ["--labels", 1, "--n", 64, "--concentration", kappa, "--out", "a.npz", "--overwrite"]
        assert penult("sample", trained / "hvae-l", *words).status == 0
        spread.append(archive("a.npz")["x"].std(0).mean())
    assert spread[1] < 0.1 * spread[0]


@pytest.mark.parametrize("out", ["a.png", "a.npz"])
def test_samples_are_overwritten_only_when_told(penult, trained, out):
    words = ["sample", trained / "hvae", "--n", 2, "--out", out]
    assert penult(*words).status == 0
    written = Path(out).read_bytes()
    said = penult(*words, "--seed", 1)
    assert said.status == 2 and "--overwrite" in said.err and Path(out).read_bytes() == written
    assert penult(*words, "--seed", 1, "--overwrite").status == 0
    assert Path(out).read_bytes() != written


def test_a_folder_is_never_overwritten(penult, trained):
    words = ["sample", trained / "hvae", "--n", 2, "--overwrite", "--out", "folder"]
    Path("folder").mkdir()
    assert penult(*words).status == 0
    assert penult(*words).status == 2


def test_memory_is_one_block_however_many_are_drawn(penult, trained, monkeypatch):
    """`--n 50000` streams: at no time are there more images than one block."""
    from apps.generators import sampling
    from apps.models.drawing import BLOCK

    largest = 0

    def watched(images, convert=sampling.to_bytes):
        nonlocal largest
        largest = max(largest, len(images))
        return convert(images)

    monkeypatch.setattr(sampling, "to_bytes", watched)
    assert penult("sample", trained / "hvae", "--n", 1000, "--out", "a.npz").status == 0
    assert archive("a.npz")["x"].shape == (1000, 8, 8) and 0 < largest <= BLOCK


# Evaluating.


def evaluations(run: Path) -> list[dict]:
    return json.loads((run / "evaluation.json").read_text())


def test_a_generator_is_scored_and_the_protocol_kept(penult, copied):
    run = copied("hvae-l")
    words = ["evaluate", run, "--samples", 5, "--images", 20, "--device", "cpu"]
    said = penult(*words)
    assert said.status == 0 and (run / "reconstructions.png").is_file()
    for name in ("ELBO", "reconstruction", "KL", "log p(x|i)", "log p(x,i)", "log p(x)"):
        assert re.search(rf"^{re.escape(name)} +-?\d+\.\d\d +\d+\.\d\d$", said.out, re.M), name
    (entry,) = evaluations(run)
    scores = entry["scores"]
    assert entry["images"] == entry["first"] == 20 and entry["samples"] == 5 and entry["data"] == "digits"
    assert scores["ELBO"]["value"] == pytest.approx(scores["reconstruction"]["value"] - scores["KL"]["value"], rel=1e-5)
    assert scores["log p(x,i)"]["value"] == pytest.approx(scores["log p(x|i)"]["value"] - np.log(10), rel=1e-5)
    assert penult(*words).status == 0
    assert evaluations(run) == [entry], "the same protocol gives the same scores, in the same place"
    assert penult(*words, "--seed", 1).status == 0
    assert len(evaluations(run)) == 2 and evaluations(run)[0] == entry


def test_an_unconditional_generator_has_no_scores_by_label(penult, copied):
    run = copied("hvae")
    assert penult("evaluate", run, "--samples", 5, "--images", 20).status == 0
    assert set(evaluations(run)[0]["scores"]) == {"ELBO", "reconstruction", "KL", "log p(x)"}


def test_a_classifier_is_scored_by_class(penult, copied):
    run = copied("classifier")
    said = penult("evaluate", run, "--device", "cpu")
    assert said.status == 0 and len(re.findall(r"^\d +\d+\.\d\d%$", said.out, re.M)) == 10
    scores = evaluations(run)[0]["scores"]
    assert scores["accuracy"] == pytest.approx(json.loads((run / "result.json").read_text())["test/accuracy"], abs=1e-6)
    assert re.search(rf"^all +{scores['accuracy']:.2%}$", said.out, re.M)


def npz(path: Path, count: int = 20, side: int = 8, channels: int | None = None, classes: int = 10) -> Path:
    stream = np.random.default_rng(0)
    shape = (count, side, side) if channels is None else (count, side, side, channels)
    images, labels = stream.integers(0, 256, shape, np.uint8), np.arange(count) % classes
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return path


@pytest.mark.parametrize("name", ["classifier", "hvae-c"])
def test_another_set_of_images_is_another_protocol(penult, copied, tmp_path, name):
    run = copied(name)
    other = npz(tmp_path / "other.npz")
    for words in ([], ["--data", other]):
        assert penult("evaluate", run, "--samples", 2, "--images", 10, *words).status == 0
    assert [entry["data"] for entry in evaluations(run)] == ["digits", str(other)]


# Listing.


def test_runs_are_listed_in_any_state(penult, copied, tmp_path):
    for name in ("classifier", "hvae"):
        copied(name)
    runs = tmp_path / "runs"
    for name, text in {
        "begun": '{"verb": "train hvae", "config": {"data": "mnist"}}',
        "cut": '{"verb": ',
        "odd": "[1]",
        "nothing": "{}",
    }.items():
        (runs / name).mkdir()
        (runs / name / "config.json").write_text(text)
    (runs / "begun" / "state" / "step-20").mkdir(parents=True)
    (runs / "begun" / "state" / ".step-40").mkdir(parents=True)
    (runs / "no-run").mkdir()
    broken = copied("hvae-c")
    (broken / "result.json").write_text("{")
    said = penult("ls", "runs")
    assert said.status == 0
    rows = {line.split()[0]: line for line in said.out.splitlines()[3:]}
    assert re.search(r"train classifier +digits +finished +test accuracy 0\.\d+", rows["classifier"])
    assert re.search(r"train hvae +digits +finished +validation elbo -\d+", rows["hvae"])
    assert "mnist" in rows["begun"] and "at step 20" in rows["begun"]
    assert all("damaged" in rows[name] for name in ("cut", "odd", "hvae-c")) and "another program's" in rows["nothing"]
    assert "no-run" not in said.out


def test_lists(penult):
    assert "penult demo" in penult("ls").out
    assert {"mlp", "convnet", "wrn-16-2"} <= set(penult("ls", "classifiers").out.split())
    assert {"digits", "mnist", "cifar100"} <= set(penult("ls", "datasets").out.split())
    assert "penult table penultimate 4" in penult("ls", "tables").out
    assert penult("ls", "terms").status == 0


def test_classifiers_are_listed_by_family_and_whole(penult):
    said = penult("ls", "classifiers").out
    assert "The same" not in said and said.count("Residual network of three groups") == 1
    assert re.search(r"^wrn-16-1 +64 +180,916$", said, re.M)
    unknown = re.findall(r"^(\S+) .* -$", said, re.M)
    assert unknown == ["timm:NAME", "torchvision:NAME"], "every network of the zoo has its count"


def test_a_run_without_scores_of_its_own_shows_its_evaluation(penult, copied):
    run = copied("hvae")
    (run / "result.json").write_text("{}")
    (run / "evaluation.json").write_text('[{"scores": {"FID": {"value": 12.5}}}]')
    assert "evaluated FID 12.5" in penult("ls", "runs").out


def test_a_folder_of_another_program_is_no_run(penult, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "config.json").write_text('{"model_type": "bert"}')
    said = penult("sample", "theirs")
    assert said.status == 2 and "another program's" in said.err and "training command" not in said.err


def test_what_comes_after_a_prior_can_be_typed(penult, trained, tmp_path):
    words = ["prior", trained / "classifier", "--concentration", 5, "--no-measure", "--out", "a $prior.safetensors"]
    said = penult(*words).out
    command = said.splitlines()[-1].partition("Next: penult ")[2]
    said = penult(*shlex.split(command), "--epochs", 0.05, "--name", "it's next", "--device", "cpu")
    assert said.status == 0
    following = said.out.partition("Next: penult ")[2].partition(", or ")[0]
    assert penult(*shlex.split(following), "--n", 1).status == 0


def test_data_sets_at_hand_are_marked(penult, tmp_path):
    (tmp_path / "sets").mkdir()
    npz(tmp_path / "sets" / "mnist.npz", side=28)
    rows = penult("ls", "datasets", "--data-root", tmp_path / "sets").out.splitlines()
    assert [row.split()[-1] for row in rows if row.startswith(("mnist", "digits"))] == ["in", "yes"]


def test_a_set_that_is_made_from_another_has_as_many_images(penult, tmp_path):
    (tmp_path / "sets").mkdir()

    def row() -> list[str]:
        rows = penult("ls", "datasets", "--data-root", tmp_path / "sets").out.splitlines()
        return next(line.split() for line in rows if line.startswith("affnist"))

    assert row()[-5:-3] == ["60,000", "10,000"]
    npz(tmp_path / "sets" / "mnist.npz", side=28)
    assert row()[-5:-3] == ["20", "20"]
    own = tmp_path / "sets" / "affnist" / "training_and_validation_batches" / "1.mat"
    own.parent.mkdir(parents=True)
    assert row()[-3:] == ["made", "from", "mnist"], "an empty folder holds no set"
    own.touch()
    assert row()[-3:] == ["-", "-", "yes"]


# How it ends.


@pytest.mark.parametrize("words", [["ls", "datasets"], ["train", "classifier", "--help"]])
def test_a_reader_that_is_gone_ends_it_quietly(words, tmp_path):
    """As a shell says of programs that a broken pipe ends."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "apps", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_full_disk_is_one_line(penult, trained, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device", "prior.safetensors")

    monkeypatch.setattr("priors.files.tensors.write_bytes", full)
    said = penult("prior", trained / "classifier", "--out", "prior.safetensors")
    assert said.status == 1 and said.err.count("\n") == 1 and "No space left on device" in said.err


def test_ctrl_c_outside_training_is_one_line(penult, trained, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("apps.generators.sampling.write", stop)
    said = penult("sample", trained / "hvae")
    assert said.status == 130 and said.err.count("\n") == 1


def test_a_bug_keeps_its_trace(penult, trained, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr("apps.generators.sampling.write", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        penult("sample", trained / "hvae")


def test_only_the_first_process_speaks(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert main(["bogus"]) == 2
    assert main(["ls", "bogus"]) == 2
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("words", [["train"], ["analyse"]])
def test_a_verb_of_two_words_says_that_the_second_is_missing(capsys, words):
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out.startswith(f"usage: penult {words[0]} VERB [OPTIONS]")
    assert said.err.startswith(f"penult: a word is missing after {words[0]}: give ") and said.err.count("\n") == 1
    assert main([*words, "--help"]) == 0 and capsys.readouterr().err == ""
