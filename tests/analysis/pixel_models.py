"""Models of pixels that are small enough to be looked at as a whole."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
import torch.nn.functional as F

from analysis.densities.pixelcnn import PixelCNN
from analysis.densities.pixels import PixelDistribution


@dataclass(frozen=True)
class Coin(PixelDistribution):
    """Black or white, by one logit: small enough to sum over all images."""

    channels: ClassVar[int] = 1
    draws: ClassVar[int] = 1

    @property
    def outputs(self) -> int:
        return 1

    def _log_prob(self, outputs, levels):
        return F.logsigmoid(torch.where(levels > 0, outputs.squeeze(1).unsqueeze(1), -outputs)).squeeze(1)

    def _place(self, outputs, uniforms):
        return 255 * (uniforms < outputs.double().sigmoid()).long()


def small(image_shape, context=(), **options) -> PixelCNN:
    torch.manual_seed(0)
    model = PixelCNN(image_shape, context, **({"layers": 1, "filters": 4} | options)).double()
    images = (torch.rand(8, *image_shape, dtype=torch.float64) * 255).round() / 255
    model.initialise(images, torch.randn(8, *context, dtype=torch.float64) if context else None)
    return model.eval()


@cache
def every_image() -> tuple[PixelCNN, torch.Tensor, torch.Tensor]:
    """A model of 4 x 4 black and white pixels, its context, and the log-probability of each of the 2^16 images.

    Image n has the binary digits of n as its pixels, the lowest first.
    """
    model = small((1, 4, 4), (2,), distribution=Coin(), filters=2)
    context = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    images = (torch.arange(2**16)[:, None] >> torch.arange(16) & 1).double().view(-1, 1, 4, 4)
    with torch.no_grad():
        found = [model.log_prob(part, context.expand(len(part), -1)) for part in images.split(2**13)]
    return model, context, torch.cat(found)
