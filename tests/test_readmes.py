"""What the READMEs show can be typed: their examples run, their other commands parse, what they name is there.

`sh` blocks run, the blocks of a file from top to bottom in one empty folder; of their lines those count that begin with
`penult`. `console` blocks, for what is bigger or elsewhere, are parsed. `python` blocks run in one namespace; one that
begins with `# NAME.py` is written to that file instead, and so is a `yaml` block that begins with `# NAME.yaml`. Each
line of a `text` block is printed by the `sh` block above, numbers aside. A block without a kind is a drawing.
"""

import pkgutil
import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from apps.command.cli import configured, verb_of

ROOT = Path(__file__).parents[1]
PACKAGES = ("priors", "analysis", "distill", "apps")
MANUALS = [ROOT / "README.md", *(ROOT / package / "README.md" for package in PACKAGES)]
FOLDERS = ("apps/recipes", "tests/bench", "tests/gpu")
BESIDE = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))
FILES = MANUALS + BESIDE
KINDS = {"sh", "console", "python", "yaml", "text", ""}
PATH = re.compile(r"`((?:priors|analysis|distill|apps|tests|\.assets|\.ci)/[\w./-]*)`")
NAME = re.compile(r"`((?:priors|analysis|distill|apps)(?:\.\w+)+)(?:\(.*?\))?`")
WITHIN = re.compile(r"`(\w+)` in `([\w/]+\.py)`")
LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")

every = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    line: int
    kind: str
    text: str


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    found = re.finditer(r"^```(.*)\n((?s:.*?))^```$", text, re.MULTILINE)
    return [Block(text.count("\n", 0, one.start()) + 1, one[1], one[2]) for one in found]


def commands(block: Block) -> list[list[str]]:
    """The words of each line of a block that calls penult, without the name."""
    lines = block.text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [line[1:] for line in words if line[:1] == ["penult"]]


def parsed(words: list[str]):
    """What a command line means, by its own verb's parser."""
    verb, rest = verb_of(words)
    return configured(verb, rest)[1]


def without_numbers(text: str) -> list[str]:
    return [" ".join(re.sub(r"[-+]?\d[\d.,]*%?", "#", line).split()) for line in text.splitlines()]


@every
def test_every_other_command_parses(path):
    for block in blocks(path):
        assert block.kind in KINDS, f"{path.name}:{block.line}: a block of no known kind"
        if block.kind == "console":
            for words in commands(block):
                parsed(words)


@every
def test_every_example_runs(path, penult, monkeypatch, tmp_path):
    namespace, said = {"__name__": "readme"}, ""
    monkeypatch.syspath_prepend(str(tmp_path))
    for block in blocks(path):
        if block.kind in ("python", "yaml") and (file := re.match(r"# (\w+\.(py|yaml))\n", block.text)):
            (tmp_path / file[1]).write_text(block.text)
        elif block.kind == "python":
            lines = "\n" * block.line + block.text  # so that an error names the line of the file
            exec(compile(lines, str(path), "exec"), namespace)
        elif block.kind == "sh":
            said = ""
            for words in commands(block):
                config = parsed(words)
                place = getattr(config, "place", None) or getattr(config, "where", None)
                came_to = penult(*words, *(["--device", "cpu", "--threads", "1"] if place else []))
                assert came_to.status == 0, f"{path.name}:{block.line}: penult {shlex.join(words)}: {came_to.err}"
                said += came_to.out
        elif block.kind == "text":
            missing = set(without_numbers(block.text)) - set(without_numbers(said))
            assert not missing, f"{path.name}:{block.line}: not printed: {missing}"


@every
def test_everything_named_is_there(path):
    text = re.sub(r"^```(?s:.*?)^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for name in PATH.findall(text):
        assert (ROOT / name).exists(), f"{path.name} names {name}"
    for name in NAME.findall(text):
        pkgutil.resolve_name(name)
    for name, file in WITHIN.findall(text):
        assert re.search(rf"^{name}\b", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), f"{name} in {file}"
    for target in ("".join(one) for one in LINK.findall(text)):
        file, _, heading = target.partition("#")
        if "://" in target:
            continue
        there = path.parent / file if file else path
        assert there.exists(), f"{path.name} links to {file}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}


def test_walks_of_several_files_write_at_places_of_their_own():
    written = {}
    for path in FILES:
        lines = [words for block in blocks(path) if block.kind == "sh" for words in commands(block)]
        for place in {after for words in lines for flag, after in pairwise(words) if flag in ("--name", "--out")}:
            written.setdefault(place, []).append(str(path.relative_to(ROOT)))
    assert {"teacher", "hvae-l", "first-hvae"} <= set(written)
    assert not {place: files for place, files in written.items() if len(files) > 1}


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_manual_draws_every_room():
    (drawing,) = (block.text for block in blocks(ROOT / "apps" / "README.md") if not block.kind)
    rooms = {path.parent.name for path in (ROOT / "apps").glob("*/__init__.py")}
    assert set(re.findall(r"(\w+)/", drawing)) == rooms | {"apps"}
