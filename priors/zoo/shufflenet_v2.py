"""ShuffleNet V2 for small images."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from priors.zoo.registry import Parts, Wanted, classifier

_STEM = 24
_DEPTHS = (4, 8, 4)


def _branch(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """1x1, depthwise 3x3 and 1x1 convolutions with batch norm, before the last ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, stride, 1, groups=outputs, bias=False),
        nn.BatchNorm2d(outputs),
        nn.Conv2d(outputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )


class _Block(nn.Module):
    """Half of the channels as they are, beside a branch of the other half, shuffled; before the ReLU.

    What is passed on as it is comes from a ReLU already, so that one over both halves leaves it as it is.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.branch = _branch(channels // 2, channels // 2, 1)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        left, right = x.chunk(2, 1)
        return self.shuffle(torch.cat([left, self.branch(right)], 1))


class _Halving(nn.Module):
    """Two branches of all channels at half the size, side by side, shuffled; before the ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, 2, 1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs // 2, 1, bias=False),
            nn.BatchNorm2d(outputs // 2),
        )
        self.branch = _branch(inputs, outputs // 2, 2)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        return self.shuffle(torch.cat([self.shortcut(x), self.branch(x)], 1))


@classifier(
    presets=(
        # name            channels of the stages and of the last convolution   penultimate  parameters
        ("shufflenet-v2", {"channels": (116, 232, 464, 1024)}, 1024, 1_355_528),
    ),
    stages=("body.group1", "body.group2", "body.group3"),
    paper="Ma, Zhang, Zheng and Sun, ShuffleNet V2, 2018; small: Tian, Krishnan and Isola, 2020",
)
def shufflenet_v2(wanted: Wanted, *, channels: Sequence[int]) -> Parts:
    """Network of split and shuffled channels and depthwise 3x3 convolutions, on small images.

    As in the code that its published results on CIFAR are from, the stem is a 1x1 convolution that keeps the size,
    without pooling; from there on it is the published network. Images of any size can be taken. The stages are the
    outputs of the three groups before their ReLU (`body.relu1` to `body.relu3` are after it), with channels shuffled:
    at half, a quarter and an eighth of the images' size. Convolutions start as PyTorch starts them, as there. The
    penultimate activations are the averaged last ReLU, hence not negative.
    """
    inputs, (*groups, last) = _STEM, channels
    stem = nn.Sequential(nn.Conv2d(wanted.images[0], inputs, 1, bias=False), nn.BatchNorm2d(inputs), nn.ReLU())
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    for number, (outputs, depth) in enumerate(zip(groups, _DEPTHS, strict=True), start=1):
        blocks: list[nn.Module] = [_Halving(inputs, outputs)]
        for _ in range(depth - 1):
            blocks += [nn.ReLU(), _Block(outputs)]
        inputs = outputs
        layers |= {f"group{number}": nn.Sequential(*blocks), f"relu{number}": nn.ReLU()}
    layers |= {
        "conv": nn.Conv2d(inputs, last, 1, bias=False),
        "norm": nn.BatchNorm2d(last),
        "relu": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
    }
    return Parts(nn.Sequential(layers), last)
