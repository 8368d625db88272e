"""Snapshots: the model as it was on the way, each a run by itself. (That a kill loses none: test_resume.)"""

import json
import shutil

import pytest
import torch
from toys import Plain, images

from apps.command.config import Optimisation, Where
from apps.runs.run import Run
from apps.training.loop import fit, snapshots_of
from apps.training.session import start
from priors import zoo
from priors.errors import InputError
from priors.files.tensors import read_tensors

TRAIN = ["train", "classifier", "--schedule", "constant", "--device", "cpu", "--threads", 1, "--penultimate", 2]


def weights(folder) -> dict[str, torch.Tensor]:
    return read_tensors(folder / "model.safetensors")[0]


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_weights_are_those_of_a_training_that_ends_there(penult, tmp_path):
    """1437 images, 64 at a time: an epoch is 22 updates and half an epoch 11."""
    said = penult(*TRAIN, "--epochs", 1, "--snapshots", 22, 11, 0, 11, "--name", "long")
    assert said.status == 0, said.err
    run = Run(tmp_path / "runs/long")
    assert [path.name for path in run.snapshots()] == ["step-0", "step-11", "step-22"]
    assert penult(*TRAIN, "--epochs", 0.5, "--name", "short").status == 0
    assert same(weights(tmp_path / "runs/short"), weights(run.folder / "snapshots/step-11"))
    assert same(weights(run.folder), weights(run.folder / "snapshots/step-22"))
    assert not same(weights(run.folder), weights(run.folder / "snapshots/step-11"))


def test_what_a_snapshot_changes_is_nothing(penult, tmp_path):
    for name, words in (("with", ["--snapshots", 0, 7, 13]), ("without", [])):
        assert penult(*TRAIN, "--epochs", 1, "--ema", 0.9, "--log-every", 5, *words, "--name", name).status == 0
    one, other = tmp_path / "runs/with", tmp_path / "runs/without"
    assert same(weights(one), weights(other))
    logged = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, other)]
    for entry in (*logged[0], *logged[1]):
        entry.pop("images/s", None)
    assert logged[0] == logged[1]
    assert not (other / "snapshots").exists()


def test_an_averaged_run_has_averaged_snapshots_and_the_first_is_untrained(tmp_path):
    """By the toy: w_0 as it was made, then 2/11 e + 9/11 w after an update, with w that of a run without average."""
    config = {"batch_size": 12, "epochs": 0.25, "optimizer": "sgd", "lr": 0.1}
    for name, ema in (("plain", None), ("averaged", 0.5)):
        where = Where(runs=tmp_path, name=name, snapshots=(1, 0), device="cpu")
        run = Run(tmp_path / name)
        run.open("train toy", {}, {})
        optimisation = Optimisation(**config, ema=ema)
        fit(Plain(seed=4), images(), run, optimisation, where, start(where, work="small"))
        run.close()
    untrained = Plain(seed=4).networks["model"].state_dict()
    assert same(untrained, weights(tmp_path / "plain/snapshots/step-0"))
    assert same(untrained, weights(tmp_path / "averaged/snapshots/step-0"))
    moved = weights(tmp_path / "plain/snapshots/step-1")
    for name, value in weights(tmp_path / "averaged/snapshots/step-1").items():
        assert torch.allclose(value, (2 * untrained[name] + 9 * moved[name]) / 11, atol=1e-7)
        assert not torch.equal(value, moved[name])


