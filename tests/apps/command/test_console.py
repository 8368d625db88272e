"""Tables on standard output: aligned, folded to the terminal, whole when there is none."""

import io
import os
import subprocess
import sys

import pytest

from apps.command.console import ends, printable, render, say, table
from apps.command.streams import ready

ROWS = [
    ("mlp", 11, "1,234", "a multilayer perceptron, as plain as it gets"),
    ("wrn-16-2", 128, "-", "wide and residual"),
]
HEADS = ("name", "width", "parameters", "what it is")


def test_numbers_are_flushed_right_and_text_left():
    lines = render("models", HEADS, ROWS)
    assert lines[0] == "models" and set(lines[2]) == {"-", " "}
    assert lines[3].startswith("mlp          11       1,234  a multilayer")
    assert lines[4].startswith("wrn-16-2    128           -  wide")


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_nothing_is_wider_than_the_terminal_or_lost(width):
    caption = "a caption that says something about the numbers above it, at length"
    lines = render("a title", HEADS, ROWS, caption, width)
    assert all(len(line) <= width and line == line.rstrip() for line in lines)
    words = " ".join(lines).split()
    for row in ROWS:
        assert all(word in words for cell in row for word in str(cell).split())
    assert "length" in words


def test_paths_are_folded_after_their_slashes():
    path = "/home/someone/pictures/of-many-kinds/nchw.npz"
    for width in range(30, 60):
        lines = render("", ("run", "data", "n"), [("mine", f"read from {path}", 1)], "", width)[2:]
        cells = [line[6:].removesuffix("1").strip() for line in lines]
        words = "".join(cells).replace("readfrom", "read from").replace("from/", "from /")
        assert words == f"read from {path}" and max(map(len, lines)) <= width
        assert all(cell.endswith(("/", "read", "from")) for cell in cells[:-1]), cells
        assert any(line.endswith("nchw.npz") for line in lines)


def test_a_part_of_a_path_that_is_too_long_is_broken_all_the_same():
    lines = render("", ("run", "data"), [("mine", "/tmp/" + 40 * "x")], "", 30)[2:]
    assert max(map(len, lines)) <= 30 and sum(line.count("x") for line in lines) == 40


def test_of_many_rows_both_ends_are_shown():
    rows = [(f"n{number:08d}", f"{number:.1f}", "x") for number in range(21_841)]
    shown, said = ends(rows, "class")
    assert len(shown) < 50 and shown[0] == rows[0] and shown[-1] == rows[-1]
    assert int(said.split()[1].replace(",", "")) == len(rows) - len(set(rows) & set(shown))
    lines = render("classes", ("name", "value", "what"), shown, f"all{said}")
    assert len(lines) < 50 and lines[-1].endswith("of 21,841 classes are not shown")
    assert ends(rows[:100], "class") == (rows[:100], "")


def test_the_first_column_is_folded_last():
    assert any(line.startswith("a-name-of-a-run-that-is-long ") for line in folded(70))


def folded(width: int) -> list[str]:
    return render(
        "", ("run", "score"), [("a-name-of-a-run-that-is-long", "some words on how it went so far " * 3)], "", width
    )


def test_a_table_that_cannot_fit_is_left_whole():
    lines = render("", ("a", "b"), [(10**30, 10**30)], width=20)
    assert str(10**30) in lines[-1]


def test_wide_characters_take_two_columns():
    lines = render("", ("class", "n"), [("\N{CJK UNIFIED IDEOGRAPH-72AC}", 1), ("dog", 22)])
    assert lines[2:] == ["\N{CJK UNIFIED IDEOGRAPH-72AC}      1", "dog    22"]


def test_piped_tables_do_not_hang_on_a_terminal(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    table("title", HEADS, ROWS)
    assert capsys.readouterr().out.splitlines() == render("title", HEADS, ROWS, width=120)


@pytest.mark.parametrize("text", ["\x1b[2Jcat", "a\nb", "\x9b31m", "a\u202etxt", "\ud83d", "\udce9", "\r", "\u2028"])
def test_what_controls_a_terminal_is_written_out(text, capsys):
    assert printable(text).isprintable() and printable(text).isascii()
    assert len(render("t", ("class", "n"), [(text, 1), ("dog", 2)])) == 5, "one line a row"
    say(text)
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


@pytest.mark.parametrize("text", ["\u732b", "na\u00efve caf\u00e9", "a  b", "\u00a0", "T-shirt/top"])
def test_ordinary_names_stay(text):
    assert printable(text) == text


class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def test_a_broken_standard_error_ends_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Broken())
    with ready():
        print("a bar", file=sys.stderr, flush=True)
        sys.stderr.writelines(["a", "b"])
    with pytest.raises(BrokenPipeError):
        print("a bar", file=sys.stderr)


def test_streams_that_lack_a_character_or_are_closed(tmp_path):
    """The number of a stream that was closed is not that of the next file: what is printed would land there."""
    code = (
        "import os, sys\nfrom apps.command.streams import ready\nfrom apps.command.console import say\n"
        "with ready():\n"
        "    say('\\u732b'); f = open('file', 'wb'); os.write(2, b'lost'); print('x', file=sys.stderr)\n"
    )
    environment = os.environ | {"CODE": code, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)}
    shell = f'{sys.executable} -c "$CODE" 2>&-'
    done = subprocess.run(["sh", "-c", shell], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"\\u732b\n") and (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\nb", "a\u202eb"])
def test_a_new_run_has_a_name_that_can_be_printed(penult, name):
    said = penult("train", "classifier", "--name", name)
    assert said.status == 2 and said.err.count("\n") == 1 and said.err.strip().isprintable() and "--name" in said.err
