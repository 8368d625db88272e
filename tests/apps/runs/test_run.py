"""A run's folder: never overwritten, refused where it is another's or damaged, in one line and without harm."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import toys
from flipping import flip
from safetensors.torch import load_file, save_file

from apps.runs.run import Run
from priors.errors import InputError
from priors.files import json_files, tensors

TOY = ("train", "toy", "--epochs", "2", "--batch-size", "12", "--device", "cpu", "--threads", "1", "--name", "run")


@pytest.fixture
def penult(capsys):
    """Run a command line: its status, its output, and the one line that it may say on standard error."""

    def run(*arguments):
        capsys.readouterr()
        status = toys.penult(*arguments)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        lines = [line for line in said.err.strip().splitlines() if not line.startswith("run: step ")]  # its progress
        assert len(lines) == (status != 0), said.err
        return status, lines[0] if lines else said.out

    return run


def stopped(folder, capsys):
    """A run that was stopped at step 5 of 8, with the states of steps 3 and 4."""
    task = toys.Overflowing
    toys.KINDS["plain"] = task
    try:
        assert toys.penult(*TOY, "--runs", folder, "--checkpoint-every", 1, "--log-every", 1) == 1
    finally:
        toys.KINDS["plain"] = toys.Plain
    capsys.readouterr()
    assert [state.name for state in Run(folder / "run").states()] == ["step-3", "step-4"]
    return folder / "run"


def everything(folder):
    """Bytes and times of all files; the lock is nobody's content."""
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


# What is there is not lost.


def test_a_finished_run_is_not_touched(penult, tmp_path):
    assert penult(*TOY, "--runs", tmp_path)[0] == 0
    before = everything(tmp_path)
    assert Path("run/result.json") in before and Path("run/model.safetensors") in before
    status, said = penult(*TOY, "--runs", tmp_path)
    assert status == 0 and f"{tmp_path}/run is finished already" in said
    assert everything(tmp_path) == before
    # How it is shown may differ.
    assert penult(*TOY, "--runs", tmp_path, "--log-every", 7, "--checkpoint-every", 3)[0] == 0
    assert everything(tmp_path) == before


def test_what_a_kill_after_the_result_left_goes(penult, tmp_path):
    assert penult(*TOY, "--runs", tmp_path)[0] == 0
    before = everything(tmp_path)
    left = [tmp_path / "run" / name for name in ("state/step-8/state.json", "state/.step-3/x", ".x.1.partial")]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert penult(*TOY, "--runs", tmp_path)[0] == 0
    assert everything(tmp_path) == before


@pytest.mark.parametrize("finished", [True, False])
def test_another_configuration_is_refused_with_what_differs(penult, finished, tmp_path, capsys):
    if finished:
        assert penult(*TOY, "--runs", tmp_path)[0] == 0
    else:
        stopped(tmp_path, capsys)
    before = everything(tmp_path)
    status, line = penult(*TOY, "--runs", tmp_path, "--lr", 0.5, "--kind", "noisy", "--ema", 0.9)
    assert status == 2
    for difference in ("lr: 0.001 before, 0.5 now", "kind: plain before, noisy now", "ema: None before, 0.9 now"):
        assert difference in line
    assert "batch_size" not in line and "choose another --name" in line
    assert everything(tmp_path) == before


