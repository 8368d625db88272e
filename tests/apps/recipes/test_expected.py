"""What to expect on real data: rows of the papers' pages, whose commands are commands and whose numbers are theirs."""

import re
import shlex
from pathlib import Path

import pytest

from apps.command.cli import configured, verb_of
from apps.recipes.expected import all_expected, expected
from apps.recipes.table import papers
from priors.errors import InputError

IDEAS = {"prior", "generator", "distillation", "inversion", "spectrum", "saliency", "discarding"}
ROOT = Path(__file__).parents[3]


def test_every_idea_and_every_paper_has_some():
    rows = all_expected()
    assert {row.idea for row in rows} == IDEAS and {row.paper for row in rows} == set(papers())


def test_commands_are_commands_of_the_page():
    for row in all_expected():
        words = shlex.split(row.command.removeprefix("penult "))
        verb, rest = verb_of(words)
        assert row.command.startswith("penult ") and configured(verb, rest)
        page = (ROOT / "apps/recipes" / row.paper / "RESULTS.md").read_text()
        beside = page.replace(f"| `{row.command}` |", "")
        table = words[:3] if verb == "table" else words
        assert " ".join(["penult", *table]) in beside or row.command in beside, row.command


def numbers(text: str) -> set[str]:
    """All numbers, with a 0 before a point."""
    return {number.strip(".,") for number in re.findall(r"\d[\d,]*\.?\d*", re.sub(r"(?<!\d)\.(?=\d)", "0.", text))}


def test_numbers_are_those_of_the_sections_below():
    """Each number of a row stands elsewhere on the page as well, be it in per cent or as a part of one."""
    for row in all_expected():
        page = (ROOT / "apps/recipes" / row.paper / "RESULTS.md").read_text()
        head, _, rest = page.partition("## What to expect")
        beside = numbers(head + rest.partition("\n## ")[2])
        for number in numbers(f"{row.takes} {row.gives}"):
            assert number in beside or f"0.{10 * float(number.replace(',', '')):.0f}" in beside, (row.paper, number)


TEXT = """# Page

## What to expect

Words before.

| idea | command | takes | comes to |
|---|---|---|---|
| prior | `penult ls` | a second | a list |

## Else

| idea | other |
|---|---|
"""


def test_a_page_is_read():
    (row,) = expected("mine", TEXT)
    assert (row.paper, row.idea, row.command, row.takes, row.gives) == (
        "mine",
        "prior",
        "penult ls",
        "a second",
        "a list",
    )
    assert expected("mine", "# Page\n") == ()
    with pytest.raises(InputError, match="idea, command, takes, comes to was expected"):
        expected("mine", TEXT.replace("| takes |", "| lasts |"))
