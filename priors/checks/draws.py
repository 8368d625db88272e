"""What every function that draws is given: how many draws, and where their random numbers come from."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from priors.errors import InputError, shown


def sample_shape(given: int | Sequence[int]) -> torch.Size:
    """The shape of many draws: a number n means (n,).

    Raises:
        InputError: neither whole numbers of at least 0, nor one.
    """
    sizes = given if isinstance(given, Iterable) else (given,)  # an integer may be NumPy's
    try:
        shape = torch.Size(sizes)
    except TypeError:
        shape = None
    if shape is None or any(isinstance(size, bool) or size < 0 for size in sizes):
        raise InputError(f"draws of shape {shown(given)}: a number, or a shape such as (5,), was expected")
    return shape


def require_generator(generator: torch.Generator | None) -> None:
    """Make sure that what is given as a source of draws is one.

    Raises:
        InputError: it is neither a torch.Generator nor None.
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        raise InputError(
            f"generator is {shown(generator)}: the source of the draws was expected, such as "
            "torch.Generator().manual_seed(0)"
        )


def gaussians(
    shape: Sequence[int], generator: torch.Generator | None, dtype: torch.dtype, device: torch.device | str | None
) -> Float[Tensor, "*shape"]:
    """Standard normal numbers on a device, by a generator on any: the same ones wherever they are brought to."""
    source = device if generator is None else generator.device
    return torch.randn(torch.Size(shape), generator=generator, dtype=dtype, device=source).to(device)
