"""Grey values in [0, 1] as probabilities of a white pixel."""

import torch
from jaxtyping import Float
from torch import Tensor


def binarise(
    images: Float[Tensor, "*batch channels height width"], generator: torch.Generator | None = None
) -> Float[Tensor, "*batch channels height width"]:
    """0 or 1 for every pixel: 1 where x > U(0, 1), drawn afresh at every call, so P(1) = x.

    The images must be in [0, 1]. Compared with bytes 0 ... 255 the same line is 1 wherever the pixel is not 0 ("pixel >
    0"): a defect of published code that makes strokes thicker and likelihoods incomparable.

    Args:
        images: grey values in [0, 1].
        generator: where the draws come from, on any device; the default of the images' own without.
    """
    source = images.device if generator is None else generator.device
    draws = torch.rand(images.shape, generator=generator, device=source, dtype=images.dtype).to(images.device)
    return torch.gt(images, draws, out=draws)
