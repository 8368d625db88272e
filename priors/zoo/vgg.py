"""VGG networks with batch norm for small images."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from priors.zoo.he_initialisation import he_normal
from priors.zoo.registry import Parts, Wanted, classifier

_CHANNELS = (64, 128, 256, 512, 512)
_LEAST = 4  # pixels a side that a pooling leaves at least


@classifier(
    presets=(
        # name      convolutions of each block           penultimate  parameters
        ("vgg-4", {"blocks": (1, 1, 1)}, 256, 397_412),
        ("vgg-6", {"blocks": (1, 1, 1, 1)}, 512, 1_604_196),
        ("vgg-8", {"blocks": (1, 1, 1, 1, 1)}, 512, 3_965_028),
        ("vgg-9", {"blocks": (1, 1, 2, 1, 1)}, 512, 4_555_620),
        ("vgg-11", {"blocks": (1, 1, 2, 2, 2)}, 512, 9_277_284),
        ("vgg-13", {"blocks": (2, 2, 2, 2, 2)}, 512, 9_462_180),
        ("vgg-16", {"blocks": (2, 2, 3, 3, 3)}, 512, 14_774_436),
        ("vgg-19", {"blocks": (2, 2, 4, 4, 4)}, 512, 20_086_692),
    ),
    paper="Simonyan and Zisserman, Very deep convolutional networks, 2015; small: Tian, Krishnan and Isola, 2020",
)
def vgg(wanted: Wanted, *, blocks: Sequence[int]) -> Parts:
    """Blocks of 3x3 convolutions with batch norm, parted by max pooling; one linear layer after averaging.

    Channels are 64, 128, 256, 512 and 512. Images are halved between blocks as long as 4x4 pixels are left, so that of
    CIFAR's images the blocks see 32, 16, 8, 4 and 4 pixels a side, and images of any size can be taken. The published
    names count the three linear layers of the original, in whose place there is one here. The layouts of vgg-4, vgg-6
    and vgg-9 are ours, as those that results were published for are not known: vgg-8 without its last two blocks,
    without its last block, and with the second convolution that vgg-11 has in its third block.

    The stages are the outputs of all blocks but the first, before their ReLU (`body.block1` is the output of the
    first): at half the images' size or less. Convolutions start from He's normal by their fan-out, with biases of 0.
    The penultimate activations are the averaged last ReLU, hence not negative.
    """
    inputs, *size = wanted.images
    side = min(size)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (convolutions, outputs) in enumerate(zip(blocks, _CHANNELS, strict=False), start=1):
        if number > 1 and side >= 2 * _LEAST:
            layers[f"pool{number - 1}"] = nn.MaxPool2d(2)
            side //= 2
        block: list[nn.Module] = []
        for index in range(convolutions):
            block += [nn.ReLU()] * (index > 0)
            block += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs)]
            inputs = outputs
        layers |= {f"block{number}": nn.Sequential(*block), f"relu{number}": nn.ReLU()}
    body = nn.Sequential(layers | {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()})
    he_normal(body)
    return Parts(body, inputs, stages=tuple(f"body.block{number}" for number in range(2, len(blocks) + 1)))
