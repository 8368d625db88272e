"""What every function that tells classes apart is given: classes by number, or by name."""

import operator
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Int, Int64, Shaped
from torch import Tensor

from priors.errors import InputError, unknown


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
        low, high = torch.stack(numbers.aminmax()).tolist()
        if low < 0 or high >= classes:
            raise InputError(f"label {low if low < 0 else high} is out of range: the classes are 0 to {classes - 1}")


def class_number(label: int | str, class_names: Sequence[str]) -> int:
    """The number of a class given by number or name.

    Raises:
        InputError: there is no such class; the nearest name is offered.
    """
    if isinstance(label, str):
        if label not in class_names:
            raise unknown("class", label, class_names)
        return class_names.index(label)
    try:
        number = -1 if isinstance(label, bool) else operator.index(label)
    except TypeError:
        number = -1
    if not 0 <= number < len(class_names):
        raise InputError(f"label {label} is out of range: the classes are 0 to {len(class_names) - 1}")
    return number


def labels_to_numbers(labels: Tensor | Sequence[int | str], class_names: Sequence[str]) -> Int[Tensor, "*shape"]:
    """The numbers of several; a wrong one never wraps around to another class.

    A tensor's numbers are checked on the CPU; on other devices, where asking would wait for the device, a label out of
    range fails inside torch instead.

    Args:
        labels: numbers in a tensor of any shape, or a list of numbers and names; one text is one name.
        class_names: of all classes.

    Raises:
        InputError: there is no such class, or labels are no whole numbers.
    """
    if isinstance(labels, str) or not isinstance(labels, Iterable):  # one: a text is a name, not a list of letters
        return torch.tensor(class_number(labels, class_names))
    if not isinstance(labels, Tensor):
        return torch.tensor([class_number(label, class_names) for label in labels], dtype=torch.long)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"labels are {labels.dtype}: class numbers were expected")
    if labels.device.type == "cpu" and labels.numel() and not torch.compiler.is_compiling():
        for bound in labels.aminmax():
            class_number(int(bound), class_names)
    return labels
