"""Freed memory is kept on glibc, and nothing is done elsewhere or against the user's own choice."""

import os
import platform
import subprocess
import sys

import pytest

from apps.__main__ import main
from apps.command.memory import keep_freed_memory

_PAGES = """
import resource
import numpy as np
from apps.__main__ import main
from apps.command.memory import keep_freed_memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(48 * 2**20, np.uint8)  # above the 32 MiB that glibc asks the system for
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before, kept, _ = pages(), keep_freed_memory(), pages()  # the last gets the memory that is kept
print(before, kept, pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator alone is asked")
def test_blocks_that_are_freed_are_used_again_without_asking_for_pages():
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "LD_PRELOAD"}
    environment.pop("GLIBC_TUNABLES", None)
    found = subprocess.run(
        [sys.executable, "-c", _PAGES], capture_output=True, text=True, check=True, env=environment, timeout=60
    ).stdout.split()
    before, kept, after = int(found[0]), found[1], int(found[2])
    assert kept == "True"
    assert before > 40  # 48 MiB by pages of 4 KiB or 2 MiB, four times
    assert after * 10 < before


@pytest.mark.parametrize(
    "environment",
    [
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"MALLOC_MMAP_THRESHOLD_": "1"},
        {"LD_PRELOAD": "libjemalloc.so.2"},
        {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1"},
    ],
)
def test_the_users_own_choice_stands(environment):
    assert not keep_freed_memory(environment)


def test_the_command_keeps_what_is_freed(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("apps.command.memory.keep_freed_memory", lambda: asked.append(True))
    assert main(["--version"]) == 0
    assert asked == [True]
    assert "penult" in capsys.readouterr().out
