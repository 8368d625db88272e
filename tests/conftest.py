"""Shared by all tests: one thread each (pytest-xdist brings the parallelism), and what the plain run skips."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

torch.set_num_threads(1)


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
            if mark is not None and name in item.keywords:
                item.add_marker(mark)
