"""Ways of doing the same, timed in turn in one process: what is compared are ratios within a round, by their median."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: in which each way has its turn.
        seconds: of a turn at the least, for which it is repeated.
        warm: calls that are not timed.
    """

    rounds: int = 7
    seconds: float = 0.05
    warm: int = 3


FULL, TOY = Effort(), Effort(rounds=1, seconds=0.0, warm=1)


@dataclass
class Timed:
    """A way.

    Attributes:
        seconds: of a call, one number a round.
        first: seconds of its first call.
        held: MiB that its first calls left on the GPU.
        peak: MiB at the most in a call, beyond what was there before.
    """

    seconds: list[float]
    first: float
    held: float
    peak: float

    @property
    def memory(self) -> float:
        """MiB that it needs."""
        return self.held + self.peak


def in_turn(ways: Mapping[str, Callable[[], Callable[[], object]]], device: str, effort: Effort) -> dict[str, Timed]:
    """Time each way.

    Args:
        ways: by name, what makes a function of no arguments to be timed.
        device: where that computes; it is waited for.
        effort: how much.
    """
    calls, found, repeats = {}, {}, {}
    for name, make in ways.items():
        before = _allocated(device)
        calls[name] = call = make()
        first = _spent(call, device)
        for _ in range(effort.warm - 1):
            call()
        once = _spent(call, device)
        repeats[name] = max(1, min(1000, round(effort.seconds / max(once, 1e-6))))
        start = _allocated(device)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        call()
        peak = torch.cuda.max_memory_allocated() / 2**20 - start if device == "cuda" else 0.0
        found[name] = Timed([], first, start - before, peak)
    for _ in range(effort.rounds):
        for name, call in calls.items():
            found[name].seconds.append(_spent(call, device, repeats[name]))
    return found


def ratio(found: Mapping[str, Timed], slow: str, fast: str) -> float:
    """How many times as fast one way is as another."""
    return median(one / other for one, other in zip(found[slow].seconds, found[fast].seconds, strict=True))


def told(found: Mapping[str, Timed], against: str) -> dict[str, float]:
    """The numbers of a table: milliseconds, how many times as fast as one of the ways, memory."""
    numbers = {}
    for name, timed in found.items():
        numbers[f"{name} ms"] = 1e3 * median(timed.seconds)
        if name != against:
            numbers[f"{name} x"] = ratio(found, against, name)
        if timed.memory:
            numbers[f"{name} MiB"] = timed.memory
    return numbers


def finish(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def _spent(call: Callable[[], object], device: str, times: int = 1) -> float:
    finish(device)
    began = time.perf_counter()
    for _ in range(times):
        call()
    finish(device)
    return (time.perf_counter() - began) / times


def _allocated(device: str) -> float:
    return torch.cuda.memory_allocated() / 2**20 if device == "cuda" else 0.0
