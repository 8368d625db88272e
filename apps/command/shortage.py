"""Memory that ran out: which errors say so, and what a user can do about it. No torch is imported here.

Python, NumPy, torch's allocators, oneDNN and CUDA each raise an error of their own. Code that reads what users bring
turns any error into "this cannot be read", so the errors before an error are looked at as well.
"""

import errno
import re
from collections.abc import Callable, Iterator, Sequence

_SAID = re.compile(
    "can't allocate memory|not enough memory|out of memory|bad_alloc|ALLOC_FAILED|cannot allocate memory"
    "|storage size calculation overflowed|could not create a memory",
    re.IGNORECASE,
)
"""What a RuntimeError says: torch has no class for the CPU."""
_AMOUNT = re.compile(r"allocate (\d+(?:\.\d+)?) ?(bytes|[KMGTPE]iB)", re.IGNORECASE)
_GPU = re.compile("cuda|cublas|cudnn|hip", re.IGNORECASE)
_LOWERED = ("--batch-size", "--image-size", "--images", "--n", "--draws")
"""Flags that take memory by their size, where a verb has them."""


def shortage(error: BaseException, flags: Callable[[], Sequence[str]] = list) -> str | None:
    """What to say where memory ran out: in an error itself, or in one that was met before it; None of all others.

    Args:
        error: that ended a command.
        flags: gives those that its verb has; called only where memory ran out.

    Example:
        >>> print(shortage(MemoryError()))
        there is not enough memory: give fewer or smaller things at a time, or end other programs and try again
    """
    found = next((one for one in _chain(error) if _is_shortage(one)), None)
    if found is None:
        return None
    text = str(found)
    amount, where = _AMOUNT.search(text), " on the GPU" if _GPU.search(text) else ""
    begin = f"there is not enough memory{where}" + (f" for {_shown(*amount.groups())} more" if amount else "")
    known = flags()
    smaller = " or ".join(flag for flag in _LOWERED if flag in known)
    less = f"give a smaller {smaller}" if smaller else "give fewer or smaller things at a time"
    if "--accumulate" in known:
        return (
            f"{begin}: {less}, a larger --accumulate or a smaller network under another --name; or end other programs, "
            "and the same command goes on from its last checkpoint, where it had one"
        )
    return f"{begin}: {less}, or end other programs and try again"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it was raised from or after."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _is_shortage(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_SAID.search(str(error))))


def _shown(number: str, unit: str) -> str:
    if unit.lower() != "bytes":
        return f"{number} {unit}"
    return f"{float(number) / 2**30:,.1f} GiB" if float(number) >= 2**30 else f"{float(number) / 2**20:,.1f} MiB"
