"""The exponential moving average of a network's weights."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from apps.runs.format import FORMAT


class Average:
    """A copy of a network whose parameters follow e <- decay e + (1 - decay) w at each step, from e = w at the start.

    torch's AveragedModel asks the device at each update whether it is the first; this one never makes a step wait.

    Args:
        source: the network to follow.
        decay: between 0 and 1.
        format: of the run, see `apps.runs.format`.

    Attributes:
        network: the averaged network, in evaluation mode.
        format: what its arithmetic goes by.
    """

    def __init__(self, source: nn.Module, decay: float, format: int = FORMAT):
        self.format = format
        self.network = copy.deepcopy(source).requires_grad_(False).eval()
        self._parameters = list(self.network.parameters()), list(source.parameters())
        self._buffers = list(self.network.buffers()), list(source.buffers())
        self._blend = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def restart(self) -> None:
        """Begin anew from the network's weights as they are now."""
        for own, other in zip(*self._parameters, strict=True):
            own.copy_(other)
        self.follow_buffers()

    @torch.no_grad()
    def update(self) -> None:
        """Move a step towards the network's weights; buffers are left to `follow_buffers`."""
        self._blend(*self._parameters, None)

    @torch.no_grad()
    def follow_buffers(self) -> None:
        """Take over the buffers (running statistics are averages already): before it is used, not each step."""
        for own, other in zip(*self._buffers, strict=True):
            own.copy_(other)
