"""Memory that one step gives back is kept for the next."""

import ctypes
import os
from collections.abc import Mapping

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""The parameters of `mallopt` in glibc's malloc.h."""
_LARGEST = 2**31 - 1
_OF_THE_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "LD_PRELOAD")
"""Environment variables by which users choose this themselves, or another allocator."""


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Ask glibc to keep what is freed, and say whether it does.

    By itself it asks the system for each block above 32 MiB anew and gives it back when it is freed. The system hands
    such memory out page by page, as it is first written, with zeros in it: writing the maps of 128 images then takes
    five times as long as it does in memory that the process has. The price is that a process keeps the most it ever
    had. Blocks above 2 GiB are asked for as before.

    False where the C library is another one, and where the user has chosen by an environment variable of glibc, or has
    an allocator loaded before it.
    """
    if any(environment.get(name) for name in _OF_THE_USER) or "glibc.malloc" in environment.get("GLIBC_TUNABLES", ""):
        return False
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no library without a name
        return False
    if not (hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt")):  # musl, macOS
        return False
    done = [library.mallopt(ctypes.c_int(one), ctypes.c_int(_LARGEST)) for one in (_MMAP_THRESHOLD, _TRIM_THRESHOLD)]
    return all(done)
