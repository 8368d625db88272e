"""Causal convolutions with normalised weights, which start from what a batch of data makes of them."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Window = Literal["down", "down-right", "above", "left", "pixel"]

_SIZES: dict[str, tuple[int, int]] = {
    "down": (2, 3),
    "down-right": (2, 2),
    "above": (1, 3),
    "left": (2, 1),
    "pixel": (1, 1),
}
"""Height and width of each window. It ends in the row of its output; of width 3 it is centred on the output's column,
and else ends there."""


class WeightNormConv(nn.Module):
    """A convolution whose weight is a direction and a length for each output (Salimans and Kingma 2016).

    The window holds no pixel below its output's, and none to the right of it in its own row unless it is of width 3.
    Directions begin as normals of deviation .05, lengths at 1 and biases at 0; `initialising` sets the latter two.

    Args:
        inputs: channels.
        outputs: channels.
        window: "down" (2 x 3), "down-right" (2 x 2), "above" (1 x 3), "left" (2 x 1) or "pixel" (1 x 1).
        stride: 1, or 2 to halve height and width; negative, -2 to double them by the transposed convolution.
        scale: deviation of the outputs that data-dependent initialisation comes to.

    Attributes:
        fused: whether weights in training are made by one kernel of torch's, and their gradients by another, which is
            faster than a dozen and differs by rounding.
    """

    def __init__(self, inputs: int, outputs: int, window: Window, *, stride: int = 1, scale: float = 1.0):
        super().__init__()
        self.window, self.stride, self.scale = window, stride, scale
        size = _SIZES[window]
        # As torch has them: transposed weights begin with their inputs.
        shape = (inputs, outputs, *size) if stride < 0 else (outputs, inputs, *size)
        self.direction = nn.Parameter(torch.empty(shape))
        self.length = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        if not self.direction.is_meta:  # there nothing is drawn, slowly
            nn.init.normal_(self.direction, std=0.05)
        self.initialising = self.fused = False

    @property
    def weight(self) -> Tensor:
        """The weight itself, (outputs, inputs, height, width), or (inputs, outputs, height, width) of a transposed."""
        if self.fused and self.training and self.stride > 0 and not torch.compiler.is_compiling():
            return _fused(self.direction, self.length)
        axis = 1 if self.stride < 0 else 0
        others = [i for i in range(4) if i != axis]
        shape = [-1 if i == axis else 1 for i in range(4)]
        return self.direction * (
            self.length.view(shape) / torch.linalg.vector_norm(self.direction, dim=others, keepdim=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) to (batch, outputs, height, width), each divided or multiplied by 2."""
        if not self.initialising:
            return self._apply_weight(x, self.bias)
        with torch.no_grad():
            self.length.fill_(1.0)
            raw = self._apply_weight(x, None)
            raw = raw if raw.dtype == torch.float64 else raw.float()
            variance, mean = torch.var_mean(raw, dim=(0, 2, 3), correction=0)
            self.length.copy_(self.scale / (variance + 1e-10).sqrt())
            self.bias.copy_(-mean * self.length)
            return self._apply_weight(x, self.bias)

    def _apply_weight(self, x: Tensor, bias: Tensor | None) -> Tensor:
        height, width = _SIZES[self.window]
        sides = 1 if width == 3 else 0
        if self.stride < 0:
            found = F.conv_transpose2d(x, self.weight, bias, stride=-self.stride)
            return found[:, :, :, sides:]
        left = sides if width == 3 else width - 1
        if height > 1 or left:
            x = F.pad(x, (left, sides, height - 1, 0))
        return F.conv2d(x, self.weight, bias, stride=self.stride)


def _fused(direction: Tensor, length: Tensor) -> Tensor:
    """The weight of a convolution that is not transposed; its norms are the same however it is laid out."""
    last = direction.is_contiguous(memory_format=torch.channels_last) and not direction.is_contiguous()
    weight = torch._weight_norm(direction.permute(0, 2, 3, 1) if last else direction, length.view(-1, 1, 1, 1), 0)
    return weight.permute(0, 3, 1, 2) if last else weight


def down_shift(x: Tensor) -> Tensor:
    """The same a row lower, with zeros in the first."""
    return F.pad(x[:, :, :-1], (0, 0, 1, 0))


def right_shift(x: Tensor) -> Tensor:
    """The same a column to the right, with zeros in the first."""
    return F.pad(x[:, :, :, :-1], (1, 0, 0, 0))
