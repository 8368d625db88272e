"""What the scripts here ran on: a ratio means little without it."""

import platform
from pathlib import Path

import torch

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def about(device: torch.device | str = "cpu") -> str:
    """One line: the processor, its vector instructions and caches, or the GPU; threads and torch."""
    own = [_name(), *_caches()]
    if torch.device(device).type == "cuda":
        own = [torch.cuda.get_device_name(device)]
    threads = torch.get_num_threads()
    return ", ".join([*own, f"{threads} thread{'s' * (threads > 1)}", f"torch {torch.__version__}"])


def _name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.processor()])[0]} with {torch.backends.cpu.get_cpu_capability()}"


def _caches() -> list[str]:
    """Of the first core, by level; none where the system does not say."""
    found = []
    for place in sorted(_CACHES.glob("index*")):
        level, kind, size = ((place / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return found
