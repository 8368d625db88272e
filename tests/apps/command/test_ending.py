"""Several processes say once why they end, whichever of them knows it."""

import pytest
import torch.distributed

from apps.command import ending


@pytest.fixture
def launch(monkeypatch):
    """`launch(rank, lost=False)`: whether that process of three speaks; all have ended as often before."""
    store = torch.distributed.HashStore()
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr(ending, "_WAITED", 0.1)
    monkeypatch.setattr(ending, "_store", lambda: store)

    def speaks(rank: int, lost: bool = False) -> bool:
        monkeypatch.setattr(ending, "_endings", 0)
        monkeypatch.setenv("RANK", str(rank))
        return ending.speaks(lost)

    return speaks


def test_the_first_says_what_all_find(launch):
    assert [launch(rank) for rank in (0, 2, 1)] == [True, False, False]


def test_another_says_what_it_alone_finds_and_those_that_miss_it_are_silent(launch):
    assert [launch(2), launch(0, lost=True), launch(1, lost=True)] == [True, False, False]
    assert ending.name() == "process 1: "


def test_two_others_that_find_the_same_say_it_once(launch):
    assert [launch(2), launch(1)] == [True, False]


def test_a_process_that_was_killed_is_missed_once(launch):
    assert [launch(1, lost=True), launch(0, lost=True)] == [True, False]


def test_without_the_store_each_says_what_it_knows(launch, monkeypatch):
    class Gone:
        def check(self, *given):
            raise torch.distributed.DistNetworkError("the server is gone")

        set = add = check

    monkeypatch.setattr(ending, "_store", Gone)
    assert launch(1, lost=True) and launch(2)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (torch.distributed.DistNetworkError("The client socket has timed out after 300000ms"), True),
        (RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [::1]:7"), True),
        (RuntimeError("Timed out waiting 1800000ms for recv operation to complete"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ConnectionResetError("Connection reset by peer"), False),
    ],
)
def test_what_a_backend_says_of_a_process_that_is_gone(monkeypatch, error, lost):
    """Only where there is more than one: else it is of another connection."""
    assert not ending.is_lost(error)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ending.is_lost(error) is lost
