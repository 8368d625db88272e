"""A place is one command's: the second is refused before its work, and a claim dies with its process."""

import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest

from apps.command.places import claim, holding, lock
from priors.errors import InputError

HOLD = """
import sys
from pathlib import Path
from apps.command.places import claim, holding
with holding():
    claim(Path(sys.argv[1]), "it")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held():
    """`held(path)`: a process that has claimed a place, until its standard input is closed."""
    started = []

    def hold(path):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen([sys.executable, "-c", HOLD, str(path)], env=environment, **pipes))
        assert started[-1].stdout.readline() == b"held\n"
        return started[-1]

    yield hold
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close(), process.stdout.close()


def test_the_second_command_is_refused_before_its_work(penult, trained, held, tmp_path, copied):
    run = copied("hvae-c")
    places = {
        "out.npz": ("sample", run, "--labels", "0", "--n", "1", "--out", "out.npz"),
        "folder": ("sample", run, "--labels", "0", "--n", "1", "--out", "folder"),
        "prior.safetensors": ("prior", trained / "classifier", "--out", "prior.safetensors"),
        "exported": ("export", run, "exported"),
        f"{run}/evaluation.json": ("evaluate", run, "--images", "1", "--samples", "1"),
        f"{run}/report.html": ("report", run),
    }
    for place, words in places.items():
        process = held(tmp_path / place)
        said = penult(*words)
        assert (said.status, said.err.count("\n")) == (2, 1), said
        assert "is being written by another process" in said.err and not said.out
        process.stdin.close()
        process.wait()
    said = penult(*places["out.npz"])
    assert said.status == 0 and not list(tmp_path.glob(".*"))


def test_a_claim_dies_with_its_process(held, tmp_path):
    process = held(tmp_path / "a.npz")
    with pytest.raises(InputError, match="another process"), holding():
        claim(tmp_path / "a.npz", "--out a.npz")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / ".a.npz.lock").exists(), "left by the kill"
    with holding():
        claim(tmp_path / "a.npz", "--out a.npz")
        claim(tmp_path / "a.npz", "--out a.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("claimed", "other"),
    [
        ("folder", "link"),
        ("link", "folder"),
        ("link/a.npz", "folder/a.npz"),
        ("../far/../a.npz", "a.npz"),  # of the folder that the link leads to, and not of the one that it is in
        ("folder/../folder/new/a.npz", "link/new/a.npz"),
    ],
)
def test_a_place_is_one_however_it_is_spelt(held, tmp_path, claimed, other):
    (tmp_path / "deep/folder").mkdir(parents=True)
    for link in ("deep/link", "far"):
        (tmp_path / link).symlink_to(tmp_path / "deep/folder")
    with holding():
        claim(tmp_path / "deep" / claimed, "it")
        claim(tmp_path / "deep" / other, "it")  # the same command may
        assert [*(tmp_path / "deep").rglob("*.lock")] == [*tmp_path.rglob("*.lock")]
    held(tmp_path / "deep" / claimed)
    with pytest.raises(InputError, match="another process"), holding():
        claim(tmp_path / "deep" / other, "it")


def test_what_is_written_in_the_place_of_a_link_to_a_file_is_another_place(held, tmp_path):
    (tmp_path / "link.npz").symlink_to("a.npz")
    held(tmp_path / "a.npz")
    with holding():
        claim(tmp_path / "link.npz", "it")


def test_a_folder_removed_while_it_is_held(held, tmp_path):
    """Who held it before takes nothing away from who holds it now."""
    with holding():
        claim(tmp_path / "gone" / "a.npz", "it")
        shutil.rmtree(tmp_path / "gone")
        held(tmp_path / "gone" / "a.npz")
    with pytest.raises(InputError, match="another process"), holding():
        claim(tmp_path / "gone" / "a.npz", "it")


def test_folders_that_nothing_came_into_go_again(tmp_path):
    with holding():
        claim(tmp_path / "a" / "b" / "c.npz", "it")
        claim(tmp_path / "d" / "e.npz", "it")
        (tmp_path / "d" / "e.npz").write_text("kept")
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "d", tmp_path / "d" / "e.npz"]


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOENT, errno.ELOOP])
def test_a_run_that_cannot_be_written_is_found_before_the_work(penult, copied, monkeypatch, code):
    run, opening = copied("hvae"), os.open

    def refuse(path, flags, *rest, **options):
        if str(path).endswith("evaluation.json.lock"):
            raise OSError(code, os.strerror(code), str(path))
        return opening(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr("apps.scores.known.likelihood.Likelihoods.score", None)
    said = penult("evaluate", run, "--images", "1")
    assert said.status == 2 and said.err.count("\n") == 1 and "nothing can be written there" in said.err


def test_places_that_are_none(penult, trained, tmp_path):
    os.symlink("loop", tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe.npz")
    for out in ("/proc/nowhere/a.npz", "loop/a.npz", "pipe.npz", "/dev/null/a.npz"):
        said = penult("sample", trained / "hvae", "--n", "1", "--out", out, "--overwrite")
        assert said.status == 2 and said.err.count("\n") == 1 and out in said.err


def test_a_pipe_is_no_lock(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(InputError, match="no regular file"):
        lock(tmp_path / ".lock", "taken")
