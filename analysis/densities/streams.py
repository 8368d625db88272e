"""What a PixelCNN++ is made of: two streams of gated layers, down to a quarter of the resolution and up again."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.densities.pixels import PixelDistribution
from analysis.densities.weight_norm import WeightNormConv, Window
from priors.rare_constants import load_rare_constants

load_rare_constants()

LEVELS = 3
"""Resolutions: the image's, its half and its quarter."""


def concat_elu(x: Tensor) -> Tensor:
    """elu([x, -x]) along the channels."""
    return F.elu_(torch.cat([x, -x], 1))  # in place: its backward pass needs the result alone


class GatedLayer(nn.Module):
    """x + a sigmoid(b), where [a, b] are two convolutions of x, of what lies beside it, and of a context.

    Args:
        filters: channels of x.
        window: of both convolutions.
        beside: channels of what is added to the first one's result, before `concat_elu`; 0 for nothing.
        context: channels of the context; 0 for none.
        dropout: rate of elements between the convolutions.
        context_dropout: rate of elements of the context's projection.
    """

    def __init__(self, filters: int, window: Window, beside: int, context: int, dropout: float, context_dropout: float):
        super().__init__()
        self.first = WeightNormConv(2 * filters, filters, window)
        self.beside = WeightNormConv(2 * beside, filters, "pixel") if beside else None
        self.second = WeightNormConv(2 * filters, 2 * filters, window, scale=0.1)
        self.context = nn.Conv2d(context, 2 * filters, 1, bias=False) if context else None
        if self.context is not None:
            nn.init.normal_(self.context.weight, std=0.05)
        self.dropout, self.context_dropout = nn.Dropout(dropout), nn.Dropout(context_dropout)

    def forward(self, x: Tensor, active: Tensor, beside: tuple[Tensor, ...], context: Tensor | None) -> Tensor:
        """x, concat_elu of it, concat_elu of what lies beside it, and the context at its resolution or 1 x 1."""
        found = self.first(active)
        if self.beside is not None:
            found = found + self.beside(torch.cat(beside, 1) if len(beside) > 1 else beside[0])
        found = self.second(self.dropout(concat_elu(found)))
        if self.context is not None:
            found = found + self.context_dropout(self.context(context))
        return x + F.glu(found, 1)


class Streams(nn.Module, ABC):
    """What features are computed with, all at once or pixel by pixel; `analysis.densities.pixelcnn.PixelCNN` is one.

    Attributes:
        image_shape: (channels, height, width).
        filters: channels of the features.
        distribution: of a pixel.
        start_down, start_above, start_left: from the image to both streams.
        up_down, up_right: blocks of gated layers by level, from the image's resolution, of the stream that sees the
            rows above a pixel and of the one that sees also what is to its left.
        back_down, back_right: those of the way back, by level.
        shrink_down, shrink_right: from each level to the next one.
        grow_down, grow_right: back.
        final: from the second stream to the parameters of the pixels' distributions.
    """

    image_shape: tuple[int, int, int]
    filters: int
    distribution: PixelDistribution
    start_down: WeightNormConv
    start_above: WeightNormConv
    start_left: WeightNormConv
    up_down: nn.ModuleList
    up_right: nn.ModuleList
    back_down: nn.ModuleList
    back_right: nn.ModuleList
    shrink_down: nn.ModuleList
    shrink_right: nn.ModuleList
    grow_down: nn.ModuleList
    grow_right: nn.ModuleList
    final: WeightNormConv

    @abstractmethod
    def contexts_of(self, context: Tensor | None, batch: int) -> list[Tensor | None]:
        """The context of so many images at each resolution, (batch, K, h, w) or (batch, K, 1, 1)."""
