"""Makes the fake device beside these tests importable, and puts it in place for a test."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from fake_cuda import Fake


@pytest.fixture
def fake(monkeypatch, as_a_user):
    """A fake GPU: `with fake as log:` torch runs on it, and what is wrong is in the log."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, whose name the fake one has")
    return Fake(monkeypatch)
