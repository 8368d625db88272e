"""Wide residual networks for small images."""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from priors.errors import InputError
from priors.zoo.he_initialisation import he_normal
from priors.zoo.registry import Parts, Wanted, classifier


class _Block(nn.Module):
    """Batch norm and ReLU before each of two 3x3 convolutions, and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, 0, bias=False) if inputs != outputs else None

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        active = self.relu1(self.norm1(x))
        residual = self.conv2(self.dropout(self.relu2(self.norm2(self.conv1(active)))))
        return residual + (x if self.shortcut is None else self.shortcut(active))


@classifier(
    presets=(
        # name        depth, widening factor        penultimate  parameters
        ("wrn-16-1", {"depth": 16, "width": 1}, 64, 180_916),
        ("wrn-16-2", {"depth": 16, "width": 2}, 128, 703_284),
        ("wrn-40-1", {"depth": 40, "width": 1}, 64, 569_780),
        ("wrn-40-2", {"depth": 40, "width": 2}, 128, 2_255_156),
        ("wrn-28-2", {"depth": 28, "width": 2}, 128, 1_479_220),
        ("wrn-16-4", {"depth": 16, "width": 4}, 256, 2_772_020),
        ("wrn-22-4", {"depth": 22, "width": 4}, 256, 4_322_100),
        ("wrn-28-4", {"depth": 28, "width": 4}, 256, 5_872_180),
        ("wrn-28-10", {"depth": 28, "width": 10}, 640, 36_536_884),
    ),
    stages=("body.group2.0.norm1", "body.group3.0.norm1", "body.norm"),
    paper="Zagoruyko and Komodakis, Wide residual networks, 2016",
)
def wide_resnet(wanted: Wanted, *, depth: int, width: int, dropout: float = 0.0) -> Parts:
    """Pre-activation residual network of three groups with 16, 32 and 64 channels times the widening factor.

    The stages are the groups' outputs after the next batch norm and before its ReLU: at full, half and a quarter of the
    images' size. Convolutions start from He's normal by their fan-out and the head's bias at 0, as in the authors' code
    and that of Tian et al. 2020. The penultimate activations are the averaged last ReLU, hence not negative.
    """
    if (depth - 4) % 6 or depth < 10:
        raise InputError(f"depth is {depth}: 6n + 4 was expected, such as 16, 28 or 40")
    if width < 1 or not 0 <= dropout < 1:
        raise InputError(f"width {width}, dropout {dropout}: a positive integer and a rate in [0, 1) were expected")
    channels, layers = 16, OrderedDict(stem=nn.Conv2d(wanted.images[0], 16, 3, 1, 1, bias=False))
    for number, outputs in enumerate((16 * width, 32 * width, 64 * width), start=1):
        blocks = []
        for index in range((depth - 4) // 6):
            blocks.append(_Block(channels, outputs, 2 if number > 1 and index == 0 else 1, dropout))
            channels = outputs
        layers[f"group{number}"] = nn.Sequential(*blocks)
    layers |= {
        "norm": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
    }
    body = nn.Sequential(layers)
    he_normal(body)
    return Parts(body, channels, zero_bias=True)
