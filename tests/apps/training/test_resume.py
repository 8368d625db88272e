"""A training killed, interrupted or out of disk at any moment goes on, and ends as an undisturbed one does."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from priors.files.tensors import read_tensors

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}

TOY = ["train", "toy", "--kind", "adversarial", "--epochs", "3", "--batch-size", "12", "--ema", ".9", "--clip", "1"]
CASES = {
    "turns, phases, dropout, batch norm, memory": [*TOY, "--checkpoint-every", "5", "--log-every", "3"],
    "adam, resized crops, mixup, average, best, two parts": [
        *["train", "classifier", "--validation", "100", "--batch-size", "100", "--accumulate", "2", "--ema", ".9"],
        *["--epochs", "1", "--warmup", ".2", "--validate-every", ".3", "--checkpoint-every", "3", "--log-every", "2"],
        *["--augment", "resized-crop+flip", "--mixup", ".4"],
    ],
    "sgd with fresh momentum, residual network, augmentation, snapshots": [
        *["train", "classifier", "--arch", "wrn-16-1", "--batch-size", "50", "--epochs", ".25", "--optimizer", "sgd"],
        *["--augment", "crop+flip", "--crop-fill", "reflect", "--weight-decay", "5e-4", "--clip", "5"],
        *["--schedule", "step", "--milestones", ".4", ".7", "--reset-momentum", "--checkpoint-every", "2"],
        *["--snapshots", "0", "3", "4", "7"],
    ],
    "stochastic generator": [
        *["train", "hvae", "--variant", "hvae", "--batch-size", "100", "--epochs", ".7", "--hidden", "32", "16"],
        *["--checkpoint-every", "3", "--log-every", "1", "--ema", ".95"],
    ],
}

SLOW = {"stochastic generator"}  # runs of one that are interrupted are among those of tests/apps/runs/formats


@pytest.fixture(scope="module")
def undisturbed(machine, tmp_path_factory):
    """What a command that nothing happens to leaves behind, by case."""
    found = {}

    def of(command):
        key = tuple(command)
        if key not in found:
            folder = tmp_path_factory.mktemp("undisturbed")
            answer = machine(in_folder(command, folder))
            assert answer["status"] == 0, answer["errors"]
            found[key] = left_behind(folder / "run"), answer["events"]
        return found[key]

    return of


def in_folder(command, folder):
    return [*command, "--runs", str(folder), "--name", "run", "--device", "cpu", "--threads", "1"]


def left_behind(run):
    """The bytes of all weights, and everything else but the times."""
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((run / "result.json").read_text())
    result.pop("seconds")
    return {
        "metrics": [{key: value for key, value in entry.items() if key != "images/s"} for entry in entries],
        "result": result,
        "files": sorted(path.name for path in run.iterdir()),
        **{str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*.safetensors")},
    }


def states_are_whole(run):
    """Read every visible state; whether there is one."""
    folders = list((run / "state").glob("step-*"))
    for folder in folders:
        state = json.loads((folder / "state.json").read_text())
        names = [f"network-{name}" for name in state["networks"]] + [f"average-{name}" for name in state["averages"]]
        names += [f"optimizer-{turn}" for turn in state["optimizers"]] + [f"best-{name}" for name in state["best"]]
        for name in (*names, "task", "random-0"):
            read_tensors(folder / f"{name}.safetensors")
        assert state["progress"]["step"] == int(folder.name.removeprefix("step-"))
    return bool(folders)


def one_line(answer):
    assert "Traceback" not in answer["errors"], answer["errors"]
    lines = answer["errors"].strip().splitlines()
    lines = [line for line in lines if not line.startswith("run: step ")]  # its progress, on a slow machine
    assert len(lines) == 1 and lines[0].startswith("penult: "), lines
    return lines[0]


@pytest.mark.parametrize(
    "command",
    [pytest.param(words, id=name, marks=pytest.mark.slow if name in SLOW else ()) for name, words in CASES.items()],
)
def test_killed_again_and_again_it_ends_the_same(machine, undisturbed, command, tmp_path):
    expected, events = undisturbed(command)
    run, half_written, resumed = tmp_path / "run", 0, 0
    # Each attempt lives for longer: the first ones die while the folder is made, the last while the result is written.
    for at in range(4, 4 + len(events) + 11, 11):
        answer = machine(in_folder(command, tmp_path), at=at)
        if answer["status"] == 0:
            break
        assert answer["status"] == -signal.SIGKILL, answer["errors"]
        resumed += states_are_whole(run)
        half_written += bool(list((run / "state").glob(".step-*")))
    assert answer["status"] == 0 and resumed > 1 and half_written > 0
    assert left_behind(run) == expected
    assert not list(run.rglob("*.partial")) and not (run / "state").exists()


def moments(events):
    """Where in a list of events the third state is written, the first to remove an older one: numbers from 1."""
    starts = [index for index, kind in enumerate(events) if kind == "step" and "rmtree" in events[index : index + 6]]
    return range(starts[4] + 2, starts[5] + 1)


def killed_once(machine, command, expected, at, folder):
    answer = machine(in_folder(command, folder), at=at)
    assert answer["status"] == -signal.SIGKILL, answer["errors"]
    states_are_whole(folder / "run")
    answer = machine(in_folder(command, folder))
    assert answer["status"] == 0, answer["errors"]
    assert left_behind(folder / "run") == expected


PLAIN = ["train", "toy", "--epochs", "4", "--batch-size", "12", "--checkpoint-every", "3", "--log-every", "1"]


def test_killed_at_the_end_of_a_state_it_ends_the_same(machine, undisturbed, tmp_path):
    expected, events = undisturbed(PLAIN)
    committing = [at for at in moments(events) if at > moments(events)[-1] - 9]
    assert {events[at - 1] for at in committing} >= {"fsync", "replace", "rmtree"}
    for at in committing:
        killed_once(machine, PLAIN, expected, at, tmp_path / str(at))


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [PLAIN, CASES["turns, phases, dropout, batch norm, memory"]], ids=["plain", "turns"]
)
def test_killed_at_any_event_it_ends_the_same(machine, undisturbed, command, tmp_path):
    expected, events = undisturbed(command)
    for at in range(1, len(events) + 1):
        killed_once(machine, command, expected, at, tmp_path / str(at))


@pytest.mark.parametrize(("name", "only"), [("SIGINT", "step"), ("SIGTERM", "step"), ("SIGINT", "fsync")])
def test_interrupted_it_saves_its_state_and_ends_the_same(machine, undisturbed, name, only, tmp_path):
    expected, _ = undisturbed(CASES["turns, phases, dropout, batch norm, memory"])
    command = in_folder(CASES["turns, phases, dropout, batch norm, memory"], tmp_path)
    answer = machine(command, at=12, act=name, only=only)
    assert answer["status"] == 130
    line = one_line(answer)
    stopped = int(line.split("stopped at step ")[1].split(" ")[0])
    assert line.endswith("to go on: penult " + " ".join(command)) and "of 12" in line
    states = sorted(int(path.name.removeprefix("step-")) for path in (tmp_path / "run/state").iterdir())
    assert len(states) == 2 and states[-1] == stopped
    assert machine(command)["status"] == 0
    found = left_behind(tmp_path / "run")
    # Stopping reads the losses early: their means are over other steps, everything else is the same.
    steps = [entry["step"] for entry in found.pop("metrics") if any(key.startswith("train/") for key in entry)]
    assert len(set(steps)) == len(steps) and steps == sorted(steps)
    assert found == {key: value for key, value in expected.items() if key != "metrics"}


@pytest.mark.parametrize(
    "failure",
    [
        {"at": 12, "act": "ENOSPC", "only": "fsync"},
        {"at": 4, "act": "EDQUOT", "only": "log"},
        {"at": 25, "act": "EIO", "only": "replace"},
        {"file_limit": 100_000},
    ],
    ids=lambda failure: failure.get("act", "EFBIG"),
)
def test_a_disk_that_fails_leaves_the_last_state(machine, undisturbed, failure, tmp_path):
    """The file limit is the kernel's own failure: a write that ends half-way."""
    command = CASES["adam, resized crops, mixup, average, best, two parts"]
    expected, _ = undisturbed(command)
    run = tmp_path / "run"
    assert machine(in_folder(command, tmp_path), at=5, only="step")["status"] == -signal.SIGKILL
    before = {path: path.read_bytes() for path in run.rglob("step-*/*")}
    assert before
    answer = machine(in_folder(command, tmp_path), **failure)
    assert answer["status"] == 1
    assert "give the same command again" in one_line(answer)
    assert states_are_whole(run) and not list((run / "state").glob(".*")) and not (run / "result.json").exists()
    if "file_limit" in failure:
        assert "File too large; the last complete state is" in one_line(answer)
        assert before == {path: path.read_bytes() for path in run.rglob("step-*/*")}
    assert machine(in_folder(command, tmp_path))["status"] == 0
    assert left_behind(run) == expected


