"""Pyramidal residual networks for small images."""

from collections import OrderedDict

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from priors.errors import InputError
from priors.zoo.he_initialisation import he_normal
from priors.zoo.registry import Parts, Wanted, classifier

_STEM, _GROUPS, _EXPANSION = 16, 3, 4


class _Shortcut(nn.Module):
    """Averages of 2x2 pixels where the size is halved, and channels of zeros up to as many as are asked for."""

    def __init__(self, added: int, stride: int):
        super().__init__()
        # The last row and column of an odd size stand alone, as the strided convolution has them.
        self.pool = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.added = added

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        return F.pad(self.pool(x), (0, 0, 0, 0, 0, self.added))


class _Basic(nn.Module):
    """Batch norm around each of two 3x3 convolutions, one ReLU between them, and a shortcut without parameters."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(channels)
        self.shortcut = _Shortcut(channels - inputs, stride)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        residual = self.norm3(self.conv2(self.relu2(self.norm2(self.conv1(self.norm1(x))))))
        return residual + self.shortcut(x)


class _Bottleneck(nn.Module):
    """The same with a 3x3 convolution between two 1x1 ones, a ReLU before each but the first."""

    expansion = _EXPANSION

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        outputs = _EXPANSION * channels
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(channels)
        self.relu3 = nn.ReLU()
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.norm4 = nn.BatchNorm2d(outputs)
        self.shortcut = _Shortcut(outputs - inputs, stride)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        residual = self.relu2(self.norm2(self.conv1(self.norm1(x))))
        residual = self.norm4(self.conv3(self.relu3(self.norm3(self.conv2(residual)))))
        return residual + self.shortcut(x)


@classifier(
    presets=(
        # name             depth, channels added in all    penultimate  parameters
        ("pyramidnet-110", {"depth": 110, "alpha": 84}, 100, 3_913_536),
    ),
    stages=("body.group2.0.norm1", "body.group3.0.norm1", "body.norm"),
    paper="Han, Kim and Kim, Deep pyramidal residual networks, 2017",
)
def pyramidnet(wanted: Wanted, *, depth: int, alpha: int) -> Parts:
    """Residual network whose channels grow with each block, from 16 by alpha in all.

    Each of 3n blocks adds alpha / 3n channels to those before it, rounded. No ReLU follows a block's first batch norm,
    and the shortcut has no parameters: it averages 2x2 pixels where the size is halved and adds channels of zeros. The
    stages are the groups' outputs after the next batch norm: at full, half and a quarter of the images' size.
    Convolutions start from He's normal by their fan-out. The penultimate activations are the averaged last ReLU, hence
    not negative.
    """
    return _parts(wanted, _Basic, depth, alpha, convolutions=2)


@classifier(
    presets=(
        # name             depth, channels added in all     penultimate  parameters
        ("pyramidnet-200", {"depth": 200, "alpha": 240}, 1024, 26_844_952),
    ),
    stages=("body.group2.0.norm2", "body.group3.0.norm2", "body.norm"),
    paper="Han, Kim and Kim, Deep pyramidal residual networks, 2017",
)
def bottleneck_pyramidnet(wanted: Wanted, *, depth: int, alpha: int) -> Parts:
    """Residual network of bottlenecks whose channels grow with each block, from 16 by alpha in all.

    As `pyramidnet`, with a 3x3 convolution between two 1x1 ones in each block, the last of which gives four times the
    channels. The stages are where Heo et al. 2019 take them: after the second batch norm of the next group, which is
    before its ReLU and has the narrow channels, and after the last batch norm; at full, half and a quarter of the
    images' size.
    """
    return _parts(wanted, _Bottleneck, depth, alpha, convolutions=3)


def _parts(wanted: Wanted, block: type[_Basic | _Bottleneck], depth: int, alpha: int, convolutions: int) -> Parts:
    """A stem, three groups of blocks of so many convolutions each, and the last batch norm and ReLU."""
    blocks, rest = divmod(depth - 2, _GROUPS * convolutions)
    if rest or blocks < 1:
        step = _GROUPS * convolutions
        raise InputError(f"depth is {depth}: {step}n + 2 was expected, such as {step * 12 + 2} or {step * 18 + 2}")
    if alpha < 0:
        raise InputError(f"alpha is {alpha}: a number of added channels, 0 or more, was expected")
    stem = nn.Sequential(nn.Conv2d(wanted.images[0], _STEM, 3, 1, 1, bias=False), nn.BatchNorm2d(_STEM))
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    inputs, grown = _STEM, 0
    for number in range(1, _GROUPS + 1):
        group = []
        for index in range(blocks):
            grown += 1
            channels = round(_STEM + alpha * grown / (_GROUPS * blocks))
            group.append(block(inputs, channels, 2 if number > 1 and index == 0 else 1))
            inputs = block.expansion * channels
        layers[f"group{number}"] = nn.Sequential(*group)
    layers |= {
        "norm": nn.BatchNorm2d(inputs),
        "relu": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
    }
    body = nn.Sequential(layers)
    he_normal(body)
    return Parts(body, inputs)
