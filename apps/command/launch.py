"""What torchrun, or another launcher, says of this process by its environment."""

import os


def local_processes() -> int:
    """Processes of this launch on this machine."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def processes() -> int:
    """Processes of this launch on all machines."""
    return max(1, int(os.environ.get("WORLD_SIZE", "1")))


def is_first() -> bool:
    """Whether this is the first process of its launch, or the only one."""
    return os.environ.get("RANK", "0") == "0"
