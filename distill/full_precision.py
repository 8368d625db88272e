"""Numbers of half precision in single precision."""

from jaxtyping import Float
from torch import Tensor


def full(numbers: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The same in float32, or as they are where they have as many digits or more.

    Example:
        >>> import torch
        >>> full(torch.ones(2, dtype=torch.bfloat16)).dtype, full(torch.ones(2, dtype=torch.float64)).dtype
        (torch.float32, torch.float64)
    """
    return numbers if numbers.itemsize >= 4 else numbers.float()
