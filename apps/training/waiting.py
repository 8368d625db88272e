"""How long processes wait for one another: half an hour, but where the first one has long work that none can share."""

import time
from datetime import timedelta
from itertools import count

import torch.distributed

PATIENCE = timedelta(minutes=30)
"""How long a process waits in a collective for one that does not answer; then it ends, and so do the others."""
_LONGEST = timedelta(hours=24)
"""How long the others wait for what the first process says that it is about to do alone."""
_BETWEEN = 1.0
"""Seconds between two looks, at the most."""

_numbers = count()


def wait_for_first() -> None:
    """Wait until the first process has come here too, for a day if need be; every process calls this.

    It is a note in the processes' store that is waited for, not a collective: nothing counts as hung, a GPU is left
    alone, and signals are heard. Where the store goes with the process that keeps it, the wait ends with an error.

    Raises:
        DistError: the first process, or the store, is gone.
    """
    store, note = torch.distributed.distributed_c10d._get_default_store(), f"penult/waited/{next(_numbers)}"
    if torch.distributed.get_rank() == 0:
        store.set(note, "here")
        return
    until, pause = time.monotonic() + _LONGEST.total_seconds(), 0.01
    while not store.check([note]):
        if time.monotonic() > until:
            raise torch.distributed.DistNetworkError(f"the first process did not come in {_LONGEST}")
        time.sleep(pause)
        pause = min(2 * pause, _BETWEEN)
