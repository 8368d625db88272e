"""A wait by notes in the processes' store."""

import threading
from datetime import timedelta
from itertools import count

import pytest
import torch.distributed

from apps.command import ending
from apps.training import waiting
from apps.training.waiting import wait_for


@pytest.fixture
def store(monkeypatch):
    """Of three processes, of which this is the second."""
    store = torch.distributed.HashStore()
    monkeypatch.setattr(torch.distributed.distributed_c10d, "_get_default_store", lambda: store)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(waiting, "_numbers", count())
    return store


def test_those_that_are_waited_for_come(store):
    first = threading.Timer(0.05, store.set, ("penult/waited/0/0", "here"))
    first.start()
    wait_for([0])
    assert not first.is_alive() or first.finished.is_set()
    assert store.check(["penult/waited/0/1"]) and not store.check(["penult/waited/0/2"])
    wait_for([1])  # the next wait has notes of its own
    assert store.check(["penult/waited/1/1"])


def test_one_that_never_comes_counts_as_gone(store, monkeypatch):
    monkeypatch.setattr(waiting, "_LONGEST", timedelta(seconds=0.05))
    with pytest.raises(torch.distributed.DistError) as lost:
        wait_for(range(3))
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert ending.is_lost(lost.value)
