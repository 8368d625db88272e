"""What estimators of a representation's information are given: a row of activations an image, and positive settings."""

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

from priors.checks.floats import require_floats
from priors.errors import InputError

_ROWS = 1024
_VALUES = 2**23
"""In rows that are held in float64 at once (64 MB), unless fewer than 64 rows would fit."""


def rows_of(activations: Float[Tensor, "images *features"]) -> Float[Tensor, "images units"]:
    """One flat row an image, of the type given, off the graph.

    Raises:
        InputError: fewer than two images, no units, no floating-point numbers, or values that are not finite.
    """
    if activations.ndim < 2 or len(activations) < 2 or not activations.numel():
        raise InputError(
            f"activations have shape {tuple(activations.shape)}: (images, units) was expected, with 2 or more images"
        )
    require_floats(activations, "activations")
    rows = activations.detach().flatten(1)
    if not all(bool(rows[block].isfinite().all()) for block in row_blocks(rows)):
        raise InputError("activations have values that are not finite")
    return rows


def row_blocks(rows: Float[Tensor, "n units"]) -> Iterator[slice]:
    """Slices that cover the rows, as many at once as are well held in float64."""
    step = max(64, min(_ROWS, _VALUES // rows.shape[1]))
    return (slice(start, min(start + step, len(rows))) for start in range(0, len(rows), step))


def require_positive(name: str, value: float) -> None:
    """Raise InputError unless the setting of that name is finite and above 0."""
    if not 0 < value < float("inf"):
        raise InputError(f"{name} is {value}: a finite number above 0 was expected")
