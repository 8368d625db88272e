"""How many CPU cores this process may use, and how many of them other programs leave free."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath

import psutil

from apps.command.console import counted

_MOMENT = 0.05
"""Seconds over which the machine is looked at: five of the ticks that Linux counts time in."""
_SPARE = 0.25
"""Of a core: one that is used less than this counts as free."""
_MEMBERSHIP = Path("/proc/self/cgroup")
"""Where Linux tells which control groups a process is in."""
_NOT_BUSY = {"idle", "iowait", "guest", "guest_nice"}
"""Times of a core that are no work, or are counted in another one already."""


def available_cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """CPU cores that this process may use: those it is bound to, and no more than its container pays for.

    Args:
        groups: where Linux tells of control groups.
    """
    return max(1, int(min(len(_bound_to()), _limit(groups)[0])))


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
    limit, group = _limit(groups)
    busy, spent, begun = _busy(), _spent(groups, group), time.perf_counter()
    time.sleep(_MOMENT)
    took = time.perf_counter() - begun
    # Time is counted in ticks: a core may seem to have worked for longer than there was.
    work = sum(min(1.0, (after - before) / took) for before, after in zip(busy, _busy(), strict=False))
    free = min(len(_bound_to()) - work, limit - (_spent(groups, group) - spent) / took)
    return max(1, int(min(cores, free + processes - 1 + _SPARE)) // processes)


def _bound_to() -> list[int]:
    """Numbers of the cores that this process is bound to; all, where the system does not bind."""
    with suppress(AttributeError):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _limit(groups: Path) -> tuple[float, Path]:
    """Cores' worth of time that is paid for, and the folder of the group that says so; infinity where none does.

    A group has no more than those around it: the smallest limit holds.
    """
    return min(((_quota(folder), folder) for folder in _own(groups)), key=lambda found: found[0])


def _own(groups: Path) -> Iterator[Path]:
    """Folders of the control groups that this process is in, of both versions, each before those around it.

    In a container they may be told as the machine outside has them; then the outermost folder is its own.
    """
    paths = {"": "", "cpu": ""}
    with suppress(OSError, ValueError):
        for line in _MEMBERSHIP.read_text().splitlines():
            _, names, path = line.split(":", 2)
            paths |= {name: path.strip("/") for name in names.split(",") if name in paths and ".." not in path}
    for name, path in paths.items():
        inner = PurePosixPath(path)
        yield from (groups / name / part for part in (inner, *inner.parents))


def _quota(folder: Path) -> float:
    """Cores' worth of time that one group pays for; infinity where it sets no limit."""
    with suppress(OSError, ValueError):
        if (folder / "cpu.max").exists():  # version 2; "max" without a limit
            limit, period = map(float, (folder / "cpu.max").read_text().split())
        else:  # version 1; -1 without a limit
            limit, period = (float((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        if limit > 0 and period > 0:
            return limit / period
    return float("inf")


def _spent(groups: Path, folder: Path) -> float:
    """Seconds of work that a group has had, of all its cores together; 0 where that is not known."""
    with suppress(OSError, ValueError):
        told = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
        if "usage_usec" in told:
            return int(told["usage_usec"]) / 1e6
        of_version_1 = groups / "cpuacct" / folder.relative_to(groups / "cpu")
        return int((of_version_1 / "cpuacct.usage").read_text()) / 1e9
    return 0.0


def _busy() -> list[float]:
    """Seconds of work that each core that this process is bound to has done; none where that is not known."""
    with suppress(OSError):
        cores = psutil.cpu_times(percpu=True)
        bound = [cores[number] for number in _bound_to() if number < len(cores)]
        return [sum(value for name, value in one._asdict().items() if name not in _NOT_BUSY) for one in bound]
    return []


@cache
def machine() -> str:
    """The processor of this machine and the cores that this process may use, in words.

    Example:
        >>> machine().endswith(("core", "cores"))
        True
    """
    name = platform.processor() or platform.machine() or "unknown processor"
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {counted(available_cores(), 'core')}"
