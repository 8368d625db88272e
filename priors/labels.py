"""What every function that tells classes apart is given: a class number for each of what it looks at."""

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from priors.errors import InputError


def class_numbers(
    labels: Shaped[Tensor, "*shape"], count: int, classes: int, of: str = "activations"
) -> Int64[Tensor, " count"]:
    """Labels in int64, each a class's number.

    Args:
        labels: of any type of whole numbers.
        count: how many there must be.
        classes: how many there are: labels are below.
        of: what they are the labels of, in messages.

    Raises:
        InputError: none, another number or shape, no whole numbers, or a label that is no class's.

    Example:
        >>> class_numbers(torch.tensor([0, 2], dtype=torch.uint8), 2, 3)
        tensor([0, 2])
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"labels are {labels.dtype}: class numbers were expected")
    if labels.shape != (count,) or not count:
        shape = f" of shape {tuple(labels.shape)}" if labels.ndim != 1 else ""
        raise InputError(
            f"{labels.numel()} labels{shape} were given for {count} {of}: one class number for each was expected"
        )
    numbers = labels.long()
    require_range(numbers, classes)
    return numbers


def require_range(numbers: Int64[Tensor, "*shape"], classes: int) -> None:
    """Make sure that class numbers are 0 to `classes` - 1; it waits for the device.

    Raises:
        InputError: one is not.
    """
    if numbers.numel():
        low, high = (int(bound) for bound in numbers.aminmax())
        if low < 0 or high >= classes:
            raise InputError(f"label {low if low < 0 else high} is out of range: the classes are 0 to {classes - 1}")
