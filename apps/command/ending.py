"""How several processes end together: one line says why, whichever of them found it out.

What all find alike the first one says. What one of them alone finds, it says itself, after it has given the first some
time to say the same. Those that only notice that another one is gone say so once, and only where that one was killed
or hangs: else it has spoken.

They tell each other by notes in the store that they met by. Nothing here imports torch by itself.
"""

import os
import re
import sys
import time
from contextlib import suppress
from typing import Any

from apps.command.launch import is_first, processes

_WAITED = 5.0
"""Seconds that another process waits for the first to say what it has found as well."""
_GONE = re.compile(
    r"connection (was )?(closed|reset|refused)|timed out waiting|socket ?timeout|broken pipe|gloo/|nccl communicator|"
    r"recvValue failed|sendBytes failed|passed the timeout|did not come in",
    re.IGNORECASE,
)
"""What errors of the backends say where another process does not answer; gloo's are of no class of their own."""

_endings = 0
"""Commands that ended with an error so far in this process; the same on all, since such an error ends all."""


def failed() -> bool:
    """Whether a command of this process ended with an error, or the program is about to."""
    return _endings > 0 or getattr(sys, "last_value", None) is not None


def is_lost(error: BaseException) -> bool:
    """Whether an error says that another process of this launch is gone or hangs."""
    torch = sys.modules.get("torch")
    if processes() == 1 or torch is None or not torch.distributed.is_available():
        return False
    return isinstance(error, torch.distributed.DistError) or (
        isinstance(error, RuntimeError) and bool(_GONE.search(str(error)))
    )


def said_of_lost() -> str:
    """What is said where another process is gone that said nothing."""
    return (
        "another process of this command was killed, or has not answered for too long: this one ends with it; the same "
        "command goes on from the last checkpoint, where there is one"
    )


def note() -> str:
    """Let the others know that this process ends with an error that it will tell; where the notes of it are."""
    global _endings
    _endings += 1
    notes = f"penult/ending/{_endings}"
    if (store := _store()) is not None:
        with suppress(RuntimeError):  # the store has gone with the process that kept it
            store.set(f"{notes}/found", "")
    return notes


def speaks(lost: bool = False) -> bool:
    """Whether this process is the one to say why it ends; called once at each such end.

    Args:
        lost: whether all that it knows is that another one is gone.
    """
    global _endings
    store = _store()
    if store is None:
        _endings += 1
        return is_first()
    try:
        if lost:  # the others say it themselves, unless they were killed
            _endings += 1
            notes = f"penult/ending/{_endings}"
            return not store.check([f"{notes}/found"]) and store.add(f"{notes}/lost", 1) == 1
        notes = note()
        if is_first():
            store.set(f"{notes}/said", "")
            return True
        until = time.monotonic() + _WAITED
        while time.monotonic() < until:  # the store's own wait would add lines of its backend's
            if store.check([f"{notes}/said"]):
                return False
            time.sleep(0.05)
        return store.add(f"{notes}/alone", 1) == 1
    except RuntimeError:  # the store has gone with the process that kept it
        return True


def _store() -> Any | None:
    """What the processes met by; None where there is one process, or they have not met."""
    torch = sys.modules.get("torch")
    if processes() == 1 or torch is None or not torch.distributed.is_available():
        return None
    if not torch.distributed.is_initialized():
        return None
    return torch.distributed.distributed_c10d._get_default_store()


def name() -> str:
    """What a line begins with that only this process knows of; nothing of the first one."""
    return "" if is_first() else f"process {os.environ.get('RANK')}: "
