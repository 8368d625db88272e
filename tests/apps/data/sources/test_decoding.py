"""How many processes decode pictures."""

import os
from pathlib import Path

import pytest

from apps.data.sources import stored_images
from apps.data.sources.image_files import ImageFiles


@pytest.mark.parametrize(("cores", "processes", "expected"), [(16, 1, 8), (16, 4, 4), (4, 8, 1)])
def test_processes_of_a_machine_share_the_cores_out(monkeypatch, cores, processes, expected):
    asked = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr(stored_images, "DataLoader", lambda *_, num_workers, **__: asked.append(num_workers) or ())
    files = ImageFiles(Path("nowhere"), ("one.png",), (3, 8, 8), resized=False)
    assert list(files.stream([[(0, 0)]])) == [] and asked == [expected]
    assert list(files.stream([[(0, 0)]], workers=3)) == [] and asked[-1] == 3
