"""Linear layers that terms learn."""

import torch
from torch import nn


def linear(inputs: int, outputs: int, generator: torch.Generator | None = None) -> nn.Linear:
    """A linear layer that starts as torch's own do, uniform within 1 / sqrt(inputs), drawn from a generator.

    Args:
        inputs: width.
        outputs: width.
        generator: None: torch's own.

    Example:
        >>> linear(3, 2)
        Linear(in_features=3, out_features=2, bias=True)
    """
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator)
    return layer
