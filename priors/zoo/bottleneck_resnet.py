"""Residual networks of bottlenecks, for small images."""

from collections import OrderedDict
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from priors.zoo.he_initialisation import he_normal
from priors.zoo.registry import Parts, Wanted, classifier

_EXPANSION = 4


class _Block(nn.Module):
    """A 3x3 convolution between two 1x1 ones, and a shortcut; gives the sum before its ReLU, which is a module."""

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        outputs = _EXPANSION * channels
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, 0, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        residual = self.relu1(self.norm1(self.conv1(x)))
        residual = self.norm3(self.conv3(self.relu2(self.norm2(self.conv2(residual)))))
        return residual + self.shortcut(x)


@classifier(
    presets=(
        # name        bottlenecks of each group      penultimate  parameters
        ("resnet-50", {"blocks": (3, 4, 6, 3)}, 2048, 23_705_252),
    ),
    stages=("body.group1", "body.group2", "body.group3", "body.group4"),
    paper="He, Zhang, Ren and Sun, Deep residual learning, 2016; small: Tian, Krishnan and Isola, 2020",
)
def bottleneck_resnet(wanted: Wanted, *, blocks: Sequence[int]) -> Parts:
    """Residual network of four groups of bottlenecks, as for ImageNet, on small images.

    The stem is a 3x3 convolution that keeps the images' size, without pooling; the groups give 256, 512, 1024 and 2048
    channels, the 3x3 convolution of the first block of each but the first halves the size, and the shortcut there is a
    1x1 convolution with batch norm. The stages are the groups' sums before their ReLU (`body.relu1` to `body.relu4` are
    after it): at full, half, a quarter and an eighth of the images' size. Convolutions start from He's normal by their
    fan-out. The penultimate activations are the averaged last ReLU, hence not negative.
    """
    inputs = 64
    stem = nn.Sequential(nn.Conv2d(wanted.images[0], inputs, 3, 1, 1, bias=False), nn.BatchNorm2d(inputs), nn.ReLU())
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    for number, depth in enumerate(blocks, start=1):
        channels, group = 32 * 2**number, list[nn.Module]()
        for index in range(depth):
            group += [nn.ReLU()] * (index > 0)
            group.append(_Block(inputs, channels, 2 if number > 1 and index == 0 else 1))
            inputs = _EXPANSION * channels
        layers |= {f"group{number}": nn.Sequential(*group), f"relu{number}": nn.ReLU()}
    body = nn.Sequential(layers | {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()})
    he_normal(body)
    return Parts(body, inputs)
