"""The layers of the convolutional encoders and decoders; see `vae_networks.Convolutions`."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STRIDE = 4
"""Pixels between two points of a map."""


class ConvolutionalEncoder(nn.Module):
    """From an image, and perhaps a label's code, to features."""

    def __init__(self, image_shape: Sequence[int], labels: int, channels: int, blocks: int, width: int):
        super().__init__()
        self.image_shape, self.pixels = tuple(image_shape), math.prod(image_shape)
        self.first = nn.Conv2d(image_shape[0], channels, 7, _STRIDE, padding=3)
        self.blocks = nn.Sequential(*(Residual(channels) for _ in range(blocks)))
        self.last = nn.Linear(channels * math.prod(_grid(image_shape)) + labels, width)
        _rectified(self)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, pixels + labels)."""
        pixels, code = x[:, : self.pixels], x[:, self.pixels :]
        images = pixels.unflatten(-1, self.image_shape).to(memory_format=torch.channels_last)
        maps = self.blocks(self.first(images).relu()).relu()
        flat = maps.permute(0, 2, 3, 1).flatten(1)
        return self.last(torch.cat([flat, code.to(flat.dtype)], -1) if code.shape[-1] else flat).relu()


class ConvolutionalDecoder(nn.Module):
    """From z, and perhaps a label's code, to a map."""

    def __init__(self, image_shape: Sequence[int], code: int, channels: int, blocks: int, width: int):
        super().__init__()
        self.grid, self.channels = _grid(image_shape), channels
        self.first = nn.Sequential(nn.Linear(code, width), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(width, channels * math.prod(self.grid)), nn.ReLU())
        self.blocks = nn.Sequential(*(Residual(channels) for _ in range(blocks)))
        _rectified(self)

    def forward(self, code: Tensor) -> Tensor:
        """From (*batch, code)."""
        flat = self.second(self.first(code.reshape(-1, code.shape[-1])))
        maps = self.blocks(flat.unflatten(-1, (*self.grid, self.channels)).permute(0, 3, 1, 2))
        return maps.reshape(*code.shape[:-1], *maps.shape[1:])


class ToPixels(nn.Module):
    """From a map to the logits of its pixels, 4 x 4 at each of its points."""

    def __init__(self, image_shape: Sequence[int], channels: int):
        super().__init__()
        self.image_shape, self.grid = tuple(image_shape), _grid(image_shape)
        self.last = nn.Conv2d(channels, image_shape[0] * _STRIDE**2, 3, padding=1)
        _rectified(self)

    def forward(self, maps: Tensor) -> Tensor:
        """From (*batch, channels, height / 4, width / 4)."""
        batch = maps.shape[:-3]
        return self._pixels(self.last(maps.reshape(-1, *maps.shape[-3:]).relu())).reshape(*batch, -1)

    def _pixels(self, maps: Tensor) -> Tensor:
        _, height, width = self.image_shape
        return F.pixel_shuffle(maps, _STRIDE)[..., :height, :width].flatten(1)

    def order(self) -> Tensor:
        """Where each pixel's logit is in what the convolution gives, with its channels last."""
        channels = self.last.out_channels
        places = torch.arange(channels * math.prod(self.grid)).view(1, *self.grid, channels).permute(0, 3, 1, 2)
        return self._pixels(places).squeeze(0)


class Residual(nn.Module):
    """x + f(x), f a ReLU and a convolution of 3 x 3."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Of the same shape."""
        return maps + self.convolution(maps.relu())


def _grid(image_shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of a map."""
    _, height, width = image_shape
    return -(-height // _STRIDE), -(-width // _STRIDE)


def _rectified(module: nn.Module) -> None:
    """Start a module's weights so that ReLUs keep the scale (arXiv 1502.01852), or the latent is not made use of."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
