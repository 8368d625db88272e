"""AlexNet for small images."""

from collections import OrderedDict

from torch import nn

from priors.errors import InputError
from priors.zoo.registry import Parts, Wanted, classifier

_LEAST = 29  # pixels a side that leave one after the first convolution and three poolings
_LAYERS = (
    # channels, kernel, stride, padding, whether a pooling follows
    (64, 11, 4, 5, True),
    (192, 5, 1, 2, True),
    (384, 3, 1, 1, False),
    (256, 3, 1, 1, False),
    (256, 3, 1, 1, True),
)


@classifier(
    presets=(
        # name           options  penultimate  parameters
        ("alexnet-small", {}, 256, 2_495_396),
    ),
    stages=("body.conv1", "body.conv2", "body.conv5"),
    paper="Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014",
)
def alexnet(wanted: Wanted) -> Parts:
    """Five convolutions with ReLU, the first of 11x11 and stride 4, and 2x2 max pooling behind the first two and last.

    The channels are those of Krizhevsky's later network, 64, 192, 384, 256 and 256, as torchvision's `alexnet` has
    them. As in common code for CIFAR, one linear layer stands in the place of the original's three, and poolings do not
    overlap; it has no batch norm and no dropout. 2,472,266 parameters with ten classes. Maps of CIFAR's images have 8,
    4 and 2 pixels a side. Images from 29x29 pixels can be taken; what larger ones leave is averaged.

    The stages are the outputs of the first, second and last convolution, before their ReLU. The penultimate activations
    are the pooled last ReLU, hence not negative.
    """
    inputs, *size = wanted.images
    if min(size) < _LEAST:
        raise InputError(
            f"images of {size[0]}x{size[1]} pixels are too small for an 11x11 convolution of stride 4 and three "
            f"poolings: {_LEAST}x{_LEAST} are needed at least"
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (outputs, kernel, stride, padding, pooled) in enumerate(_LAYERS, start=1):
        layers[f"conv{number}"] = nn.Conv2d(inputs, outputs, kernel, stride, padding)
        layers[f"relu{number}"] = nn.ReLU()
        if pooled:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        inputs = outputs
    return Parts(nn.Sequential(layers | {"average": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}), inputs)