def test_a_snapshot_is_a_model_wherever_one_is_wanted(penult, tmp_path):
    assert penult(*TRAIN, "--epochs", 0.5, "--snapshots", 3, "--name", "a").status == 0
    snapshot = tmp_path / "runs/a/snapshots/step-3"
    network = zoo.load(snapshot)
    assert network.class_names == tuple("0123456789") and network.provenance["data"] == "digits"
    said = penult("prior", snapshot, "--concentration", "20", "--device", "cpu")
    assert said.status == 0 and "10 classes on the unit sphere of R^2" in " ".join(said.out.split())
    assert penult("evaluate", snapshot, "--device", "cpu").status == 0
    assert "step-3" in penult("ls", "runs", "--runs", snapshot.parent).out
    assert json.loads((snapshot / "result.json").read_text()) == {"steps": 3, "epochs": 0.134}
    words = ["train", "hvae", "--variant", "hvae", "--latent-dim", 3, "--epochs", 0.2, "--kl-warmup", 0]
    assert penult(*words, "--snapshots", 2, "--device", "cpu", "--name", "b").status == 0
    assert penult("sample", tmp_path / "runs/b/snapshots/step-2", "--device", "cpu").status == 0


def test_snapshots_are_part_of_what_a_run_is(penult, tmp_path):
    words = [*TRAIN, "--epochs", 0.5, "--name", "a"]
    assert penult(*words, "--snapshots", 3, 5).status == 0
    assert "finished already" in penult(*words, "--snapshots", 5, 3, 3).out
    for other in ([], ["--snapshots", 3]):
        said = penult(*words, *other)
        assert said.status == 2 and "snapshots: [3, 5] before" in said.err and said.err.count("\n") == 1
    assert penult(*words[:-1], "b").status == 0
    said = penult(*words[:-1], "b", "--snapshots", 3)
    assert said.status == 2 and "snapshots: not set before, [3] now" in said.err
    assert not (tmp_path / "runs/b/snapshots").exists()


@pytest.mark.parametrize(
    ("steps", "expected"), [((-1,), "--snapshots -1: expected 0 or more"),
                            ((3, 12), "--snapshots 12: the training ends after 11 updates (0.5 epochs of 1,437 images")]
)  # fmt: skip
def test_updates_that_never_come_are_refused_before_anything_is_done(penult, tmp_path, steps, expected):
    said = penult(*TRAIN, "--epochs", 0.5, "--snapshots", *steps)
    assert said.status == 2 and expected in said.err and said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_last_update_is_still_one(tmp_path):
    assert snapshots_of(Where(snapshots=(4, 0, 4)), Optimisation(batch_size=12, epochs=1.0), images()) == (0, 4)
    with pytest.raises(InputError, match="give numbers from 0 to 4"):
        snapshots_of(Where(snapshots=(5,)), Optimisation(batch_size=12, epochs=1.0), images())


def test_what_another_training_left_behind_goes(penult, tmp_path):
    """A run that was killed before it logged anything may be started with other flags: nothing of it may stay."""
    words = [*TRAIN, "--epochs", 0.5, "--name", "a", "--snapshots"]
    assert penult(*words, 0, 3, 11).status == 0
    run, first = tmp_path / "runs/a", weights(tmp_path / "runs/a/snapshots/step-0")
    for name in ("result.json", "metrics.jsonl"):
        (run / name).unlink()
    shutil.copytree(run / "snapshots/step-3", run / "snapshots/.step-7")
    assert penult(*words, 0, 5, "--seed", 1).status == 0
    assert sorted(path.name for path in (run / "snapshots").iterdir()) == ["step-0", "step-5"]
    assert not same(weights(run / "snapshots/step-0"), first)


def test_snapshots_go_back_to_a_step_and_are_seen_only_when_they_are_whole(tmp_path):
    run = Run(tmp_path / "run")
    run.open("train toy", {}, {})
    for step in (10, 2, 0):
        run.save_snapshot(step, lambda folder: (folder / "model.json").write_text("{}"), {"steps": step})

    def failing(folder):
        (folder / "model.json").write_text("{")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        run.save_snapshot(11, failing, {})
    assert [path.name for path in run.snapshots()] == ["step-0", "step-2", "step-10"]
    run.rewind_snapshots(2)
    assert sorted(path.name for path in (run.folder / "snapshots").iterdir()) == ["step-0", "step-2"]
    run.rewind_snapshots(-1)
    assert run.snapshots() == []
    run.close()
