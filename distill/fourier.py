"""The Fourier transform of feature maps as two products with matrices."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Fourier(nn.Module):
    """The two-dimensional Fourier transform of real maps, with the factor 1 / sqrt(height width), in real arithmetic.

    At the sizes of feature maps, two products with cosines and sines take less time than the fast transform and its
    derivative, and they take channels as convolutions leave them: last in memory. They are as exact as matrix products
    are set to be.

    Args:
        height: of the maps, in pixels.
        width: likewise.

    Example:
        >>> maps = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
        >>> real, imaginary = Fourier(6, 8)(maps).unbind(1)
        >>> expected = torch.fft.rfft2(maps, norm="ortho").movedim(1, -1)
        >>> torch.allclose(torch.complex(real, imaginary), expected, atol=1e-5)
        True
    """

    def __init__(self, height: int, width: int):
        super().__init__()
        self.shape = (height, width)
        columns, rows = _waves(width // 2 + 1, width), _waves(height, height)
        # (a + ib) (c + id) = (ac - bd) + i (ad + bc): parts by frequency, of what is pixels by parts
        down = [torch.stack([rows.real, -rows.imag], -1), torch.stack([rows.imag, rows.real], -1)]
        self.register_buffer("along", torch.cat([columns.real, columns.imag]).float(), persistent=False)
        self.register_buffer("down", torch.cat(down).flatten(1).float(), persistent=False)

    def forward(
        self, maps: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch 2 height half channels"]:
        """Real and imaginary parts at the frequencies of `torch.fft.rfft2`; channels are last."""
        (height, width), (batch, channels) = self.shape, maps.shape[:2]
        pixels = maps.permute(0, 2, 3, 1).reshape(batch * height, width, channels)
        lines = torch.bmm(self.along.expand(len(pixels), -1, -1), pixels).view(batch, 2 * height, -1)
        found = torch.bmm(self.down.expand(batch, -1, -1), lines)
        return found.view(batch, 2, height, width // 2 + 1, channels)


def _waves(frequencies: int, pixels: int) -> Tensor:
    """exp(-2 pi i k x / pixels) / sqrt(pixels), (frequencies, pixels), in double precision."""
    turns = torch.outer(torch.arange(frequencies), torch.arange(pixels)) % pixels  # exact: angles stay within a turn
    angle = turns.double() * (-2 * torch.pi / pixels)
    return torch.polar(torch.full_like(angle, pixels**-0.5), angle)
