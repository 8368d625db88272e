"""ShuffleNet for small images."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from priors.zoo.registry import Parts, Wanted, classifier

_STEM = 24
_DEPTHS = (4, 8, 4)


class _Block(nn.Module):
    """Two 1x1 convolutions in groups, with a shuffle and a depthwise convolution between; before its last ReLU.

    A block that halves the size puts the averaged inputs beside what it computed; another adds them.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int):
        super().__init__()
        own = outputs - inputs if stride == 2 else outputs
        channels = own // 4
        first = 1 if inputs == _STEM else groups
        self.conv1 = nn.Conv2d(inputs, channels, 1, groups=first, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.shuffle = nn.ChannelShuffle(first) if first > 1 else nn.Identity()
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(channels, own, 1, groups=groups, bias=False)
        self.norm3 = nn.BatchNorm2d(own)
        self.shortcut = nn.AvgPool2d(3, stride, 1) if stride == 2 else None

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        y = self.shuffle(self.relu1(self.norm1(self.conv1(x))))
        y = self.norm3(self.conv3(self.relu2(self.norm2(self.conv2(y)))))
        return y + x if self.shortcut is None else torch.cat([y, self.shortcut(x)], 1)


@classifier(
    presets=(
        # name            groups of the 1x1 convolutions; channels of the stages   penultimate  parameters
        ("shufflenet-v1", {"groups": 3, "channels": (240, 480, 960)}, 960, 949_258),
    ),
    stages=("body.group1", "body.group2", "body.group3"),
    paper="Zhang, Zhou, Lin and Sun, ShuffleNet, 2018; small: Tian, Krishnan and Isola, 2020",
)
def shufflenet_v1(wanted: Wanted, *, groups: int, channels: Sequence[int]) -> Parts:
    """Residual network of 1x1 convolutions in groups with shuffled channels, and depthwise 3x3 ones, on small images.

    As in the code that its published results on CIFAR are from: the stem is a 1x1 convolution that keeps the size,
    without pooling, a bottleneck has a quarter of the channels that its block computes itself, and a ReLU follows the
    depthwise convolution too. Images of any size can be taken. The stages are the outputs of the three groups before
    their ReLU (`body.relu1` to `body.relu3` are after it): at half, a quarter and an eighth of the images' size.
    Convolutions start as PyTorch starts them, as there. The penultimate activations are the averaged last ReLU,
    hence not negative.
    """
    inputs = _STEM
    stem = nn.Sequential(nn.Conv2d(wanted.images[0], inputs, 1, bias=False), nn.BatchNorm2d(inputs), nn.ReLU())
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    for number, (outputs, depth) in enumerate(zip(channels, _DEPTHS, strict=True), start=1):
        blocks: list[nn.Module] = []
        for index in range(depth):
            blocks += [nn.ReLU()] * (index > 0)
            blocks.append(_Block(inputs, outputs, 2 if index == 0 else 1, groups))
            inputs = outputs
        layers |= {f"group{number}": nn.Sequential(*blocks), f"relu{number}": nn.ReLU()}
    body = nn.Sequential(layers | {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()})
    return Parts(body, inputs)
