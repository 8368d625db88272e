"""Rows of all processes under one another: terms that compare or remember images see the whole batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed
from jaxtyping import Shaped
from torch import Tensor, nn


def gather(rows: Shaped[Tensor, "batch *rest"]) -> Shaped[Tensor, "all *rest"]:
    """The rows of all processes of torch's process group, as many of each, off the graph; where there is one, its own.

    Example:
        >>> gather(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """
    return _gathered(rows) if place()[1] > 1 else rows


def gather_with_gradients(rows: Shaped[Tensor, "batch *rest"]) -> Shaped[Tensor, "all *rest"]:
    """The rows of all processes under one another, as many of each, on the graph.

    Where every process has the same loss of them, the mean over processes of the gradients that it gives to shared
    weights is that of one process with all rows.
    """
    return _Gather.apply(rows) if place()[1] > 1 else rows


def place() -> tuple[int, int]:
    """This process's number among those of torch's process group, and how many they are; (0, 1) where there is none."""
    if not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


@contextmanager
def own_buffers(prepared: nn.Module) -> Iterator[None]:
    """No process gets another one's buffers while the context is open.

    By default DistributedDataParallel writes over them before each pass: over what the graph of a pass before holds.
    """
    if not getattr(prepared, "broadcast_buffers", False):
        yield
        return
    prepared.broadcast_buffers = False
    try:
        yield
    finally:
        prepared.broadcast_buffers = True


def _gathered(rows: Tensor) -> Tensor:
    rows = rows.detach().contiguous()
    parts = [torch.empty_like(rows) for _ in range(place()[1])]
    torch.distributed.all_gather(parts, rows)
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """The rows of all processes; backward, the gradients that all processes have of this one's rows are summed."""

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        return _gathered(rows)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        torch.distributed.all_reduce(summed)
        return summed[place()[0] * ctx.count :][: ctx.count]
