"""What is known of each class of a teacher, a row a class, as it is handed to a term from outside."""

from typing import Any

from torch import Tensor

from priors.errors import InputError


def class_rows(name: str, given: Any, classes: int, width: int) -> Tensor:
    """What a function gave, where it is a row a class.

    Args:
        name: of the function, for messages.
        given: what it gave.
        classes: how many rows are expected.
        width: of a row.

    Raises:
        InputError: it is no tensor, or of another shape.
    """
    if isinstance(given, Tensor) and given.shape == (classes, width):
        return given
    gave = tuple(given.shape) if isinstance(given, Tensor) else f"a {type(given).__name__}"
    raise InputError(f"{name} gave {gave}: a tensor of ({classes}, {width}) was expected, a row a class")
