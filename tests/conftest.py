"""Shared by all tests: one thread each (pytest-xdist brings the parallelism), what the plain run skips, `penult`."""

import gc
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import jaxtyping
import pytest
import torch
import tyro

ROOT = Path(__file__).parents[1]
if "--slow" in sys.argv:
    os.environ["PENULT_CHECK_ALL_TYPES"] = "1"  # pytest-xdist's workers inherit it, but not the words
# The libraries are checked whole, by the option in pyproject.toml. Of apps, only what names arrays: so collecting the
# tests takes 26 seconds, and 34 where the other four of five modules are checked too.
TYPED = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "apps").rglob("*.py"))
    if "jaxtyping" in path.read_text(encoding="utf-8")
]
jaxtyping.install_import_hook("apps" if "PENULT_CHECK_ALL_TYPES" in os.environ else TYPED, "beartype.beartype")

from apps.command.cli import main

sys.path.insert(0, str(Path(__file__).parent / "apps"))
sys.path.insert(0, str(Path(__file__).parent / "fake_device"))

from fake_cuda import Fake
from forking import Machine
from real_waits import refused
from spoken import last_of_each

torch.set_num_threads(1)

# The parser reads what classes say of their fields anew for each command line, which takes half of its time, and under
# pytest a tenth of what it has just read once more. Where it is another version's, tests take longer.
for _name in ("get_field_docstring", "get_callable_description"):
    if hasattr(_read := getattr(tyro._docstrings, _name, None), "__wrapped__"):
        setattr(tyro._docstrings, _name, cache(_read.__wrapped__))


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")
    parser.addoption("--gpu", action="store_true", help="run the tests that need a CUDA device too")


def pytest_collection_modifyitems(config, items):
    skipped = {
        "slow": None if config.getoption("--slow") else pytest.mark.skip(reason="slow: run with --slow"),
        "gpu": None if config.getoption("--gpu") else pytest.mark.skip(reason="needs a GPU: run with --gpu"),
    }
    for item in items:
        for name, mark in skipped.items():
            if mark is not None and item.get_closest_marker(name):  # a keyword may be a folder's name
                item.add_marker(mark)


def pytest_collection_finish(session):
    """Every training ends with a collection of garbage, which need not look through all that was imported by now."""
    _freeze()


def pytest_runtest_teardown(item, nextitem):
    """Nor through the large libraries that tests import as they go."""
    if len(sys.modules) > _frozen[-1] + 100:
        _freeze()


_frozen: list[int] = []
"""How many modules were imported whenever what there was then was put aside."""


def _freeze() -> None:
    gc.collect()
    gc.freeze()
    _frozen.append(len(sys.modules))


@pytest.fixture(scope="session")
def machine():
    """`machine(arguments, processes=2)`: a command line in processes of its own; see tests/apps/forking.py."""
    machine = Machine()
    yield machine
    machine.close()


@pytest.fixture
def as_a_user():
    """Without the checks of types that only tests have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def fake(monkeypatch, as_a_user):
    """A fake GPU: `with fake as log:` torch runs on it, and what is wrong is in the log."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, whose name the fake one has")
    return Fake(monkeypatch)


@pytest.fixture
def no_waits():
    """`with no_waits():` what waits for a GPU in it fails."""
    return refused


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    status: int
    out: str
    err: str


@pytest.fixture
def penult(capsys, monkeypatch, tmp_path):
    """`penult(*words)` in an empty current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENULT_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "path", list(sys.path))  # the current folder is put there for a MODEL of one's own

    def call(*words: object) -> Said:
        capsys.readouterr()
        status = main(last_of_each(map(str, words)))
        return Said(status, *capsys.readouterr())

    known = set(sys.modules)
    yield call
    for name in set(sys.modules) - known:  # another test may have a module of the same name
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    torch.set_num_threads(1)
