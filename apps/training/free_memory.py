"""How much memory a process could still have: what is free, within what its container and its shell allow."""

import resource
from contextlib import suppress
from pathlib import Path

import psutil
import torch

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of a control group of version 2 and of 1: its limit, what it has taken, and what of that are caches to let go of."""


def available_bytes(device: torch.device) -> int:
    """Memory that could be had on a device now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [psutil.virtual_memory().available, *(group_bytes(folder) for folder in _groups())]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        found.append(limit - psutil.Process().memory_info().vms)
    return max(0, min(one for one in found if one is not None))


def _groups() -> list[Path]:
    """The control groups that this process is in, and those around them; a container sees its own as the root."""
    found = [_GROUPS, _GROUPS / "memory"]
    with suppress(OSError, ValueError):
        for line in _OWN.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                place = (_GROUPS / controllers / path.lstrip("/")).resolve()
                found += [place, *(around for around in place.parents if _GROUPS in around.parents)]
    return found


def group_bytes(folder: Path) -> int | None:
    """What a control group may still take; None where it has no limit, or there is none.

    Args:
        folder: of its files.
    """
    for limit, taken, cached in _FILES:
        with suppress(OSError, ValueError):  # no such file, or "max"
            left = int((folder / limit).read_text()) - int((folder / taken).read_text())
            held = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return left + int(held.get(cached, 0))
    return None
