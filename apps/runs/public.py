"""What is stored of a run as others may see it: without the paths of the machine that it was made on."""

import re
from typing import Any

_NAMES = ("class_names", "classes")
"""Parts of a description that are no paths, whatever they look like."""


def public(value: Any) -> Any:
    """JSON without the paths of a machine; names of classes, and all names of values, stay what they are.

    Example:
        >>> public({"data": "/home/ann/cats.npz", "classifier": "runs/c", "command": ["--runs=/home/ann/my runs"]})
        {'data': './cats.npz', 'classifier': 'runs/c', 'command': ['--runs=./my runs']}
    """
    if isinstance(value, dict):
        return {name: item if name in _NAMES else public(item) for name, item in value.items()}
    if isinstance(value, list):
        return [public(item) for item in value]
    return _public_text(value) if isinstance(value, str) else value


def _public_text(text: str) -> str:
    if _is_private(text):
        return _last(text)
    head, sign, rest = text.partition("=")  # a flag with its value, or the weights of import:...,weights=FILE
    if sign:
        return _public_text(head) + sign + _public_text(rest)
    words = r"(?<![^\s,;()'\"])[^\s,;()'\"]+"
    return re.sub(words, lambda word: _last(word[0]) if _is_private(word[0]) else word[0], text)


def _is_private(text: str) -> bool:
    """Whether a text is a path that tells of a machine: an absolute one, one from a home folder, one with `..`."""
    absolute = re.match(r"/.|~[\w.-]*[\\/]|\\\\|[A-Za-z]:[\\/]|file:", text)
    return bool(absolute) or ".." in re.split(r"[\\/]", text)


def _last(path: str) -> str:
    last = re.split(r"[\\/]", path.rstrip("\\/"))[-1]
    return f"./{last}" if last not in ("", "..", "~") else "."
