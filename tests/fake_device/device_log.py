"""What happens on a device, each with the line of the project that made it happen."""

import sys
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from torch import Tensor

ROOT = Path(__file__).parents[2]
PACKAGES = tuple(f"{ROOT / name}/" for name in ("priors", "analysis", "distill", "apps", "tests"))
_OWN = tuple(str(Path(__file__).with_name(name)) for name in ("device_log.py", "backpropagation.py", "fake_cuda.py"))

MIXED = "mixed devices"
WAIT = "host wait"
TO_HOST = "copy to the host"
TO_DEVICE = "copy to the device"
AHEAD = "copy to the device that nobody waits for"
BEHIND = "copy to the host that nobody waits for"
FLOAT64 = "float64"
OFFENCES = (MIXED, WAIT, TO_HOST, TO_DEVICE)
"""What no step of a training does."""


@dataclass
class Log:
    """Counts since the last `clear`.

    Attributes:
        found: by kind, what did it, and the line of the project.
        launches: of kernels, by operation and line.
        underway: copies to the host that nobody waited for: where to, and the numbers.
    """

    found: Counter = field(default_factory=Counter)
    launches: Counter = field(default_factory=Counter)
    underway: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def clear(self) -> None:
        """Forget all counts."""
        self.found.clear()
        self.launches.clear()

    def note(self, kind: str, what: str) -> None:
        """Count one of a kind."""
        self.found[kind, what, line()] += 1

    def launch(self, name: str) -> None:
        """Count a kernel."""
        self.launches[name, line()] += 1

    def kinds(self, *kinds: str) -> list[str]:
        """What there was of these kinds, a line each."""
        return [f"{kind}: {what} at {where} ({n})" for (kind, what, where), n in self.found.items() if kind in kinds]

    @property
    def offences(self) -> list[str]:
        """What no step may do."""
        return self.kinds(*OFFENCES)


def line() -> str:
    """The line of the project that is under way, the innermost."""
    frame = sys._getframe(1)
    while frame is not None:
        file = _named(frame.f_code.co_filename)
        if file:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


@cache
def _named(file: str) -> str:
    """A file of the project by its place in it; no other has a name."""
    return str(Path(file).relative_to(ROOT)) if file.startswith(PACKAGES) and file not in _OWN else ""