@pytest.mark.parametrize(
    ("kind", "what", "good"),
    [("diverging", "the loss 'cross-entropy' was not finite at step 7", "step-6"),
     ("overflowing", "the weights of 'model' were not finite after step 5", "step-4")],
)  # fmt: skip
def test_what_is_not_finite_is_never_saved(machine, kind, what, good, tmp_path):
    """Also where a finite loss has a gradient that is not: the state after it would be worth nothing."""
    command = ["train", "toy", "--kind", kind, "--epochs", "4", "--batch-size", "12", "--validate-every", "4"]
    for every in ("1", "2"):  # the second goes on from the state of the first, and comes to the same end
        how = ["--checkpoint-every", every, "--log-every", "1" if kind == "overflowing" else "50"]
        answer = machine(in_folder([*command, *how], tmp_path))
        assert answer["status"] == 1
        line = one_line(answer)
        assert what in line and f"the last good state is {tmp_path}/run/state/{good}." in line
        states = sorted(path.name for path in (tmp_path / "run/state").iterdir())
        assert len(states) == 2 and states[-1] == good
        assert states_are_whole(tmp_path / "run")


def test_a_run_belongs_to_one_program_and_ctrl_c_saves_it(machine, tmp_path):
    """The command as it is typed, in a process of its own."""
    command = in_folder(["train", "classifier", "--epochs", "100000", "--log-every", "5"], tmp_path)
    run = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-m", "apps", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        late = time.monotonic() + 120
        while not (run / "state").exists() and process.poll() is None and time.monotonic() < late:
            time.sleep(0.05)
        second = machine(command)
        other = machine([*command, "--seed", "1"])
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    line = one_line({"errors": errors})
    assert line.endswith("to go on: penult " + " ".join(command))
    for answer in (second, other):
        assert answer["status"] == 2 and "is being written by another process" in one_line(answer)
    assert states_are_whole(run)
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert f"stopped at step {metrics[-1]['step']} " in line
