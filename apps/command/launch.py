"""What torchrun, or another launcher, says of this process by its environment."""

import os


def local_processes() -> int:
    """Processes of this launch on this machine."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
