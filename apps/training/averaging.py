"""The exponential moving average of a network's weights."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from apps.runs.format import FORMAT


class Average:
    """A copy of a network whose parameters follow e <- d e + (1 - d) w at each update, from e = w at the start.

    At update t, counted from 1, d is the smaller one of the decay and (1 + t) / (10 + t), as in TensorFlow's
    ExponentialMovingAverage with `num_updates`. So the average is over the last tenth of the updates at first, and the
    untrained network is soon forgotten: with a constant d it makes up d^t of the average, 45 % after 800 updates at
    .999. (To take just this part out, as Adam does, leaves a plain mean of all weights so far, which is far from the
    last ones: FIDs of a small SNGAN after 800 updates were 23.9 with a constant d, 10.2 so, 6.9 with this d, and 6.7
    for the last weights.) Runs of formats 0 and 1 have a constant d.

    torch's AveragedModel asks the device at each update whether it is the first; this one never makes a step wait.

    Args:
        source: the network to follow.
        decay: between 0 and 1.
        format: of the run, see `apps.runs.format`.

    Attributes:
        network: the averaged network, in evaluation mode.
        format: what its arithmetic goes by.
        updates: how many there were since the start.
    """

    def __init__(self, source: nn.Module, decay: float, format: int = FORMAT):
        self.format, self.decay, self.updates = format, decay, 0
        self.network = copy.deepcopy(source).requires_grad_(False).eval()
        self._parameters = list(self.network.parameters()), list(source.parameters())
        self._source = source  # its buffers may be other tensors by the time they are asked for, where it was moved

    @torch.no_grad()
    def restart(self) -> None:
        """Begin anew from the network's weights as they are now."""
        for own, other in zip(*self._parameters, strict=True):
            own.copy_(other)
        self.updates = 0
        self.follow_buffers()

    @torch.no_grad()
    def update(self) -> None:
        """Move a step towards the network's weights; buffers are left to `follow_buffers`."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.format >= 2 else self.decay
        get_ema_multi_avg_fn(decay)(*self._parameters, None)

    @torch.no_grad()
    def follow_buffers(self) -> None:
        """Take over the buffers (running statistics are averages already): before it is used, not each step."""
        for own, other in zip(self.network.buffers(), self._source.buffers(), strict=True):
            own.copy_(other)
