"""How many CPU cores this process may use, and how many of them other programs leave free."""

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

_MOMENT = 0.05
"""Seconds over which the machine is looked at: five of the ticks that Linux counts time in."""
_SPARE = 0.25
"""Of a core: one that is used less than this counts as free."""
_NOT_BUSY = {"idle", "iowait", "guest", "guest_nice"}
"""Times of a core that are no work, or are counted in another one already."""


def available_cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """CPU cores that this process may use: those it is bound to, and no more than its container pays for.

    Args:
        groups: where Linux tells of control groups.
    """
    return max(1, int(min(len(_bound_to()), _quota(groups))))


def free_cores(processes: int = 1, groups: Path = Path("/sys/fs/cgroup")) -> int:
    """CPU cores for each of several processes that start together, without those that others keep busy now; 1 at least.

    It waits for 0.05 s, unless there is only one core.

    Args:
        processes: of this launch on this machine; those beside this one are not taken for others.
        groups: as for `available_cores`.
    """
    cores = available_cores(groups)
    if cores <= processes:
        return 1
    busy, spent, begun = _busy(), _spent(groups), time.perf_counter()
    time.sleep(_MOMENT)
    took = time.perf_counter() - begun
    # Time is counted in ticks: a core may seem to have worked for longer than there was.
    work = sum(min(1.0, (after - before) / took) for before, after in zip(busy, _busy(), strict=False))
    free = min(len(_bound_to()) - work, _quota(groups) - (_spent(groups) - spent) / took)
    return max(1, int(min(cores, free + processes - 1 + _SPARE)) // processes)


def _bound_to() -> list[int]:
    """Numbers of the cores that this process is bound to; all, where the system does not bind."""
    with suppress(AttributeError):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _quota(groups: Path) -> float:
    """Cores' worth of time that a container pays for; infinity where it sets no limit."""
    for name in ("cpu.max", "cpu/cpu.cfs_quota_us"):  # of version 2, "max 100000" without a limit; of version 1, "-1"
        with suppress(OSError, ValueError):
            limit, *period = map(float, (groups / name).read_text().split())
            period = period[0] if period else float((groups / "cpu/cpu.cfs_period_us").read_text())
            if limit > 0 and period > 0:
                return limit / period
    return float("inf")


def _spent(groups: Path) -> float:
    """Seconds of work that a container has had, of all its cores together; 0 where that is not known."""
    with suppress(OSError, ValueError):
        told = dict(line.split() for line in (groups / "cpu.stat").read_text().splitlines())
        return int(told.get("usage_usec", 0)) / 1e6
    return 0.0


def _busy() -> list[float]:
    """Seconds of work that each core that this process is bound to has done; none where that is not known."""
    with suppress(OSError):
        cores = psutil.cpu_times(percpu=True)
        bound = [cores[number] for number in _bound_to() if number < len(cores)]
        return [sum(value for name, value in one._asdict().items() if name not in _NOT_BUSY) for one in bound]
    return []
