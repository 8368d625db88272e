"""Reconstructions of an image from what a network makes of it, by least squares: one image, and so a blurred one."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from priors.checks.floats import at_least_float32, require_digits, to_own
from priors.errors import InputError

_LEAK = 0.2


class UpConvolution(nn.Module):
    """Transposed convolutions from a context to an image (Dosovitskiy and Brox 2016, Inverting visual representations).

    A vector goes through a linear layer to maps of a quarter of the image's height and width; maps are brought,
    bilinearly, to the smallest of the quarter, the half and the whole that is no smaller than they are. Then each
    doubling is a 4 x 4 transposed convolution with a 3 x 3 convolution before it, and leaky ReLUs of slope .2.

    Args:
        image_shape: (channels, height, width), sides that are multiples of 4.
        context: shape of an image's context, (K,) or (K, h, w).
        filters: channels at the image's resolution; twice as many at its half, four times at its quarter.

    Raises:
        InputError: shapes that it cannot make, or no context.
    """

    def __init__(self, image_shape: Sequence[int], context: Sequence[int], *, filters: int = 32):
        super().__init__()
        channels, height, width = image_shape
        if height % 4 or width % 4:
            raise InputError(f"images of {height}x{width} pixels: sides that are multiples of 4 were expected")
        if len(context) not in (1, 3):
            raise InputError(f"a context of shape {tuple(context)}: (K,) or (K, height, width) was expected")
        if filters < 1:
            raise InputError(f"filters is {filters}: 1 or more expected")
        self.image_shape, self.context_shape = (channels, height, width), tuple(context)
        level = 2
        if len(context) == 3:
            fitting = (one for one in (2, 1) if height >> one >= context[1] and width >> one >= context[2])
            level = next(fitting, 0)
        self.size = (height >> level, width >> level)
        widths = [filters << step for step in range(level, -1, -1)]
        self.start = nn.Linear(context[0], widths[0] * math.prod(self.size)) if len(context) == 1 else None
        first = widths[0] if self.start else context[0]
        layers: list[nn.Module] = [nn.Conv2d(first, widths[0], 3, padding=1), nn.LeakyReLU(_LEAK)]
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(_LEAK)]
            layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.LeakyReLU(_LEAK)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 3, padding=1))

    def forward(self, context: Float[Tensor, "batch *context"]) -> Float[Tensor, "batch channels height width"]:
        """Images, which least squares may put outside [0, 1], in the type of the weights.

        Args:
            context: of any floating-point type; it is brought to that of the weights, which is float32 or float64.

        Raises:
            InputError: a context of another shape or of whole numbers, or weights of half precision.
        """
        if context.shape[1:] != self.context_shape:
            raise InputError(
                f"a context of shape {tuple(context.shape[1:])}: {self.context_shape} was expected, from the network "
                "and the layer that this decoder was trained on"
            )
        require_digits(self, "this decoder")
        context = to_own(self, context, "a context's values")
        if self.start is None:
            maps = F.interpolate(context, self.size, mode="bilinear", align_corners=False)
        else:
            maps = F.leaky_relu(self.start(context), _LEAK).view(len(context), -1, *self.size)
        return self.layers(maps)


def squared_error(
    images: Float[Tensor, "batch channels height width"], reconstructions: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, " batch"]:
    """|x - f(h)|^2 of each image, a sum over its sub-pixels (equation 3); float32, or float64 where any of both is.

    Raises:
        InputError: images or reconstructions of whole numbers.
    """
    x, y = (
        at_least_float32(pixels, what) for pixels, what in ((images, "images"), (reconstructions, "reconstructions"))
    )
    return (x - y).square().flatten(1).sum(1)
