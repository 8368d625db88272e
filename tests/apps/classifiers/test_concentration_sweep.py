"""Choosing a concentration by validation, on digits with tiny trainings."""

import json
import re
import shlex
from pathlib import Path

import pytest

from apps.classifiers.prior.concentration_sweep import Choice, Trial, sweep_values
from apps.models.downstream_task import downstream_task
from priors import ClassifierPrior
from priors.errors import InputError

TRAIN = ["--train", "epochs=1", "kl-warmup=0", "batch-size=128", "hidden=32,16", "no-label-term", "seed=3"]
WORDS = ["--for", "hvae-l", *TRAIN, "--device", "cpu", "--threads", 1]


@pytest.fixture
def sweep(penult, trained):
    """`sweep(values, *words)` of the classifier on digits."""
    return lambda values, *words: penult("prior", trained / "classifier", "--concentration", f"sweep:{values}", *words)


def elbo(run: Path) -> float:
    return json.loads((run / "result.json").read_text())["best"]["elbo"]


def test_the_best_of_a_sweep_is_kept_and_the_runs_are_ordinary_ones(penult, trained, sweep, tmp_path):
    said = sweep("1,20,2000", *WORDS, "--out", "p.safetensors")
    assert said.status == 0, said.err
    runs = {kappa: tmp_path / "runs" / f"classifier-hvae-l-kappa{kappa}" for kappa in (1, 20, 2000)}
    scores = {kappa: elbo(run) for kappa, run in runs.items()}
    best = max(scores, key=scores.get)
    for kappa, score in scores.items():
        chosen = " +chosen" if kappa == best else ""
        assert re.search(
            rf"^ +{kappa} +{score:.3f} +0\.962 +runs/classifier-hvae-l-kappa{kappa}{chosen}$", said.out, re.M
        )
    prior = ClassifierPrior.load("p.safetensors")
    assert prior.concentration.tolist() == [best] * 10
    how = prior.provenance.concentration
    assert how.startswith(f"{best}, chosen for hvae-l by validation ELBO (nats) among 1: {scores[1]:.4g}, 20: ")
    config = json.loads((runs[20] / "config.json").read_text())["config"]
    assert (config["batch_size"], config["hidden"], config["label_term"], config["seed"]) == (128, [32, 16], False, 3)
    model = json.loads((runs[20] / "model.json").read_text())
    assert (model["variant"], model["dim"], model["prior"]["concentration"]) == (
        "hvae-l",
        6,
        "20, given for all classes",
    )

    # The same command again trains nothing, and so does each plain command that it printed.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.name != ".lock"}
    commands = re.findall(r"^\[\d/3\] penult (.*)$", said.out, re.M)
    assert len(commands) == 3
    for command in commands:
        assert "finished already" in penult(*shlex.split(command)).out
    again = sweep("1,20,2000", *WORDS, "--no-measure")
    assert again.out.count("finished already") == 3 and "directions of the activations" not in again.out
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.name != ".lock"}
    assert after == before
    changed = sweep("1,20,2000", *WORDS, "--train", "epochs=2")
    assert changed.status == 2 and "another configuration" in changed.err


@pytest.mark.slow
def test_a_saved_prior_is_swept_on_data(penult, trained, tmp_path):
    assert penult("prior", trained / "classifier", "--out", "mine.safetensors").status == 0
    words = ["--concentration", "sweep:5,50", *WORDS, "--train", "epochs=0.05", "name=short", "--runs", "there"]
    said = penult("prior", "mine.safetensors", *words)
    assert said.status == 2 and "give --data" in said.err
    said = penult("prior", "mine.safetensors", *words, "--data", "digits", "--out", "p.safetensors")
    assert said.status == 0, said.err
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"short-kappa5", "short-kappa50"}
    assert "the best: " in said.out
    assert all("--runs there" in line for line in said.out.splitlines() if line.startswith("["))
    assert ClassifierPrior.load("p.safetensors").concentration[0] in (5, 50)


