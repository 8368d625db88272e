"""Likelihoods of many independent binary pixels, without gradients, on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor

FACTORS = 112
"""Products a draw: every 112th pixel is in the same one, so that neighbours, which are alike, are not."""


def log_normalisers(
    hidden: Float[Tensor, "draws width"],
    weight: Float[Tensor, "pixels width"],
    logits: Float[Tensor, "draws pixels"],
    factors: Float[Tensor, "draws factors"],
) -> Float[Tensor, " draws"]:
    """log(1 + e^l_1) + log(1 + e^l_2) + ... over the pixels' logits l = W h, given each draw.

    With it log p(x) = x . l less this, and x . l is (x W) . h. One logarithm of a product serves many pixels, which is
    several times faster than one each and as accurate, until a product is too large for its type: what is returned is
    then not finite.

    Args:
        hidden: the input h of the last layer.
        weight: its weight W.
        logits: memory to work in.
        factors: the same; at most one a pixel.
    """
    odds = torch.mm(hidden, weight.T, out=logits).exp_()
    first, *others = odds.split(factors.shape[1], 1)
    torch.add(first, 1, out=factors)
    for some in others:  # P (1 + e^l) = P + P e^l, in one pass
        narrow = factors[:, : some.shape[1]]
        narrow.addcmul_(narrow, some)
    return factors.log_().sum(-1)
