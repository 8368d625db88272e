"""The losses of a network's stages, as one."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor


def levels(losses: Sequence[Float[Tensor, ""]], decay: float) -> Float[Tensor, ""]:
    """The sum of losses, each weighted by `decay` in the weight of the next; the last counts in full.

    Example:
        >>> levels([4.0, 2.0, 1.0], 0.5)
        3.0
    """
    return sum(decay ** (len(losses) - number) * one for number, one in enumerate(losses, start=1))
