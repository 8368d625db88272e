"""Buffers of networks that several processes train: running statistics, power iterations and the like."""

from collections.abc import Iterable

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def keep_own(network: nn.Module) -> nn.Module:
    """Have a network that is prepared for several processes leave each of them its own buffers in a step.

    Else each forward pass would first send all of the first process's. What a network computes in training hangs on no
    running statistics, and power iterations are of weights, which are the same everywhere: so nothing but the buffers
    of the other processes changes. `share` brings them together where networks are used or kept.
    """
    if isinstance(network, DistributedDataParallel):
        network.broadcast_buffers = False
    return network


def share(network: nn.Module) -> None:
    """Give every process the first one's buffers, in one message for each kind of number; all processes call this."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return
    for alike in _by_kind(network.buffers()):
        together = torch.cat([buffer.detach().reshape(-1) for buffer in alike])
        torch.distributed.broadcast(together, 0)
        parts = together.split([buffer.numel() for buffer in alike])
        with torch.no_grad():
            for buffer, part in zip(alike, parts, strict=True):
                buffer.copy_(part.view_as(buffer))


def _by_kind(buffers: Iterable[Tensor]) -> list[list[Tensor]]:
    """Buffers of the same type together, in an order that is the same on all processes."""
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for buffer in buffers:
        kinds.setdefault(buffer.dtype, []).append(buffer)
    return list(kinds.values())
