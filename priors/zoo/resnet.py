"""Residual networks for small images, as in the CIFAR experiments of the first residual networks."""

from collections import OrderedDict
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from priors.errors import InputError
from priors.zoo.he_initialisation import he_normal
from priors.zoo.registry import Parts, Wanted, classifier


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; gives the sum before its ReLU, which is a module of its own."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, 0, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        residual = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        return residual + self.shortcut(x)


@classifier(
    presets=(
        # name           depth; channels of the stem and of the groups         penultimate  parameters
        ("resnet-20", {"depth": 20, "channels": (16, 16, 32, 64)}, 64, 278_324),
        ("resnet-32", {"depth": 32, "channels": (16, 16, 32, 64)}, 64, 472_756),
        ("resnet-44", {"depth": 44, "channels": (16, 16, 32, 64)}, 64, 667_188),
        ("resnet-56", {"depth": 56, "channels": (16, 16, 32, 64)}, 64, 861_620),
        ("resnet-110", {"depth": 110, "channels": (16, 16, 32, 64)}, 64, 1_736_564),
        ("resnet-8x4", {"depth": 8, "channels": (32, 64, 128, 256)}, 256, 1_233_540),
        ("resnet-32x4", {"depth": 32, "channels": (32, 64, 128, 256)}, 256, 7_433_860),
    ),
    stages=("body.group1", "body.group2", "body.group3"),
    paper="He, Zhang, Ren and Sun, Deep residual learning, 2016; x4: Tian, Krishnan and Isola, 2020",
)
def resnet(wanted: Wanted, *, depth: int, channels: Sequence[int]) -> Parts:
    """Residual network of three groups of basic blocks, for small images.

    Where the size changes, the shortcut is a 1x1 convolution with batch norm. The stages are the groups' sums before
    their ReLU (`body.relu1` to `body.relu3` are after it): at full, half and a quarter of the images' size.
    Convolutions start from He's normal by their fan-out. The penultimate activations are the averaged last ReLU, hence
    not negative.
    """
    if (depth - 2) % 6 or depth < 8:
        raise InputError(f"depth is {depth}: 6n + 2 was expected, such as 20, 32 or 110")
    inputs, *groups = channels
    stem = nn.Sequential(nn.Conv2d(wanted.images[0], inputs, 3, 1, 1, bias=False), nn.BatchNorm2d(inputs), nn.ReLU())
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    for number, outputs in enumerate(groups, start=1):
        blocks: list[nn.Module] = []
        for index in range((depth - 2) // 6):
            blocks += [nn.ReLU()] * (index > 0)
            blocks.append(_Block(inputs, outputs, 2 if number > 1 and index == 0 else 1))
            inputs = outputs
        layers |= {f"group{number}": nn.Sequential(*blocks), f"relu{number}": nn.ReLU()}
    body = nn.Sequential(layers | {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()})
    he_normal(body)
    return Parts(body, inputs)
