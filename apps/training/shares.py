"""Work that processes share by its items: each does a stretch of them, and all get what comes of it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from apps.training.waiting import wait_for
from distill.processes import place


def everywhere(value: Any, long: bool = False) -> list[Any]:
    """The value of every process, in their order; it is a barrier as well.

    Args:
        value: of this process.
        long: whether it may take one process much longer than another to find it.
    """
    _, world = place()
    values: list[Any] = [value] * world
    if world > 1:
        if long:
            wait_for(range(world))
        torch.distributed.all_gather_object(values, value)
    return values


def shared(count: int, work: Callable[[range], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What `work` makes of so many items, on the CPU in their order; every process calls this, and all get it.

    What comes of an item must hang on its own number, not on the stretch that it is in: noise is drawn from a stream
    that it names. Then so many processes give what one gives, up to what a batch's size does to the last digits.

    Args:
        count: items, at least one.
        work: from the numbers of some items, one after another and never none, to named tensors with a row for each.
    """
    rank, world = place()
    own = range(count * rank // world, count * (rank + 1) // world)
    made = {name: rows.cpu() for name, rows in work(own).items()} if own else None
    parts = [part for part in everywhere(made, long=True) if part is not None]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