WRONG = {
    "one value": ("5", WORDS, "sweep:5: expected two or more different numbers"),
    "no value": ("", WORDS, "'' is no number"),
    "no number": ("5,many", WORDS, "'many' is no number"),
    "negative": ("5,-1", WORDS, "-1 is no concentration"),
    "nan": ("5,nan", WORDS, "nan is no concentration"),
    "infinite": ("5,inf", WORDS, "inf is no concentration"),
    "twice": ("5,5.0", WORDS, "two or more different numbers"),
    "value beside": ("5,6", ["7", *WORDS], "in one word"),
    "no task": ("5,6", TRAIN, "give --for hvae-l"),
    "unknown task": ("5,6", ["--for", "hvael"], "did you mean 'hvae-l'"),
    "unknown option": ("5,6", ["--for", "hvae-l", "--train", "epocs=3"], "did you mean 'epochs'"),
    "option of the sweep's own": ("5,6", ["--for", "hvae-l", "--train", "variant=hvae"], "gives variant itself"),
    "option without value": ("5,6", ["--for", "hvae-l", "--train", "epochs"], "expected epochs=VALUE"),
    "option of an empty value": ("5,6", ["--for", "hvae-l", "--train", "epochs="], "expected epochs=VALUE"),
    "option twice": ("5,6", ["--for", "hvae-l", "--train", "lr=1", "lr=2"], "lr=VALUE, once"),
    "switch with a value": ("5,6", ["--for", "hvae-l", "--train", "encoder-label=1"], "the name alone"),
    "value that is none": ("5,6", ["--for", "hvae-l", "--train", "epochs=many"], "--train epochs=many: --epochs many"),
    "value that is no choice": ("5,6", ["--for", "hvae-l", "--train", "optimizer=sdg"], "adam, adamw, sgd"),
    "too many values": ("5,6", ["--for", "hvae-l", "--train", "epochs=3,4"], "--train epochs=3,4: '4' is a word"),
    "value out of range": ("5,6", ["--for", "hvae-l", "--train", "epochs=-1"], "--epochs -1: expected a number"),
    "nothing held out": ("5,6", ["--for", "hvae-l", "--train", "validation=0"], "held-out images"),
    "name": ("5,6", ["--for", "hvae-l", "--train", "name=a/b"], "without slashes"),
    "out": ("5,6", [*WORDS, "--out", "prior.txt"], "ends in .safetensors"),
}


@pytest.mark.parametrize("case", WRONG)
def test_sweeps_that_cannot_be(sweep, tmp_path, case):
    values, words, expected = WRONG[case]
    said = sweep(values, *words)
    assert (said.status, said.out) == (2, "") and expected in said.err and said.err.count("\n") == 1, said.err
    assert not (tmp_path / "runs").exists()


def test_what_belongs_to_a_sweep_alone(penult, trained):
    for words in (["--for", "hvae-l"], ["--for", "hvae-l", "--concentration", 5], ["--train", "epochs=3"]):
        said = penult("prior", trained / "classifier", *words)
        assert said.status == 2 and "without a sweep" in said.err and said.out == ""
    said = penult("train", "hvae", "--classifier", trained / "classifier", "--concentration", "sweep:5,20")
    assert said.status == 2 and "penult prior MODEL --concentration sweep:5,20 --for hvae-l" in said.err


def test_values():
    assert sweep_values(["sweep:5,20,80"]) == (5, 20, 80) and sweep_values(["sweep:0, 1e-3"]) == (0, 1e-3)
    with pytest.raises(InputError, match="two or more"):
        sweep_values(["sweep:5"])


def test_a_concentration_is_chosen_for_ckd_by_the_students_accuracy(penult, trained, tmp_path):
    words = ["prior", trained / "classifier", "--concentration", "sweep:2,80", "--for", "ckd", "--device", "cpu"]
    words += ["--threads", 1, "--no-measure", "--out", "p.safetensors", "--train"]
    options = ["student=mlp", "epochs=1", "lr=0.01"]
    refused = penult(*words, *options)
    assert refused.status == 2 and "--train validation=N is missing" in refused.err
    said = penult(*words, *options, "validation=200")
    assert said.status == 0, said.err
    results = {
        kappa: json.loads((tmp_path / f"runs/classifier-ckd-kappa{kappa}/result.json").read_text())["best"]
        for kappa in (2, 80)
    }
    best = max(results, key=lambda kappa: results[kappa]["accuracy"])
    assert ClassifierPrior.load("p.safetensors").concentration.tolist() == [best] * 10
    for command in re.findall(r"^\[\d/2\] penult (.*)$", said.out, re.M):
        assert command.startswith("distill ce+ckd ") and "finished already" in penult(*shlex.split(command)).out


def test_an_end_of_the_range_is_said():
    trials = tuple(Trial(kappa, score, 1.0, Path("run")) for kappa, score in ((5.0, -3.0), (20.0, -1.0), (80.0, -2.0)))
    task = downstream_task("hvae-l")
    assert Choice("hvae-l", task, trials, trials[1]).advice == ""
    assert "larger" in Choice("hvae-l", task, trials, trials[2]).advice
    assert "smaller" in Choice("hvae-l", task, trials, trials[0]).advice
