"""What `metrics.jsonl` says, line by line; a kill may have cut it off, and a disk may have damaged it."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from priors.files.json_files import parse_json
from priors.files.regular import read_bytes


def logged_lines(path: Path) -> list[tuple[str, dict[str, Any] | None]]:
    """The lines of a log as they are, and what each says; None of one that says nothing. None at all without a log.

    Args:
        path: of the log.

    Raises:
        InputError: it is no regular file, or may not be read.
    """
    text = read_bytes(path, "metrics").decode(errors="replace") if os.path.lexists(path) else ""
    return [(line, _entry(line)) for line in text.splitlines()]


def _entry(line: str) -> dict[str, Any] | None:
    """What a line of `metrics.jsonl` says, in finite numbers; None where it has no step, or is no JSON."""
    with suppress(ValueError):
        read = parse_json(line, lenient=True)
        if isinstance(read, dict) and type(read.get("step")) is int:
            return {name: value for name, value in read.items() if type(value) in (int, float)}
    return None


def is_damaged(line: str, entry: dict[str, Any] | None) -> bool:
    """Whether the last line of a log is none that was ever begun: a kill leaves the beginning of one."""
    return entry is None and not ('{"step"'.startswith(line[:7]) and not line.endswith("}"))
