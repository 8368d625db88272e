"""Runs of sets that are paths, side by side: no cell is so wide that the next run is out of sight."""

import re
from dataclasses import replace

from apps.report.comparison import comparison
from apps.report.contents import contents
from apps.report.markup import number, table
from apps.report.style import CSS

ONE, TWO = "/home/somebody/data/of/mine/one/images.npz", "/home/somebody/data/of/mine/two/images.npz"


def test_sets_are_named_by_the_ends_of_their_paths(trained):
    run = contents(trained / "classifier", 0)
    entry = {"kind": "classification", "data": "", "images": 5, "scores": {"accuracy": 0.5}}
    runs = [
        replace(run, config=run.config | {"data": data}, evaluations=(entry | {"data": data},)) for data in (ONE, TWO)
    ]
    shown = comparison(runs, ["a", "b"])
    assert ONE not in shown and TWO not in shown
    assert len(re.findall(">one/images.npz<", shown)) == 2, "scored on, and among the settings that differ"
    assert len(re.findall(">two/images.npz<", shown)) == 2


def test_words_among_numbers_may_be_broken():
    """A column of numbers stays in one line each, but for the words in it."""
    text = table("", ("quantity", "a"), [("x", number(1.0)), ("y", number(2.0)), ("scored on", "a" * 99)])
    assert f'<td class="words">{"a" * 99}</td>' in text and text.count('<td class="number">') == 2
    assert re.search(r"td\.words[^}]*white-space: normal", CSS) and re.search(r"td, [^}]*overflow-wrap: anywhere", CSS)
