"""Pixels as numbers that networks take."""

import torch
from torch import Tensor


def unit(images: Tensor) -> Tensor:
    """Float32 pixels in [0, 1]; those of 8 bits are divided by 255.

    Example:
        >>> unit(torch.tensor([0, 255], dtype=torch.uint8)).tolist(), unit(torch.tensor([0.5])).tolist()
        ([0.0, 1.0], [0.5])
    """
    return images.to(torch.float32).div_(255) if images.dtype == torch.uint8 else images.to(torch.float32)
