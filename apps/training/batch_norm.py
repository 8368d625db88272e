"""Batch norm over the images of all processes, as one process with the whole batch would have it."""

import torch
from torch import Tensor, nn

from distill.processes import gather_with_gradients, place
from priors.errors import InputError


def synchronised(network: nn.Module, called: str, device: torch.device) -> nn.Module:
    """A network whose batch norms take mean and variance over the batches of all processes while it is trained.

    Weights, running statistics and their names stay as they are, so that it is saved and read like any other. On a
    GPU torch's own module does it, which refuses CPUs.

    Args:
        network: changed in place.
        called: what messages call it.
        device: that it is trained on.

    Raises:
        InputError: it has no batch norm.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        raise InputError(f"--sync-batchnorm: {called} has no batch norm; leave it out")
    if device.type != "cpu":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in norms:
        module.__class__ = _OnCPU
    return network


class _OnCPU(nn.modules.batchnorm._BatchNorm):
    """Batch norm with the statistics of all processes, in float32: plain operations, and two messages a pass."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any shape with channels."""

    def forward(self, input: Tensor) -> Tensor:
        """Each channel with the mean and the variance of all processes' rows, as many of each."""
        world = place()[1]
        if not self.training:
            return super().forward(input)
        rows, over = input.float(), [0, *range(2, input.ndim)]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        mean = gather_with_gradients(rows.mean(over)[None]).mean(0)
        centred = rows - mean.view(shape)
        variance = gather_with_gradients(centred.square().mean(over)[None]).mean(0)
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach(), world * input.numel() // input.shape[1])
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            found = centred * (scale * self.weight).view(shape)
            found = found if self.bias is None else found + self.bias.view(shape)
        else:
            found = centred * scale.view(shape)
        return found.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics on, by the unbiased variance of so many values a channel."""
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), share)
