"""What a command came to, and whether that is well: a clear refusal, or just what it gives on whole files."""

import hashlib
import json
import os
import re
import shlex
import stat
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

UNLIKE = {"seconds", "images/s", "started", "written"}
"""Keys of JSON that no two runs of a command have alike."""
HUNG = -14
"""The status of a job that took longer than it may: its alarm rang."""
SECONDS = 60


@dataclass(frozen=True)
class Outcome:
    """What a command came to.

    Attributes:
        status: as the shell has it; negative for a signal.
        out: what it printed.
        err: what it printed on standard error.
        files: a digest of each file in the folder afterwards, by path.
    """

    status: int
    out: str
    err: str
    files: dict[str, str]


@dataclass
class Tally:
    """How many were tried, and how each ended.

    Attributes:
        kind: of what.
        ends: the number of each end; `refused`, `same` and the like are well.
        faults: one text a fault: what was done, and what came of it.
        seconds: how long all took.
    """

    kind: str
    ends: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    since: float = field(default_factory=time.monotonic)

    def note(self, end: str, what: str, outcome: Outcome | None = None) -> None:
        """Count one; an end that is not well is a fault."""
        self.ends[end] += 1
        self.seconds = time.monotonic() - self.since
        if end not in WELL:
            said = "" if outcome is None else f"\n    status {outcome.status}: {(outcome.err or outcome.out)[-1500:]}"
            self.faults.append(f"{end}: {what}{said}")
            print(self.faults[-1], flush=True)

    @property
    def tried(self) -> int:
        return self.ends.total()

    @property
    def survived(self) -> int:
        return self.tried - len(self.faults)

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        return f"{self.kind:<8}{self.tried:>6} tried {self.survived:>6} survived {self.seconds:>7.0f} s   {ends}"


WELL = {"refused", "same", "said", "killed, then same"}


def digests(folder: Path) -> dict[str, str]:
    """A digest of each file, by its path in the folder; what no two runs have alike is left out."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if name == ".lock" or name.endswith(".lock"):
                continue
            if not stat.S_ISREG(path.lstat().st_mode):
                found[str(path.relative_to(folder))] = "no file"
                continue
            found[str(path.relative_to(folder))] = hashlib.blake2b(_lasting(path), digest_size=8).hexdigest()
    return found


def _lasting(path: Path) -> bytes:
    """The bytes of a file; of JSON, without what no two runs have alike."""
    data = path.read_bytes()
    try:
        if path.suffix == ".json":
            return json.dumps(_without(json.loads(data))).encode()
        if path.suffix == ".jsonl":
            return "\n".join(json.dumps(_without(json.loads(line))) for line in data.splitlines()).encode()
    except (ValueError, RecursionError):
        pass
    return data


def _without(value):
    if isinstance(value, dict):
        return {key: _without(part) for key, part in value.items() if key not in UNLIKE}
    return [_without(part) for part in value] if isinstance(value, list) else value


def run(machine: Callable, folder: Path, command: str | list[str], **job) -> Outcome:
    """Give a command in a folder."""
    words = shlex.split(command) if isinstance(command, str) else command
    answer = machine(words, **{"folder": str(folder), "seconds": SECONDS} | job)
    return Outcome(answer["status"], answer["output"], answer["errors"], digests(folder))


def ill(outcome: Outcome) -> str | None:
    """What is wrong with how a command ended, whatever it was to do; None where nothing is."""
    if outcome.status == HUNG:
        return "hang"
    if "Traceback (most recent call last)" in outcome.err + outcome.out or outcome.status == 70:
        return "trace"
    if outcome.status < 0:
        return "signal"
    return None


def refusal(outcome: Outcome) -> str:
    """`refused` where the last thing said is a clear line of penult's, a box of the parser's, or the list of verbs."""
    lines = [line for line in outcome.err.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("penult: ")]
    if outcome.status in (1, 2) and lines and lines[-1].startswith("penult: ") and len(ours) <= 3:
        return "refused"
    boxed = bool(lines) and lines[0].startswith("╭─")
    listed = not lines and outcome.out.startswith("usage: penult ")  # of a verb that is one of several
    return "refused" if outcome.status == 2 and (boxed or listed) else "unclear"


def words(text: str) -> list[str]:
    """The lines of what was printed, without times, how full a cache is, and that nothing was left to be done."""
    text = re.sub(r".*finished already.*\n?", "", text)
    return [re.sub(r"\d+(\.\d+)?( ?(s|ms|images/s)\b|% filled in)", "T", line) for line in text.split("\n")]


def against(outcome: Outcome, whole: Outcome, ignored: Collection[str], prefix: str = "\0") -> str:
    """How a command on a damaged file ended beside the same command on whole ones."""
    if end := ill(outcome):
        return end
    if outcome.status:
        return refusal(outcome)
    paths = {*outcome.files, *whole.files} - set(ignored)
    unlike = sorted(
        path for path in paths if outcome.files.get(path) != whole.files.get(path) and not path.startswith(prefix)
    )
    if unlike:
        return f"silent change of {', '.join(unlike[:3])}"
    found, expected = iter(words(outcome.out)), words(whole.out)
    if not all(line in found for line in expected):  # in this order, others between them
        return "silent change of what is said"
    return "same" if words(outcome.out) == expected else "said"
