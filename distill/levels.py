"""The losses of a network's stages, as one."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor


def levels(losses: Sequence[Float[Tensor, ""]], decay: float) -> Float[Tensor, ""]:
    """The sum of losses, each weighted by `decay` in the weight of the next; the last counts in full.

    Example:
        >>> import torch
        >>> levels([torch.tensor(4.0), torch.tensor(2.0), torch.tensor(1.0)], 0.5)
        tensor(3.)
    """
    return sum(decay ** (len(losses) - number) * one for number, one in enumerate(losses, start=1))
