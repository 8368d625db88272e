"""Files read and written with care: what is no regular file, no JSON or not to be had is one line, at once."""

import errno
import json
import os
import socket

import pytest

from priors import files
from priors.errors import InputError


def test_json_comes_back_and_refuses_what_json_has_not(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"kappa": 20.5, "classes": ["a", "ü"], "none": None})
    assert files.read_json(path) == {"kappa": 20.5, "classes": ["a", "ü"], "none": None}
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"loss": float("nan")})
    assert files.read_json(path)["kappa"] == 20.5, "a refused write leaves the old file"


@pytest.mark.parametrize("when", ["writing", "flushing", "renaming"])
def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch, when):
    path = tmp_path / "x.bin"
    files.write_bytes(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    if when == "renaming":
        monkeypatch.setattr(os, "replace", full)
    elif when == "flushing":
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises((OSError, TypeError)):
        files.write_bytes(path, "text" if when == "writing" else b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_unreadable_json_is_one_line(tmp_path):
    for content in (b"{", b"\xff\xfe\x00", b""):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(InputError, match=r"bad.json is not a readable run") as error:
            files.read_json(tmp_path / "bad.json", "run")
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="no run at .*none.json"):
        files.read_json(tmp_path / "none.json", "run")
    with pytest.raises(InputError, match="not a folder"):
        files.read_json(tmp_path, "run")
    with pytest.raises(InputError, match="no run at"):
        files.read_json(tmp_path / "bad.json" / "x.json", "run")


def test_json_is_for_people(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": 1, "a": [1]})
    text = (tmp_path / "a.json").read_text()
    assert text.endswith("}\n") and text.index('"b"') < text.index('"a"') and json.loads(text) == {"b": 1, "a": [1]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested"),
        ('{"a":' * 900 + "1" + "}" * 900, "nested"),
        ("9" * 5_000, r"999999999999\.\.\. \(5,000 characters\) is too large an integer"),
        (str(2**64), "too large an integer"),
        ("[NaN]", "NaN is no number"),
        ('{"loss": -Infinity}', "-Infinity is no number"),
        ("1e999", "1e999 is too large a number"),
    ],
    ids=lambda value: value[:12],
)
def test_json_is_what_the_standard_has(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=f"a.json is not a readable run: .*{said}") as error:
        files.read_json(tmp_path / "a.json", "run")
    assert len(str(error.value)) < 300 + len(str(tmp_path)) and "\n" not in str(error.value)


def test_large_numbers_that_are_json_come_back():
    assert files.parse_json(f"[{2**64 - 1}, {1 - 2**64}, 1e308, 5e-324]") == [2**64 - 1, 1 - 2**64, 1e308, 5e-324]
    deep = "[" * 40 + "]" * 40
    assert files.parse_json(deep) == json.loads(deep)


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
    ):
        for read in (files.read_bytes, files.read_json):
            with pytest.raises(InputError, match=said):
                read(tmp_path / name, "run")


def test_a_shortage_is_not_blamed_on_the_file(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("{}")

    def short(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.json")

    monkeypatch.setattr(os, "open", short)
    with pytest.raises(OSError, match="Too many open files"):
        files.read_json(tmp_path / "a.json")
