"""Checks that are done one after the other within a time, and what became of each, as JSON and as a table."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PASSED, FAILED, SKIPPED, LATE = "passed", "failed", "skipped", "late"
PROCESS = "process "
"""Begins the name of what is no check, but says that a process of several is lost."""
WIDEST = 300
"""Letters of a message."""


class Skip(Exception):
    """What a check asks for is not to be had here; the message says what."""


class Failed(Exception):
    """What was found is not as it should be; `found` holds the numbers."""

    def __init__(self, message: str, found: Mapping[str, Any] | None = None):
        super().__init__(message)
        self.found = dict(found or {})


@dataclass(frozen=True)
class Check:
    """One thing to find out.

    Attributes:
        name: what it is called; `--only` takes it.
        run: what it does; returns the numbers that it found, and raises what is wrong.
        group: checks of one group are done in order by one process, and a later one uses what an earlier one made.
        seconds: that it is expected to take; it is not begun where less is left.
    """

    name: str
    run: Callable[[], Mapping[str, Any] | None]
    group: str = ""
    seconds: float = 1.0


@dataclass
class Outcome:
    """What became of a check.

    Attributes:
        check: its name.
        status: passed; failed; skipped, where it is not to be done here; or late, where no time was left.
        seconds: that it took.
        found: its numbers, by name.
        message: why it is not passed, in a line.
    """

    check: str
    status: str = LATE
    seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)
    message: str = ""


def chosen(checks: Sequence[Check], only: Sequence[str] = (), shard: tuple[int, int] = (0, 1)) -> list[Check]:
    """The checks that names choose, or that one of several processes does; groups stay whole.

    Args:
        checks: all.
        only: parts of names; none: all are wanted, else those that have one of these in their name, or that come
            before such a one in its group.
        shard: number of this process, and how many there are.
    """
    wanted = [index for index, check in enumerate(checks) if not only or any(part in check.name for part in only)]
    last = {checks[index].group: index for index in wanted if checks[index].group}
    taken = [check for index, check in enumerate(checks) if index in wanted or index <= last.get(check.group, -1)]
    groups = list(dict.fromkeys(check.group or check.name for check in taken))
    mine = set(groups[shard[0] :: shard[1]])
    return [check for check in taken if (check.group or check.name) in mine]


def done(checks: Iterable[Check], seconds: float, write: Callable[[list[Outcome]], None]) -> list[Outcome]:
    """Do checks until the time is up; what fails is noted, and the rest goes on.

    Args:
        checks: in order.
        seconds: for all of them.
        write: is given all outcomes, also those to come, before the first check and after each.
    """
    checks, end = list(checks), time.monotonic() + seconds
    outcomes = [Outcome(check.name, message="no time was left for it") for check in checks]
    write(outcomes)
    for check, outcome in zip(checks, outcomes, strict=True):
        left = end - time.monotonic()
        if left < check.seconds:
            continue
        began = time.monotonic()
        try:
            with at_most(left):
                outcome.found = dict(check.run() or {})
            outcome.status, outcome.message = PASSED, ""
        except Skip as reason:
            outcome.status, outcome.message = SKIPPED, in_a_line(reason)
        except _Late:
            outcome.message = f"stopped after {time.monotonic() - began:.0f} s, when the time was up"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit and what a test raises as well
            outcome.status, outcome.message = FAILED, in_a_line(error)
            outcome.found = getattr(error, "found", {})
        outcome.seconds = round(time.monotonic() - began, 2)
        write(outcomes)
    return outcomes


class _Late(BaseException):
    """The time is up."""


@contextmanager
def at_most(seconds: float):
    """Raise in the midst of what takes longer."""

    def ring(*_):
        raise _Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def in_a_line(error: BaseException) -> str:
    """An error's message: its first line that says something, with what raised it."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    kind = "" if isinstance(error, Skip | Failed) else f"{type(error).__name__}: "
    return f"{kind}{said}"[:WIDEST]


def write_outcomes(path: Path, facts: Mapping[str, Any], outcomes: Sequence[Outcome], keep: bool = False) -> None:
    """Write outcomes as `path` with .json and .md, whole or not at all.

    Args:
        path: without a suffix.
        facts: where they were found: torch, card, commit and the like.
        outcomes: of the checks that were asked for now.
        keep: whether outcomes of other checks that the file holds stay in it.
    """
    place = path.with_suffix(".json")
    rows = {outcome.check: asdict(outcome) for outcome in outcomes}
    if keep and place.exists():
        before = json.loads(place.read_text())["outcomes"]
        rows = {row["check"]: row for row in before if not row["check"].startswith(PROCESS)} | rows
    told = {**facts, "outcomes": list(rows.values())}
    for file, text in ((place, json.dumps(told, indent=1) + "\n"), (path.with_suffix(".md"), table(told))):
        beside = file.with_name(f".{file.name}")
        beside.write_text(text)
        os.replace(beside, file)


def table(told: Mapping[str, Any]) -> str:
    """What `write_outcomes` writes, to be read: what failed first says so by its word."""
    facts = ", ".join(f"{name} {value}" for name, value in told.items() if name != "outcomes")
    lines = [facts, "", "| check | | s | found |", "|---|---|---|---|"]
    for row in told["outcomes"]:
        numbers = ", ".join(f"{name} {_short(value)}" for name, value in row["found"].items())
        said = "; ".join(filter(None, (row["message"].replace("|", "/"), numbers)))
        lines.append(f"| {row['check']} | {row['status']} | {row['seconds']:.1f} | {said} |")
    counts = {
        status: sum(row["status"] == status for row in told["outcomes"]) for status in (PASSED, FAILED, SKIPPED, LATE)
    }
    return "\n".join([*lines, "", ", ".join(f"{count} {status}" for status, count in counts.items())]) + "\n"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
