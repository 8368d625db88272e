"""What a command found, as one JSON document: --json.

Programs tell it as they go, and nothing else goes to standard output.

A program calls `tell` wherever it has found something, whether or not a document is asked for. What a command within
another one tells is its own: a table that runs other commands tells its cells, not their scores.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any

from apps.command.launch import is_first
from apps.command.version import own_version
from priors.files.json_files import finite

FORMAT = 1
"""Of the document: raised where a key changes its meaning."""


@dataclass
class Answer:
    """What a command found so far.

    Attributes:
        asked: whether it is to be printed.
        found: in order.
        wanted: whether the command did what it was to do.
    """

    asked: bool
    found: list[dict[str, Any]] = field(default_factory=list)
    wanted: bool = True


_running: list[Answer] = []
"""By command that runs in this process, the innermost last."""


@dataclass(frozen=True)
class Answering:
    """How a command answers."""

    json: bool = False
    """Whether to print what is found as one JSON document, and all else on standard error."""


def tell(kind: str, found: Mapping[str, Any]) -> None:
    """Add something to the document of the command that runs, where it is to give one.

    Args:
        kind: what it is; of scores that are kept, the name of their file without the ending.
        found: by name: numbers, texts, truth values, paths, None, and mappings and sequences of such.
    """
    if _running and _running[-1].asked:
        _running[-1].found.append({"kind": kind, **found})


@contextmanager
def answering(verb: str, words: Sequence[str], asked: bool) -> Iterator[Answer]:
    """Within this a command runs; at its end its document is printed, where one is asked for and all went well.

    Of several processes only the first prints.

    Args:
        verb: of the command.
        words: of the command, after it.
        asked: whether it is to give a document; all that is printed meanwhile then goes to standard error.
    """
    answer = Answer(asked)
    _running.append(answer)
    try:
        with redirect_stdout(sys.stderr) if asked else nullcontext():
            yield answer
    finally:
        _running.pop()
    if asked and answer.wanted and is_first():
        document = {"penult": own_version(), "format": FORMAT, "verb": verb, "words": words, "found": answer.found}
        print(json.dumps(as_json(document), indent=2, allow_nan=False), flush=True)


def as_json(value: Any) -> Any:
    """A value as JSON has it: paths as texts, other sequences as lists, and None for what is no finite number.

    Raises:
        TypeError: it is nothing of these.

    Example:
        >>> as_json({"kept in": PurePath("a"), "error": float("nan"), "shape": (1, 2)})
        {'kept in': 'a', 'error': None, 'shape': [1, 2]}
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return finite(float(value))
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    raise TypeError(f"{type(value).__name__} in the document of a command")
