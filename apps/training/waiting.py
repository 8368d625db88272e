"""How long processes wait for one another: half an hour, but where one has long work that is not the others'."""

import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import count

import torch.distributed

PATIENCE = timedelta(minutes=30)
"""How long a process waits in a collective for one that does not answer; then it ends, and so do the others."""
_LONGEST = timedelta(hours=24)
"""How long they wait where what one does may take much longer than what another does."""
_BETWEEN = 1.0
"""Seconds between two looks, at the most."""

_numbers = count()


def wait_for(ranks: Sequence[int]) -> None:
    """Wait until these processes have come here too, for a day if need be; every process calls this.

    It is notes in the processes' store that are waited for, not a collective: nothing counts as hung, a GPU is left
    alone, and signals are heard. Where the store goes with the process that keeps it, the wait ends with an error.

    Raises:
        DistError: one of them, or the store, is gone.
    """
    store, place = torch.distributed.distributed_c10d._get_default_store(), f"penult/waited/{next(_numbers)}"
    store.set(f"{place}/{torch.distributed.get_rank()}", "here")
    notes, pause, until = [f"{place}/{rank}" for rank in ranks], 0.001, time.monotonic() + _LONGEST.total_seconds()
    while not store.check(notes):
        if time.monotonic() > until:
            raise torch.distributed.DistNetworkError(f"another process did not come in {_LONGEST}")
        time.sleep(pause)
        pause = min(2 * pause, _BETWEEN)
