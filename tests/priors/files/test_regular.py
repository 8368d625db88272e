"""Regular files read and written with care: what is none, or not to be had, is one line, at once."""

import errno
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from priors.errors import InputError
from priors.files.json_files import read_json
from priors.files.regular import read_bytes, write_bytes


@pytest.mark.parametrize("when", ["writing", "flushing", "renaming"])
def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch, when):
    path = tmp_path / "x.bin"
    write_bytes(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    if when == "renaming":
        monkeypatch.setattr(os, "replace", full)
    elif when == "flushing":
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises((OSError, TypeError)):
        write_bytes(path, "text" if when == "writing" else b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_write_one_file_leave_one_of_theirs_whole(tmp_path):
    path, contents = tmp_path / "x.bin", [bytes([number]) * 100_000 for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda content: [write_bytes(path, content) for _ in range(20)], contents))
    assert path.read_bytes() in contents and list(tmp_path.iterdir()) == [path]


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    """Each of these would wait for ever, or end in a trace, if it were opened as a file."""
    os.mkfifo(tmp_path / "pipe")
    os.symlink("pipe", tmp_path / "link to a pipe")
    os.symlink("loop", tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.getcwd()
        os.chdir(tmp_path)  # a socket's address is short
        bound.bind("socket")
        os.chdir(here)
    for name, said in (
        ("pipe", "not a named pipe"),
        ("link to a pipe", "not a named pipe"),
        ("socket", "not a socket"),
        ("/dev/zero", "not a device"),
        (".", "not a folder"),
        ("loop", "Too many levels"),
        ("x" * 300, "name too long"),
        ("nowhere", "no run at"),
        ("no\0name", "has no NUL"),
    ):
        for read in (read_bytes, read_json):
            with pytest.raises(InputError, match=said):
                read(tmp_path / name, "run")


def test_a_shortage_is_not_blamed_on_the_file(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("{}")

    def short(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.json")

    monkeypatch.setattr(os, "open", short)
    with pytest.raises(OSError, match="Too many open files"):
        read_json(tmp_path / "a.json")
