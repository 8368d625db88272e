"""Ways of doing the same, timed in turn: what slows a machine down slows all of them."""

import time
from collections.abc import Callable, Mapping

import torch


def compared(
    ways: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each way, in turn; the first round is not counted."""
    taken = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            wait()
            begun = clock()
            way()
            wait()
            if number:
                taken[name].append(clock() - begun)
    return taken


def wait() -> None:
    """For the GPU to have done what it was told, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