def test_another_verb_is_refused(penult, tmp_path):
    assert penult(*TOY, "--runs", tmp_path)[0] == 0
    before = everything(tmp_path)
    status, line = penult("train", "classifier", "--runs", tmp_path, "--name", "run", "--device", "cpu")
    assert status == 2 and "verb: train toy before, train classifier now" in line
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"notes.txt": "mine"}, "exists and is no run"),
        ({"config.json": '{"hidden_size": 768}', "model.safetensors": "theirs"}, "is not the configuration of a run"),
        ({"config.json": '{"hidden_size": 768}'}, "is not the configuration of a run"),
        ({"config.json": '["verb"]'}, "is not the configuration of a run"),
        ({"config.json": '{"verb": "train toy", "conf'}, "is not a readable run configuration"),
        ({"config.json": ""}, "is not a readable run configuration"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(penult, files, expected, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    before = everything(tmp_path)
    status, line = penult(*TOY, "--runs", tmp_path)
    assert status == 2 and expected in line and str(folder) in line
    assert everything(tmp_path) == before


def test_a_folder_where_nothing_began_is_taken(penult, tmp_path):
    """A kill before the first step was logged leaves a configuration only, and there may be an empty folder."""
    (tmp_path / "run").mkdir()
    begun = Run(tmp_path / "run")
    begun.open("train toy", {"other": 1}, {})
    begun.close()
    assert penult(*TOY, "--runs", tmp_path)[0] == 0


@pytest.mark.parametrize(
    "options",
    [("--name", "file"), ("--runs", "{}/file"), ("--name", "x" * 300)],
    ids=["a file is there", "no folder", "too long"],
)
def test_a_place_where_no_folder_can_be(penult, options, tmp_path):
    (tmp_path / "file").write_text("mine")
    options = [option.format(tmp_path) for option in options]
    status, line = penult(*TOY, "--runs", tmp_path, *options)
    assert status == 2 and ("choose another --name" in line or "this is a file" in line)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_place_that_may_not_be_written(penult, tmp_path):
    tmp_path.chmod(0o500)
    try:
        status, line = penult(*TOY, "--runs", tmp_path)
    finally:
        tmp_path.chmod(0o700)
    assert status == 2 and "(Permission denied): choose another --name or --runs" in line


# Damage.

DAMAGES = {
    "state.json cut": lambda state: cut(state / "state.json"),
    "state.json gone": lambda state: (state / "state.json").unlink(),
    "state.json of something else": lambda state: (state / "state.json").write_text('{"epoch": 3}'),
    "state.json a list": lambda state: (state / "state.json").write_text("[1, 2]"),
    "progress of something else": lambda state: rewrite(state, progress={"epoch": 3}),
    "progress without a step": lambda state: rewrite(state, progress={"step": "four"}),
    "other networks": lambda state: rewrite(state, networks=["model", "critic"]),
    "other configuration": lambda state: rewrite(state, config={"lr": 3.0}),
    "other optimiser": lambda state: rewrite(state, optimizers={"train": {"groups": [], "numbers": {}}}),
    "optimiser's names": lambda state: rewrite(state, optimizers={"train": {"groups": [], "numbers": {"a.b": 1}}}),
    "weights cut": lambda state: cut(state / "network-model.safetensors"),
    "weights gone": lambda state: (state / "network-model.safetensors").unlink(),
    "weights empty": lambda state: (state / "network-model.safetensors").write_bytes(b""),
    "weights of something else": lambda state: shutil.copy(
        state / "optimizer-train.safetensors", state / "network-model.safetensors"
    ),
    "optimiser cut": lambda state: cut(state / "optimizer-train.safetensors"),
    "optimiser of something else": lambda state: shutil.copy(
        state / "network-model.safetensors", state / "optimizer-train.safetensors"
    ),
    "task cut": lambda state: cut(state / "task.safetensors"),
    "random cut": lambda state: cut(state / "random-0.safetensors"),
    "random of something else": lambda state: shutil.copy(
        state / "network-model.safetensors", state / "random-0.safetensors"
    ),
}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewrite(state, **changes):
    path = state / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def of_before(state):
    """As states were before there were checksums."""
    path = state / "state.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in kept.items() if key not in ("files", "checksum")}))


@pytest.mark.parametrize(("device", "told"), [("cpu", 0), ("cuda", 1), (None, 0)])
def test_a_state_of_another_kind_of_device_goes_on_and_says_so(tmp_path, capsys, caplog, device, told):
    run = stopped(tmp_path / "whole", capsys)
    state = run / "state/step-4"
    of_before(state)
    assert json.loads((state / "state.json").read_text())["device"] == "cpu"
    rewrite(state, device=device)
    assert toys.penult(*TOY, "--runs", run.parent, "--checkpoint-every", 1, "--log-every", 1) == 0
    said = [record.getMessage() for record in caplog.records if "random numbers" in record.getMessage()]
    assert len(said) == told and all(f"{state} was written on cuda; it goes on on cpu" in line for line in said)


@pytest.mark.parametrize("checked", [True, False])
def test_a_damaged_state_that_is_the_only_one_is_refused_and_kept(penult, tmp_path, capsys, checked):
    """Each kind of damage in turn: one line that names the state and what to do, and nothing is changed."""
    run = stopped(tmp_path / "whole", capsys)
    shutil.rmtree(run / "state/step-3")
    if not checked:
        of_before(run / "state/step-4")
    rest = {path: kept for path, kept in everything(run).items() if path.parts[:2] != ("state", "step-4")}
    for number, (name, damage) in enumerate(list(DAMAGES.items())[:: 1 if checked else 3]):
        folder = tmp_path / str(number)
        shutil.copytree(run, folder / "run")
        damage(folder / "run/state/step-4")
        before = everything(folder)
        status, line = penult(*TOY, "--runs", folder)
        assert status == 2, name
        assert f"cannot go on from {folder}/run/state/step-4" in line and "remove that folder to start over" in line, (
            name
        )
        assert everything(folder) == before, name
        shutil.rmtree(folder / "run/state/step-4")  # as it says
        assert everything(folder / "run") == rest, "whatever the damage was, this is left"
    assert penult(*TOY, "--runs", folder)[0] == 0
    assert [entry["step"] for entry in Run(folder / "run").metrics() if "images/s" in entry] == [4, 8]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The weights of the run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert toys.penult(*TOY, "--runs", folder) == 0
    return (folder / "run/model.safetensors").read_bytes()


def test_a_damaged_state_falls_back_to_the_one_before(penult, tmp_path, capsys, undisturbed):
    """One line says so, and the end is the same."""
    run = stopped(tmp_path / "whole", capsys)
    for number, (name, damage) in enumerate(list(DAMAGES.items())[::5]):  # of both kinds of file
        folder = tmp_path / str(number)
        shutil.copytree(run, folder / "run")
        damage(folder / "run/state/step-4")
        status, said = penult(*TOY, "--runs", folder)
        told = [line for line in said.splitlines() if "cannot be used" in line]
        assert status == 0 and len(told) == 1, (name, said)
        assert f"{folder}/run/state/step-4 cannot be used" in told[0] and "going on from the state before it" in told[0]
        assert (folder / "run/model.safetensors").read_bytes() == undisturbed, name
        assert not (folder / "run/state").exists()


KEEPING = ("train", "toy", "--kind", "adversarial", "--epochs", "3", "--batch-size", "12", "--ema", ".9")
KEEPING += ("--device", "cpu", "--threads", "1", "--name", "run", "--checkpoint-every", "2")
FILES = ("network-model", "network-critic", "average-model", "best-model", "optimizer-critic", "task", "random-0")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run with every kind of file in its state, stopped after step 9, and the weights that it comes to."""
    folder = tmp_path_factory.mktemp("kept")
    assert toys.penult(*KEEPING, "--runs", folder / "straight") == 0
    with pytest.MonkeyPatch.context() as patched:
        losses = toys.Adversarial.losses

        def stopping(task, turn, batch, step):
            if step == 9:
                raise KeyboardInterrupt
            return losses(task, turn, batch, step)

        patched.setattr(toys.Adversarial, "losses", stopping)
        assert toys.penult(*KEEPING, "--runs", folder) == 130
    return folder / "run", (folder / "straight/run/model.safetensors").read_bytes()


@pytest.mark.parametrize("file", FILES)
def test_a_flipped_bit_in_a_state_falls_back(penult, kept, tmp_path, file):
    """It went on with other numbers, without a word."""
    run, expected = kept
    shutil.copytree(run, tmp_path / "run")
    older, newest = Run(tmp_path / "run").states()
    assert (older.name, newest.name) == ("step-6", "step-8")
    flip(newest / f"{file}.safetensors")
    status, said = penult(*KEEPING, "--runs", tmp_path)
    assert status == 0 and f"{newest} cannot be used ({newest}/{file}.safetensors is damaged" in said
    assert (tmp_path / "run/model.safetensors").read_bytes() == expected


def test_no_file_of_the_two_states_is_one(kept):
    """The best weights may be the same in both: two links to one file would be damaged together."""
    older, newest = Run(kept[0]).states()
    assert {path.stem for path in newest.iterdir()} >= {*FILES, "state"}
    assert not {path.stat().st_ino for path in older.iterdir()} & {path.stat().st_ino for path in newest.iterdir()}


def test_two_damaged_states_are_refused_and_kept(penult, kept, tmp_path):
    shutil.copytree(kept[0], tmp_path / "run")
    states = Run(tmp_path / "run").states()
    for state in states:
        flip(state / "optimizer-critic.safetensors")
    before = everything(tmp_path)
    status, line = penult(*KEEPING, "--runs", tmp_path)
    assert status == 2 and all(f"from {state}:" in line for state in states)
    assert line.endswith("remove these folders to start over") and everything(tmp_path) == before


def failing(monkeypatch, module, name, code, where):
    """`name` of a module fails by an error of the system where its first argument is in the folder `where`."""
    real = getattr(module, name)

    def fail(path, *rest, **options):
        if Path(path).parent == where:
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *rest, **options)

    monkeypatch.setattr(module, name, fail)


def test_a_state_that_the_disk_cannot_read_falls_back(penult, kept, tmp_path, monkeypatch):
    shutil.copytree(kept[0], tmp_path / "run")
    newest = tmp_path / "run/state/step-8"
    failing(monkeypatch, json_files, "read_bytes", errno.EIO, newest)
    status, said = penult(*KEEPING, "--runs", tmp_path)
    assert status == 0 and f"{newest} cannot be used ({newest}/state.json: Input/output error)" in said
    assert (tmp_path / "run/model.safetensors").read_bytes() == kept[1]


@pytest.mark.parametrize(("module", "name"), [(json_files, "read_bytes"), (tensors, "open_regular")])
def test_a_machine_that_is_short_of_files_says_nothing_of_a_state(penult, kept, tmp_path, monkeypatch, module, name):
    """The newest one was taken for damaged, and removed."""
    shutil.copytree(kept[0], tmp_path / "run")
    before, newest = everything(tmp_path), tmp_path / "run/state/step-8"
    failing(monkeypatch, module, name, errno.EMFILE, newest)
    status, line = penult(*KEEPING, "--runs", tmp_path)
    assert status == 1 and "Too many open files" in line and everything(tmp_path) == before


def test_a_digit_in_a_states_numbers_falls_back(penult, kept, tmp_path):
    shutil.copytree(kept[0], tmp_path / "run")
    path = tmp_path / "run/state/step-8/state.json"
    path.write_text(path.read_text().replace('"step": 8', '"step": 9'))
    status, said = penult(*KEEPING, "--runs", tmp_path)
    assert status == 0 and f"{path} is damaged" in said
    assert (tmp_path / "run/model.safetensors").read_bytes() == kept[1]


@pytest.mark.parametrize("file", ["network-model", "average-model", "best-model", "optimizer-critic"])
def test_what_is_not_finite_in_a_state_of_before_is_refused(penult, kept, tmp_path, file):
    shutil.copytree(kept[0], tmp_path / "run")
    older, newest = Run(tmp_path / "run").states()
    shutil.rmtree(older)
    of_before(newest)
    path = newest / f"{file}.safetensors"
    weights = load_file(path)
    name = max(weights)
    weights[name].view(-1)[0] = float("nan")
    save_file(weights, path)
    status, line = penult(*KEEPING, "--runs", tmp_path)
    assert status == 2 and f"the weights in {path} are not finite: {name} holds 1 of" in line


@pytest.mark.parametrize(
    ("put", "lost", "kept"),
    [
        (lambda text: text.replace("{", "[", 1), True, [2]),
        (lambda text: text.encode("utf-16").decode("latin-1"), True, []),
        (lambda text: "{}\n", True, []),
        (lambda text: text + '{"step": 3, "tr', False, [1, 2]),
        (lambda text: text + '{"s', False, [1, 2]),
    ],
    ids=["a line", "all of them", "an object without a step", "the end cut off", "early"],
)
def test_lines_of_metrics_that_cannot_be_read_are_dropped_aloud(tmp_path, capsys, put, lost, kept):
    run = Run(tmp_path)
    for step in (1, 2, 3):
        run.log({"step": step, "train/loss": 0.5})
    path = tmp_path / "metrics.jsonl"
    path.write_text(put(path.read_text()), encoding="latin-1")
    run.rewind_metrics(2)
    said = capsys.readouterr()
    assert ("lines cannot be read" in said.out + said.err) == lost
    assert run.metrics() == [{"step": step, "train/loss": 0.5} for step in kept]


def test_a_result_that_is_no_file_is_refused_and_nothing_trained_again(penult, tmp_path):
    assert penult(*TOY, "--runs", tmp_path)[0] == 0
    path = tmp_path / "run/result.json"
    for put in (os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path.name)):
        path.rmdir() if path.is_dir() else path.unlink()
        put(path)
        status, line = penult(*TOY, "--runs", tmp_path)
        assert status == 2 and "result.json" in line and not path.is_file()


def test_a_damaged_result_is_said(penult, tmp_path):
    assert penult(*TOY, "--runs", tmp_path)[0] == 0
    for content, expected in (
        ('{"steps": 8, "ep', "is not a readable result"),
        ("[]", "is not the result of a run"),
        ('{"steps": "8"}', "'steps' is no number"),
        ('{"steps": 8, "best": {"accuracy": [1]}}', "'best: accuracy' is no number"),
    ):
        (tmp_path / "run/result.json").write_text(content)
        status, line = penult(*TOY, "--runs", tmp_path)
        assert status == 2 and expected in line and "result.json" in line
        assert (tmp_path / "run/result.json").read_text() == content


def test_damaged_metrics_do_not_matter(penult, tmp_path, capsys):
    run = stopped(tmp_path, capsys)
    with open(run / "metrics.jsonl", "ab") as file:
        file.write(b'3\n"x"\n\xff\xfe\n{"step": 4, "lo')
    assert penult(*TOY, "--runs", tmp_path, "--log-every", 1)[0] == 0
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]


def test_damaged_weights_are_said(penult, tmp_path):
    how = ("--device", "cpu", "--threads", "1")
    assert penult("train", "classifier", "--runs", tmp_path, "--name", "run", "--epochs", 0.1, *how)[0] == 0
    weights = tmp_path / "run/model.safetensors"
    whole = weights.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not tensors at all, but long enough"):
        weights.write_bytes(content)
        status, line = penult("evaluate", tmp_path / "run", *how)
        assert status == 2 and str(weights) in line
    weights.write_bytes(whole)
    cut(tmp_path / "run/config.json")
    status, line = penult("evaluate", tmp_path / "run", *how)
    assert status == 2 and "config.json" in line


# The folder by itself.


def test_one_program_at_a_time(tmp_path):
    first, second = Run(tmp_path / "run"), Run(tmp_path / "run")
    first.open("train toy", {}, {})
    with pytest.raises(InputError, match="is being written by another process"):
        second.open("train toy", {}, {})
    first.close()
    second.open("train toy", {}, {})
    second.close()


WRITING = {
    "a line of the log": lambda run: run.log({"step": 1}),
    "a state": lambda run: run.begin_state(1),
    "a snapshot": lambda run: run.save_snapshot(1, lambda folder: None, {}),
    "the result": lambda run: run.finish({"steps": 1}),
}


@pytest.mark.parametrize("write", WRITING.values(), ids=WRITING)
@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_was_removed_meanwhile_is_written_no_more(tmp_path, write, again):
    """A training that goes on in a forgotten window put its states among those of the run that was begun anew."""
    first, second = Run(tmp_path / "run"), Run(tmp_path / "run")
    first.open("train toy", {"lr": 1}, {})
    shutil.rmtree(tmp_path / "run")
    if again:
        second.open("train toy", {"lr": 2}, {})
    before = everything(tmp_path)
    with pytest.raises(InputError, match="run was removed or replaced while"):
        write(first)
    assert everything(tmp_path) == before
    if again:
        write(second)
        second.close()


def test_a_training_whose_folder_is_removed_ends_in_one_line(penult, tmp_path, monkeypatch):
    class Losing(toys.Plain):
        def losses(self, turn, batch, step):
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
            return super().losses(turn, batch, step)

    monkeypatch.setitem(toys.KINDS, "plain", Losing)
    status, line = penult(*TOY, "--runs", tmp_path)
    assert status == 2 and f"{tmp_path}/run was removed or replaced while" in line and not (tmp_path / "run").exists()


def test_a_state_whose_folder_goes_while_it_is_written_is_one_line(penult, tmp_path, monkeypatch):
    class Losing(toys.Plain):
        def state_dict(self):
            shutil.rmtree(tmp_path / "run")
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "step-4/.task.safetensors.partial")

    monkeypatch.setitem(toys.KINDS, "plain", Losing)
    status, line = penult(*TOY, "--runs", tmp_path)
    assert status == 1 and f"{tmp_path}/run: could not write the state of step 4: No such file" in line


def test_folders_beside_the_states_are_none(tmp_path):
    for name in ("step-3", "step-12", "step-\u00b2", "step-", "step-x"):
        (tmp_path / "state" / name).mkdir(parents=True)
    assert [state.name for state in Run(tmp_path).states()] == ["step-3", "step-12"]


def test_a_refusal_gives_the_lock_back(tmp_path):
    run = Run(tmp_path / "run")
    run.open("train toy", {"lr": 1}, {})
    run.log({"step": 1})
    run.close()
    with pytest.raises(InputError, match="lr: 1 before, 2 now"):
        Run(tmp_path / "run").open("train toy", {"lr": 2}, {})
    again = Run(tmp_path / "run")
    again.open("train toy", {"lr": 1}, {})
    again.close()


def test_states_are_seen_only_when_they_are_whole(tmp_path):
    run = Run(tmp_path / "run")
    run.open("train toy", {}, {})
    for step in (9, 10, 100):
        beside = run.begin_state(step)
        (beside / "x").write_text(str(step))
        assert run.state(step) not in run.states()
        run.commit_state(beside)
        assert run.states()[-1] == run.state(step) and len(run.states()) <= 2
    run.begin_state(101)
    assert run.states() == [run.state(10), run.state(100)]
    run.close()
    run.open("train toy", {}, {})
    assert set((run.folder / "state").iterdir()) == {run.state(10), run.state(100)}
    run.close()


def test_the_same_state_again_keeps_the_first(tmp_path):
    run = Run(tmp_path / "run")
    for content in ("first", "second"):
        beside = run.begin_state(3)
        (beside / "x").write_text(content)
        run.commit_state(beside)
    assert (run.state(3) / "x").read_text() == "first" and list((run.folder / "state").iterdir()) == [run.state(3)]


def test_metrics_go_back_to_a_step(tmp_path):
    run = Run(tmp_path)
    for step in (1, 2, 2, 3):
        run.log({"step": step})
    run.rewind_metrics(2)
    assert run.metrics() == [{"step": 1}, {"step": 2}, {"step": 2}]


def test_a_result_that_is_not_finite_is_none(tmp_path):
    run = Run(tmp_path)
    with pytest.raises(InputError, match="elbo is not finite"):
        run.finish({"elbo": float("nan"), "accuracy": 0.5})
    assert not run.finished
