"""How a training is followed where there is no bar: lines on standard error, for logs."""

import sys
import time
from collections.abc import Callable, Mapping

from apps.command.console import printable

LONGEST = 60.0
"""Seconds without a line, at most, as long as steps are shorter."""
SHORTEST = 1.0
"""Seconds between lines at least: what is done at once is said at its end alone."""


class LogLines:
    """A line a validation, and one a minute in between.

    Args:
        name: of the run, which lines begin with.
        steps: of the training.
        on: whether lines are wanted: of one process of several, where there is no bar.
        clock: seconds.
    """

    def __init__(self, name: str, steps: int, on: bool, clock: Callable[[], float] = time.perf_counter):
        self._name, self._steps, self._on, self._clock = printable(name), steps, on, clock
        self._last = clock()

    def step(self, step: int) -> None:
        """A step is done: say so where nothing was said for long. Nothing is asked of the device."""
        if self._on and self._clock() - self._last >= LONGEST:
            self._say(step, "")

    def validated(self, step: int, losses: Mapping[str, float], metrics: Mapping[str, float], best: bool) -> None:
        """A validation is done.

        Args:
            step: after which.
            losses: means since the last time they were read.
            metrics: of the validation; none where nothing is held out.
            best: whether none before was better.
        """
        if self._on and self._clock() - self._last >= SHORTEST:
            found = [f"{name} {value:.4g}" for name, value in {**losses, **metrics}.items()]
            self._say(step, ": " + ", ".join(found) + (" (best)" if best else "") if found else "")

    def _say(self, step: int, found: str) -> None:
        self._last = self._clock()
        print(f"{self._name}: step {step:,} of {self._steps:,}{found}", file=sys.stderr, flush=True)
