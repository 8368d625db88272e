"""Two processes over gloo train as one does, and fail as one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import toys

from apps.data import sources
from apps.inverting.inverted import inverted_run
from priors.files.tensors import read_tensors

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ENVIRONMENT = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
CLASSIFIER = [
    *["train", "classifier", "--device", "cpu", "--threads", "1", "--name", "mlp", "--epochs", "0.72", "--lr", "5e-3"],
    *["--batch-size", "48", "--augment", "crop+flip", "--validation", "100", "--clip", "1", "--ema", "0.9"],
    *["--checkpoint-every", "9"],
]  # fmt: skip
TOY = ["train", "toy", "--device", "cpu", "--threads", "1", "--batch-size", "12", "--epochs", "3", "--log-every", "4"]

# Runs in both processes: each command in turn, and what came of it.
PROGRAM = """
import contextlib, io, json, os, signal, sys
import torch, toys
import apps.training.train, apps.training.loop, apps.training.states

rank, folder = int(os.environ["RANK"]), sys.argv[1]
commands = json.load(open(os.path.join(folder, "commands.json")))
fsync, written = os.fsync, []
replace = os.replace
os.replace = lambda source, target: (written.append(str(target)), replace(source, target))
found = {}
for name, command in commands.items():
    written.clear()
    toys.tasks.clear()
    toys.Diverging.slices = 2
    kind = toys.Adversarial if "turns" in name else toys.Noisy
    if name.startswith("interrupted") and rank == 1:
        original = kind.losses
        def losses(task, turn, batch, step):
            if step == 4:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)
            return original(task, turn, batch, step)
        kind.losses = losses
    if name == "full disk" and rank == 0:
        def full(handle):
            if sum("/.step-" in path for path in written) > 7:
                raise OSError(28, "No space left on device")
            return fsync(handle)
        os.fsync = full
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()) as output:
        status = toys.penult(*command)
    os.fsync = fsync
    if name.startswith("interrupted") and rank == 1:
        kind.losses = original
    task = toys.tasks[-1] if toys.tasks else None
    state = task.networks["model"].state_dict() if task else {}
    found[name] = {
        "status": status, "errors": errors.getvalue(), "output": output.getvalue(), "written": list(written),
        "drawn": getattr(task, "drawn", []), "seen": getattr(task, "seen", []),
        "weights": {key: tensor.tolist() for key, tensor in state.items()},
    }
json.dump(found, open(os.path.join(folder, f"found-{rank}.json"), "w"))
"""


def weights(path):
    return read_tensors(path)[0]


def assert_same(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.slow
def test_a_classifier_as_it_is_typed(tmp_path):
    """20 steps with augmentation, clipping and an average: the weights of one process, written by the first of two.

    By torchrun, as no other test has it: the others fork their processes, since two that import torch take the longest.
    """
    command = [*LAUNCH, "-m", "apps", *CLASSIFIER, "--runs", str(tmp_path / "two")]
    ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("is done") == 1
    two, one = tmp_path / "two/mlp", tmp_path / "one/mlp"
    assert json.loads((two / "config.json").read_text())["environment"]["processes"] == 2
    assert toys.penult(*CLASSIFIER, "--runs", tmp_path / "one") == 0
    assert json.loads((one / "config.json").read_text())["environment"]["processes"] == 1
    results = [json.loads((run / "result.json").read_text()) for run in (one, two)]
    assert [result["steps"] for result in results] == [20, 20]
    assert results[0]["test/accuracy"] == results[1]["test/accuracy"]
    assert results[0]["best"] == pytest.approx(results[1]["best"], rel=1e-4)
    for name in ("model", "last"):
        assert_same(weights(one / f"{name}.safetensors"), weights(two / f"{name}.safetensors"), 1e-5)
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())
    entries = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)]
    assert [entry["step"] for entry in entries[0]] == [entry["step"] for entry in entries[1]]
    losses = [[entry["train/cross-entropy"] for entry in found if "images/s" in entry] for found in entries]
    assert len(losses[0]) == 3 and losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
def test_an_inversion(machine, tmp_path):
    """Two processes train one density, score every test image once and in its place, and draw what one draws."""
    runs = ["--runs", str(tmp_path)]
    train = ["train", "classifier", "--epochs", "0.2", "--name", "first", "--device", "cpu", "--threads", "1"]
    assert toys.penult(*train, *runs) == 0
    words = ["analyse", "invert", str(tmp_path / "first"), "--taps", "logits", "--layers", "1", "--filters", "3", *runs]
    words += ["--epochs", "0.5", "--decoder-filters", "2", "--decoder-epochs", "0.5", "--test-images", "31"]
    words += ["--shown", "2", "--name", "two", "--device", "cpu", "--threads", "1", "--distances", "3"]
    ran = machine(words, processes=2)
    assert ran["status"] == 0, ran["errors"]
    assert ran["output"].count("is done") == 2 and ran["output"].count("What ") == 1
    assert json.loads((tmp_path / "two-logits/config.json").read_text())["environment"]["processes"] == 2
    images = sources.load("digits", "test").subset(range(31)).images.float() / 255
    density, decoder = (inverted_run(tmp_path / name) for name in ("two-logits", "two-logits-mse"))
    with torch.no_grad():
        nats = density.model.log_prob(images, density.context(images))
        errors = (decoder.model(decoder.context(images)) - images).square().flatten(1).sum(1)
    kept = weights(tmp_path / "two-logits/log-likelihoods.safetensors")["log-likelihoods"]
    torch.testing.assert_close(kept, nats, rtol=1e-5, atol=1e-3)
    kept = weights(tmp_path / "two-logits-mse/squared-errors.safetensors")["squared-errors"]
    torch.testing.assert_close(kept, errors, rtol=1e-5, atol=1e-5)
    (place,) = tmp_path.rglob("distances.json")
    several = [one for one in json.loads(place.read_text())["layers"][0].values() if isinstance(one, float)]
    place.unlink()
    assert toys.penult(*words) == 0  # all is trained: one process draws alone
    alone = [one for one in json.loads(place.read_text())["layers"][0].values() if isinstance(one, float)]
    assert len(alone) == 3 and several == pytest.approx(alone, rel=1e-4)


RECIPE = """
from apps.recipes.table import Table

