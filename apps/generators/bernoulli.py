"""Likelihoods of many independent binary pixels."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_MOST_FACTORS = 112
_LEAST = 1e-37  # of a product: below, float32 has no full precision left


def log_likelihood(
    hidden: Float[Tensor, "draws width"], weight: Float[Tensor, "pixels width"], space: Float[Tensor, "draws pixels"]
) -> Float[Tensor, " draws"]:
    """sum_j log sigmoid(a_j) with a = W h, on a CPU, without gradients.

    a_j is a pixel's logit where the pixel is on, and minus that where it is off. One logarithm serves many pixels: the
    product of their sigmoids is taken first, which is several times faster and as accurate. Draws for which such a
    product nearly vanishes are computed pixel by pixel.

    Args:
        hidden: the input h of the last layer.
        weight: its weight, with the signs of the pixels.
        space: memory to work in; it is overwritten.
    """
    pixels = len(weight)
    factors = next(count for count in range(min(pixels, _MOST_FACTORS), 0, -1) if pixels % count == 0)
    products = torch.mm(hidden, weight.T, out=space).sigmoid_().unflatten(-1, (-1, factors)).prod(-1)
    found = products.log().sum(-1)
    vanishing = (products < _LEAST).any(-1)
    if bool(vanishing.any()):
        found[vanishing] = F.logsigmoid(F.linear(hidden[vanishing], weight)).sum(-1)
    return found
