"""Data sets by a word and a colon: hf:..., wds:..., import:... Nothing heavy is imported."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from priors.errors import InputError, unknown

SETTINGS = {
    "hf": ("image", "label", "train", "test", "streaming"),
    "wds": ("image", "label", "train", "test"),
    "import": (),
}
"""By the word, what may be set after the place, as in hf:FOLDER,image=photo,label=species."""
EXPECTED = {
    "hf": "hf:NAME[:CONFIG] or hf:FOLDER, then [,image=COLUMN][,label=COLUMN][,train=SPLIT][,test=SPLIT][,streaming]",
    "wds": "wds:FOLDER or wds:PATTERN such as wds:shards/{train,test}-{000..009}.tar, then [,image=EXTENSION]"
    "[,label=EXTENSION][,train=PATTERN][,test=PATTERN]",
    "import": "import:package.module:factory",
}

SHARDS = ("*.tar", "train*/*.tar", "test*/*.tar", "val*/*.tar")
"""Where the shards of a folder are."""


@dataclass(frozen=True)
class Form:
    """What such a name says.

    Attributes:
        kind: the word before the colon.
        place: the name, folder, pattern or factory.
        settings: what is set after it.
        given: the whole.
    """

    kind: str
    place: str
    settings: dict[str, str] = field(default_factory=dict)
    given: str = ""

    @property
    def label(self) -> str:
        """A word for folders and messages: the last part of the place, without what a pattern has in braces."""
        last = self.place.rpartition(":")[2] if self.kind == "import" else Path(self.place).name
        words = re.sub(r"\{[^{}]*\}|\*|\.tar$|:", "-", last).strip("-_. ")
        return words or self.kind


def form_of(name: str) -> Form | None:
    """What a data set's name says by such a form; None where it is none.

    Raises:
        InputError: there is no place, or another setting.

    Example:
        >>> form_of("hf:photos,label=species").settings, form_of("mnist")
        ({'label': 'species'}, None)
    """
    kind, colon, rest = name.partition(":")
    if not colon or kind not in SETTINGS:
        return None
    place, *extras = apart(rest)
    if not place:
        raise InputError(f"--data {name}: expected {EXPECTED[kind]}")
    settings = {}
    for extra in extras:
        key, equals, value = extra.partition("=")
        if key not in SETTINGS[kind]:
            raise unknown(f"setting of {kind}:", key, SETTINGS[kind], f"expected {EXPECTED[kind]}")
        if bool(value) == (key == "streaming") or (equals and not value):
            raise InputError(f"--data {name}: {extra!r} is not understood; expected {EXPECTED[kind]}")
        settings[key] = value
    return Form(kind, place, settings, name)


def is_form(name: str) -> bool:
    """Whether a data set's name has such a form."""
    kind, colon, _ = name.partition(":")
    return bool(colon) and kind in SETTINGS


def is_there(name: str) -> bool:
    """Whether what a form names is there; what is downloaded, or code, counts as being there."""
    form = form_of(name)
    if form.kind == "wds":
        return bool(holds_shards(Path(form.place))) or "{" in form.place or "*" in form.place
    return form.kind != "hf" or Path(form.place).exists() or not _is_path(form.place)


def holds_shards(folder: Path) -> bool:
    """Whether a folder holds .tar shards, itself or in folders of splits.

    Example:
        >>> holds_shards(Path("nowhere"))
        False
    """
    return folder.is_dir() and any(any(folder.glob(pattern)) for pattern in SHARDS)


def _is_path(place: str) -> bool:
    """Whether a place can only be a path: names of the Hub have one slash at most, and none at their ends."""
    return place.startswith((".", "/", "~")) or place.count("/") > 1 or place.endswith("/")


def apart(text: str) -> list[str]:
    """The parts of a text between commas that stand in no braces and brackets.

    Example:
        >>> apart("a-{1,2},b")
        ['a-{1,2}', 'b']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "{[") - (letter in "}]")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
