"""Likelihoods of many independent binary pixels, without gradients, on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor

MOST = 1e37
"""A product above this may have overflowed, or be about to."""
_MOST_FACTORS = 112


def products(
    hidden: Float[Tensor, "draws width"],
    weight: Float[Tensor, "pixels width"],
    space: Float[Tensor, "draws pixels"],
    out: Float[Tensor, "draws products"],
) -> None:
    """The inverse likelihood of all pixels given each draw, (1 + e^-a_1) (1 + e^-a_2) ... , in a few factors.

    a_j is a pixel's logit where the pixel is on, and minus that where it is off. So one logarithm serves many pixels,
    which is several times faster than one each, and as accurate where no factor is above `MOST`. An exponential and an
    addition take less time than a sigmoid.

    Args:
        hidden: the input h of the last layer.
        weight: its weight, with the signs that give -a = W h.
        space: memory to work in; it is overwritten.
        out: `factors(pixels)` numbers a draw, whose product is wanted.
    """
    odds = torch.mm(hidden, weight.T, out=space).exp_().add_(1)
    torch.prod(odds.unflatten(-1, (out.shape[-1], -1)), -1, out=out)


def factors(pixels: int) -> int:
    """How many numbers `products` gives: the fewest of at most 112 pixels each, all of as many."""
    return next(count for count in range(1, pixels + 1) if pixels % count == 0 and pixels // count <= _MOST_FACTORS)
