"""Likelihoods of many independent binary pixels, without gradients, on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor

LEAST = 1e-37
"""A product below this has not float32's full precision."""
_MOST_FACTORS = 112


def products(
    hidden: Float[Tensor, "draws width"],
    weight: Float[Tensor, "pixels width"],
    space: Float[Tensor, "draws pixels"],
    out: Float[Tensor, "draws products"],
) -> None:
    """The likelihood of all pixels given each draw, sigmoid(a_1) sigmoid(a_2) ... with a = W h, in a few factors.

    a_j is a pixel's logit where the pixel is on, and minus that where it is off. So one logarithm serves many pixels,
    which is several times faster than one each, and as accurate where no factor is below `LEAST`.

    Args:
        hidden: the input h of the last layer.
        weight: its weight W, with the signs of the pixels.
        space: memory to work in; it is overwritten.
        out: `factors(pixels)` numbers a draw, whose product is wanted.
    """
    agreement = torch.mm(hidden, weight.T, out=space).sigmoid_()
    torch.prod(agreement.unflatten(-1, (out.shape[-1], -1)), -1, out=out)


def factors(pixels: int) -> int:
    """How many numbers `products` gives: the fewest of at most 112 pixels each, all of as many."""
    return next(count for count in range(1, pixels + 1) if pixels % count == 0 and pixels // count <= _MOST_FACTORS)
