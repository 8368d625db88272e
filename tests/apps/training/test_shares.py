"""Stretches of work, each by one of several processes."""

import pytest
import torch

from apps.training import shares
from apps.training.shares import shared


@pytest.mark.parametrize("count", [1, 2, 7, 9])
def test_three_processes_get_what_one_gets(monkeypatch, count):
    """In the order of the items, also where they do not divide and where a process has none."""
    seen = []

    def work(own: range) -> dict[str, torch.Tensor]:
        seen.append(own)
        numbers = torch.tensor(list(own))
        return {"square": numbers.square(), "row": numbers[:, None].expand(-1, 2)}

    one = shared(count, work)
    made = []
    for rank in range(3):
        monkeypatch.setattr(shares, "place", lambda rank=rank: (rank, 3))
        monkeypatch.setattr(
            shares, "everywhere", lambda own, long: made.append(own) or [own or {"square": [], "row": []}]
        )
        if rank * count // 3 < (rank + 1) * count // 3:
            shared(count, work)
        else:
            made.append(None)
    monkeypatch.setattr(shares, "everywhere", lambda own, long: made)
    several = shared(count, work)
    assert one["square"].tolist() == several["square"].tolist() == [number**2 for number in range(count)]
    assert one["row"].equal(several["row"])
    assert sorted(number for own in seen[1:-1] for number in own) == list(range(count))
