"""Feature maps of two networks, brought to where they can be compared."""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Activation = Literal["relu", "none"]
"""What follows a stage: the zoo's end before their ReLU, which changes nothing where a tap is already behind it."""


def activated(
    maps: Float[Tensor, "batch channels height width"], activation: Activation
) -> Float[Tensor, "batch channels height width"]:
    """The maps in float32, after their activation."""
    return maps.float().relu() if activation == "relu" else maps.float()


def smaller(student: Sequence[int], teacher: Sequence[int]) -> tuple[int, int]:
    """The smaller height and the smaller width of two shapes that end in them.

    Example:
        >>> smaller((3, 8, 8), (5, 4, 16))
        (4, 8)
    """
    height, width = (min(sizes) for sizes in zip(student[-2:], teacher[-2:], strict=True))
    return height, width


def pooled(
    student: Float[Tensor, "batch _ _ _"], teacher: Float[Tensor, "batch _ _ _"]
) -> tuple[Float[Tensor, "batch _ height width"], Float[Tensor, "batch _ height width"]]:
    """Both at the smaller height and the smaller width of the two: what is larger, averaged over what falls together.

    Example:
        >>> import torch
        >>> [tuple(maps.shape) for maps in pooled(torch.ones(2, 3, 8, 8), torch.ones(2, 5, 4, 4))]
        [(2, 3, 4, 4), (2, 5, 4, 4)]
    """
    size = smaller(student.shape, teacher.shape)
    return tuple(maps if maps.shape[2:] == size else F.adaptive_avg_pool2d(maps, size) for maps in (student, teacher))
