"""MobileNet, the first version, for ImageNet."""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from priors.zoo.registry import Parts, Wanted, classifier

_BLOCKS = (
    # channels, stride
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)


class _Block(nn.Module):
    """A 3x3 convolution of each channel by itself and a 1x1 one; gives its batch norm, and the ReLU is a module."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        return self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))


@classifier(
    presets=(
        # name           options, penultimate, parameters
        ("mobilenet-v1", {}, 1024, 3_309_476),
    ),
    stages=("body.block3.norm2", "body.block5.norm2", "body.block11.norm2", "body.block13.norm2"),
    paper="Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto and Adam, MobileNets, 2017",
)
def mobilenet_v1(wanted: Wanted) -> Parts:
    """Thirteen blocks of a depthwise and a 1x1 convolution, for ImageNet: 4,231,976 parameters with 1,000 classes.

    It halves images five times, so that 224 pixels are 7 in the end; smaller images can be taken, down to one pixel.
    The stages are the last batch norms, before their ReLU, of blocks 3, 5, 11 and 13, each the last at its size: at
    1/4, 1/8, 1/16 and 1/32 of the images' size. Convolutions start as torch draws them, as in the public codes. The
    penultimate activations are the averaged last ReLU, hence not negative.
    """
    inputs = 32
    stem = nn.Sequential(nn.Conv2d(wanted.images[0], inputs, 3, 2, 1, bias=False), nn.BatchNorm2d(inputs), nn.ReLU())
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    for number, (channels, stride) in enumerate(_BLOCKS, start=1):
        layers |= {f"block{number}": _Block(inputs, channels, stride), f"relu{number}": nn.ReLU()}
        inputs = channels
    body = nn.Sequential(layers | {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()})
    return Parts(body, inputs)