TABLES = {
    "1": Table(
        title="Inverted",
        convention="none",
        rows=("0", "1"),
        columns=("penultimate", "logits"),
        seeds=1,
        metrics=("NCE",),
        published={},
        commands=lambda row, column, seed: (
            "train classifier --epochs 0.1 --name network",
            "analyse invert {runs}/network --taps penultimate,logits --layers 1 --filters 2 --epochs 0.1 --shown 0 "
            f"--decoder-epochs 0 --distances 2 --test-images 20 --seed {row} --name inverted-{row}",
        ),
        run=lambda row, column, seed: f"inverted-{row}",
        score=lambda row, column, metric: f"{column} {metric}",
    )
}
"""


@pytest.mark.slow
def test_a_table_whose_scores_only_the_first_process_writes(machine, tmp_path):
    """Cells that share a command are told done by both, though one is still drawing when the other has ended."""
    (tmp_path / "standin").mkdir()
    (tmp_path / "standin/__init__.py").write_text(RECIPE)
    (tmp_path / "table.py").write_text(
        "import sys\n"
        "import apps.recipes\n"
        "from apps.command.cli import main\n"
        f"apps.recipes.__path__.append({str(tmp_path)!r})\n"
        "sys.exit(main(['table', 'standin', '1', '--device', 'cpu', '--threads', '1', '--runs', sys.argv[1]]))\n"
    )
    ran = machine([tmp_path / "runs"], program=tmp_path / "table.py", processes=2)
    assert ran["status"] == 0, ran["errors"]
    assert ran["output"].count("penult analyse invert") == 2 and ran["output"].count(" is done (") == 5
    rows = [line.split() for line in ran["output"].splitlines() if line.split()[1:2] in (["penultimate"], ["logits"])]
    assert len([row for row in rows if row[2:3] == ["1/1"]]) == 4


@pytest.fixture(scope="module")
def found(machine, tmp_path_factory):
    """What came of each command, in both processes, all in one launch."""
    folder = tmp_path_factory.mktemp("two")
    runs = ["--runs", str(folder)]
    turns = ["--kind", "adversarial", "--ema", "0.9", "--clip", "1"]
    (folder / "taken").mkdir()
    (folder / "taken/notes.txt").write_text("mine")
    commands = {
        "noisy": [*TOY, *runs, "--kind", "noisy", "--name", "noisy"],
        "adversarial": [*TOY, *runs, *turns, "--name", "adversarial"],
        "finished": [*TOY, *runs, "--kind", "noisy", "--name", "noisy"],
        "taken": [*TOY, *runs, "--kind", "noisy", "--name", "taken"],
        "diverging": [*TOY, *runs, "--kind", "diverging", "--name", "diverging", "--checkpoint-every", "2"],
        "interrupted": [*TOY, *runs, "--kind", "noisy", "--name", "stopped"],
        "resumed": [*TOY, *runs, "--kind", "noisy", "--name", "stopped"],
        "interrupted turns": [*TOY, *runs, *turns, "--name", "stopped turns"],
        "resumed turns": [*TOY, *runs, *turns, "--name", "stopped turns"],
        "full disk": [*TOY, *runs, "--kind", "noisy", "--name", "full", "--checkpoint-every", "3"],
        "emptied disk": [*TOY, *runs, "--kind", "noisy", "--name", "full", "--checkpoint-every", "3"],
    }
    (folder / "commands.json").write_text(json.dumps(commands))
    (folder / "program.py").write_text(PROGRAM)
    ran = machine([folder], program=folder / "program.py", processes=2)
    assert ran["status"] == 0, ran["errors"]
    both = [json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(2)]
    return folder, {name: [both[0][name], both[1][name]] for name in commands}


def test_streams_never_coincide_and_parts_are_processes(found, tmp_path):
    """Noise is named by the slice of the batch, so two processes draw what one draws for two accumulated parts."""
    folder, of = found
    drawn = [entry for ours in of["noisy"] for entry in ours["drawn"]]
    assert len(drawn) == 24 and len({tuple(entry[2]) for entry in drawn}) == 24
    task = "--kind", "noisy", "--accumulate", 2, "--name", "one"
    toys.tasks.clear()
    assert toys.penult(*TOY, "--runs", tmp_path, *task) == 0
    assert sorted(map(repr, drawn)) == sorted(map(repr, map(list, toys.tasks[-1].drawn)))
    assert_same(weights(tmp_path / "one/model.safetensors"), weights(folder / "noisy/model.safetensors"), 1e-6)


def test_turns_train_alike_in_both(found):
    """A network that another turn froze is not waited for; both end with the same weights and running statistics."""
    folder, of = found
    first, second = of["adversarial"]
    assert first["status"] == second["status"] == 0, first["errors"]
    assert first["weights"] == second["weights"] and first["weights"]
    assert [entry[:3] for entry in first["seen"]] == [entry[:3] for entry in second["seen"]]
    assert not any(set(ours[3]) & set(theirs[3]) for ours, theirs in zip(first["seen"], second["seen"], strict=True))
    metrics = [json.loads(line) for line in (folder / "adversarial/metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in metrics if "validation/likeness" in entry] == [4, 8, 12]


def test_only_the_first_writes(found):
    """Also what the second draws from, and goes on drawing from."""
    _, of = found
    for _, second in of.values():
        assert second["written"] == [] and second["output"] == second["errors"] == ""
    own = [Path(path).name for path in of["noisy"][0]["written"]]
    assert own.count("random-0.safetensors") == own.count("random-1.safetensors") == 3


@pytest.mark.parametrize(
    ("name", "status", "expected"),
    [
        ("finished", 0, ""),
        ("taken", 2, "exists and is no run"),
        ("diverging", 1, "the loss 'cross-entropy' was not finite at step 7; stopped, and the last good state is"),
        ("interrupted", 130, "stopped at step 8 of 12; to go on"),
        ("resumed", 0, ""),
        ("interrupted turns", 130, "stopped at step 8 of 12; to go on"),
        ("resumed turns", 0, ""),
        ("full disk", 1, "No space left on device; the last complete state is"),
        ("emptied disk", 0, ""),
    ],
)
def test_what_ends_one_ends_both_with_one_line(found, name, status, expected):
    """Also where only one of them sees it: the second's loss, the second's signal (sent twice), the first's disk."""
    _, of = found
    first, second = of[name]
    assert first["status"] == second["status"] == status, first["errors"]
    assert expected in first["errors"] and first["errors"].count("\n") == (status != 0)
    assert "Traceback" not in first["errors"]


def test_what_was_stopped_goes_on_to_the_same_weights(found):
    """And to the same running statistics, of which each process has its own between two looks."""
    folder, _ = found
    for name, whole, file in (
        ("stopped", "noisy", "model"),
        ("full", "noisy", "model"),
        ("stopped turns", "adversarial", "model"),
        ("stopped turns", "adversarial", "critic"),
    ):
        path = f"{file}.safetensors"
        assert_same(weights(folder / name / path), weights(folder / whole / path), 0.0)
    assert (folder / "taken/notes.txt").read_text() == "mine" and len(list((folder / "taken").glob("[!.]*"))) == 1
