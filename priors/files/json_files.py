"""Files of JSON that is what the standard says: finite numbers, integers of 64 bits, and no bottomless nesting."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from priors.errors import InputError
from priors.files.regular import read_bytes, write_bytes

_DEEPEST = 50
"""Levels of nesting that JSON may have; ours has about ten."""
_LARGEST = 2**64
"""Integers of JSON are smaller than this in magnitude, such as the largest seed."""


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; non-finite numbers are refused, since JSON has none."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def finite(value: int | float) -> int | float | None:
    """A number as JSON has it: None, null there, where there is none."""
    return value if math.isfinite(value) else None


def read_json(path: str | Path, what: str = "file") -> Any:
    """Read JSON.

    Raises:
        InputError: the file is missing, or is no JSON; `what` names it in the message.
        OSError: the machine is short of something, such as open files.
    """
    payload = read_bytes(path, what)
    try:
        return parse_json(payload.decode())
    except ValueError as error:
        raise InputError(f"{path} is not a readable {what}: {error}") from None


def parse_json(text: str, lenient: bool = False) -> Any:
    """What JSON says, read as the standard has it.

    Not a number and infinities are no JSON, nor is what becomes one, such as 1e999. Integers have 64 bits.

    Args:
        text: of the JSON.
        lenient: put None for such a number, rather than refusing the whole.

    Raises:
        ValueError: it is no JSON, a number is too large, or it is nested too deeply.
    """
    try:
        value = (_LENIENT if lenient else _STRICT).decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(_DEEPEST):
        if not level:
            break
        held = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level = [item for items in held for item in items]
    if level:
        raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
    return value


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{_cut(text)} is too large a number")
    return value


def _integer(text: str) -> int:
    if len(text) > 21 or abs(int(text)) >= _LARGEST:  # long ones are not even tried: that takes time
        raise ValueError(f"{_cut(text)} is too large an integer")
    return int(text)


def _or_none(parser: Callable[[str], Any]) -> Callable[[str], Any]:
    def lenient(text: str) -> Any:
        try:
            return parser(text)
        except ValueError:
            return None

    return lenient


def _cut(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:12]}... ({len(text):,} characters)"


_PARSERS = {"parse_constant": _refused, "parse_float": _finite, "parse_int": _integer}
_STRICT = json.JSONDecoder(**_PARSERS)
_LENIENT = json.JSONDecoder(**{name: _or_none(parser) for name, parser in _PARSERS.items()})
