"""MobileNetV2 for small images."""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from priors.zoo.he_initialisation import he_normal
from priors.zoo.registry import Parts, Wanted, classifier

_GROUPS = (
    # expansion (0: the network's), channels at full width, blocks, stride of the first
    (1, 16, 1, 1),
    (0, 24, 2, 1),
    (0, 32, 3, 2),
    (0, 64, 4, 2),
    (0, 96, 3, 1),
    (0, 160, 3, 2),
    (0, 320, 1, 1),
)


class _Block(nn.Module):
    """Expanded by a 1x1 convolution, filtered channel by channel by a 3x3 one, projected by another 1x1, no ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int):
        super().__init__()
        channels = inputs * expansion
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        y = self.relu1(self.norm1(self.conv1(x)))
        y = self.norm3(self.conv3(self.relu2(self.norm2(self.conv2(y)))))
        return x + y if self.residual else y


@classifier(
    presets=(
        # name           factor on the channels, and inside blocks   penultimate  parameters
        ("mobilenet-v2", {"width": 0.5, "expansion": 6}, 1280, 812_836),
    ),
    stages=("body.group2", "body.group3", "body.group5", "body.group7"),
    paper="Sandler, Howard, Zhu, Zhmoginov and Chen, MobileNetV2, 2018; small: Tian, Krishnan and Isola, 2020",
)
def mobilenet_v2(wanted: Wanted, *, width: float, expansion: int) -> Parts:
    """Inverted residuals of depthwise convolutions, half as wide as published, on small images.

    As in the code that its published results on CIFAR are from, the second group keeps the images' size, so that 32x32
    images are 2x2 in the end; the first group has a 1x1 convolution before its depthwise one, ReLUs are not cut at 6,
    and the last 1x1 convolution has 1280 channels at any width up to 1. Images of any size can be taken. The stages are
    the outputs of groups 2, 3, 5 and 7, each the last at its size, which no ReLU follows: at 1/2, 1/4, 1/8 and 1/16 of
    the images' size. Convolutions start from He's normal by the fan-out of a full convolution, as published. The
    penultimate activations are the averaged last ReLU, hence not negative.
    """
    inputs = int(32 * width)
    stem = nn.Sequential(nn.Conv2d(wanted.images[0], inputs, 3, 2, 1, bias=False), nn.BatchNorm2d(inputs), nn.ReLU())
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    for number, (own, channels, depth, stride) in enumerate(_GROUPS, start=1):
        outputs, blocks = int(channels * width), []
        for index in range(depth):
            blocks.append(_Block(inputs, outputs, stride if index == 0 else 1, own or expansion))
            inputs = outputs
        layers[f"group{number}"] = nn.Sequential(*blocks)
    outputs = int(1280 * max(width, 1))
    layers |= {
        "conv": nn.Conv2d(inputs, outputs, 1, bias=False),
        "norm": nn.BatchNorm2d(outputs),
        "relu": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
    }
    body = nn.Sequential(layers)
    he_normal(body)
    return Parts(body, outputs)
