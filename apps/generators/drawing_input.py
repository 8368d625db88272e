"""What every sampler of a generator is given: labels, a source of draws, a concentration."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from apps.command.ranges import CONCENTRATION
from priors.checks.draws import require_generator
from priors.checks.labels import labels_to_numbers
from priors.errors import InputError


def labels_to_draw(
    labels: Shaped[Tensor, "*shape"] | Iterable[int | str],
    class_names: Sequence[str],
    device: torch.device | str | None = None,
) -> Int64[Tensor, " batch"]:
    """Class numbers, one for each vector or image that is drawn.

    Args:
        labels: numbers of classes, or numbers and names; not looked at where they are on another device than the CPU.
        class_names: of the labels, in order.
        device: of the result; None: that of the labels.

    Raises:
        InputError: a label that is out of range or no class's name (the nearest is offered), or another shape.

    Example:
        >>> labels_to_draw([1, "cat"], ["cat", "dog"])
        tensor([1, 0])
    """
    return _row(labels_to_numbers(labels, class_names).to(device, torch.long), labels)


def count_to_draw(labels: Shaped[Tensor, "*shape"]) -> int:
    """How many vectors labels ask for, where it is not known which classes there are.

    Raises:
        InputError: they are no class numbers, or of another shape.
    """
    if not isinstance(labels, Tensor):
        raise InputError(f"labels are {labels!r}: a tensor of class numbers was expected")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"labels are {labels.dtype}: class numbers were expected")
    return len(_row(labels, labels))


def check_draws(generator: torch.Generator | None, concentration: float | None = None) -> None:
    """Make sure that a source of draws is one, and that a concentration is what --concentration takes.

    Raises:
        InputError: one is not.
    """
    require_generator(generator)
    if concentration is None:
        return
    number = isinstance(concentration, int | float) and not isinstance(concentration, bool)
    said = CONCENTRATION.refusal(concentration) if number else "expected a number"
    if said:
        raise InputError(f"concentration is {concentration!r}: {said}")


def _row(numbers: Tensor, given: object) -> Tensor:
    if numbers.ndim != 1:
        what = f"labels of shape {tuple(numbers.shape)}" if isinstance(given, Tensor) else f"labels are {given!r}"
        raise InputError(f"{what}: one class for each that is drawn was expected, such as [0, 0, 3]")
    return numbers
