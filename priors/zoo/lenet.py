"""Small classifiers in the manner of LeNet, whose layers were inverted to see what they keep of an image."""

from collections import OrderedDict
from collections.abc import Sequence
from math import prod

from torch import nn

from priors.errors import InputError
from priors.zoo.registry import Parts, Wanted, classifier

_KERNEL = 5
_LEAST = 16  # pixels a side that leave one after two convolutions without padding, each followed by a pooling
_UNITS = 256  # of FC3


@classifier(
    presets=(
        # name                 channels of CONV1 and CONV2                        penultimate  parameters
        ("lenet-32-32", {"channels": (32, 32)}, 256, 258_820),
        ("lenet-64-128", {"channels": (64, 128)}, 256, 1_054_948),
        ("lenet-32-32-global", {"channels": (32, 32), "global_pooling": True}, 256, 62_212),
    ),
    stages=("body.conv1.convolution", "body.conv2.convolution"),
    paper="Nash, Kushman and Williams, Inverting supervised representations, 2019, appendix A",
)
def lenet(wanted: Wanted, *, channels: Sequence[int], global_pooling: bool = False, dropout: float = 0.5) -> Parts:
    """Two 5x5 convolutions without padding, each with ReLU and 2x2 max pooling, then 256 units with ReLU.

    lenet-32-32 is the paper's for MNIST and affNIST, lenet-64-128 that for SVHN and CIFAR, and lenet-32-32-global takes
    the largest value of each of CONV2's channels over all places before FC3. Images may have any size from 16x16.

    The paper calls its layers CONV1, CONV2, FC3 and LOGITS, "two layers of convolution-ReLU-max-pooling [...] followed
    by one fully connected layer, and a final linear layer", and FC3 "takes the vectorized feature maps of CONV2": so
    CONV1 and CONV2 are what comes out of the poolings (before the global one, which is named apart), and FC3 what comes
    out of its ReLU. They are the taps `body.conv1`, `body.conv2`, `body.fc3` and `head`. The penultimate activations
    are FC3's, hence not negative. The stages, for distillation, are the convolutions' outputs before their ReLUs.

    Dropout follows CONV1, CONV2 and FC3, unit by unit, and is no part of their taps. The paper has "dropout at every
    layer" and does not give the rate: .5 is ours.
    """
    inputs, *size = wanted.images
    if min(size) < _LEAST:
        raise InputError(
            f"images of {size[0]}x{size[1]} pixels are too small for two 5x5 convolutions without padding, each with a "
            f"2x2 pooling: {_LEAST}x{_LEAST} are needed at least"
        )
    if len(channels) != 2 or min(channels) < 1:
        raise InputError(f"channels is {tuple(channels)}: two positive numbers were expected")
    layers: list[tuple[str, nn.Module]] = []
    for number, outputs in enumerate(channels, start=1):
        convolution = nn.Conv2d(inputs, outputs, _KERNEL)
        parts = OrderedDict(convolution=convolution, relu=nn.ReLU(), pool=nn.MaxPool2d(2))
        layers += [(f"conv{number}", nn.Sequential(parts)), (f"dropout{number}", _dropout(dropout))]
        inputs, size = outputs, [(side - _KERNEL + 1) // 2 for side in size]
    if global_pooling:
        layers += [("global_pool", nn.AdaptiveMaxPool2d(1))]
        size = [1, 1]
    layers += [
        ("flatten", nn.Flatten()),
        ("fc3", _linear(inputs * prod(size), _UNITS)),
        ("dropout3", _dropout(dropout)),
    ]
    return Parts(nn.Sequential(OrderedDict(layers)), _UNITS)


@classifier(
    presets=(
        # name       options  penultimate  parameters
        ("lenet-fc", {}, 256, 11_040_100),
    ),
    stages=("body.fc1.linear", "body.fc2.linear"),
    paper="Nash, Kushman and Williams, Inverting supervised representations, 2019, appendix A",
)
def lenet_fully_connected(wanted: Wanted, *, hidden: int = 2048, dropout: float = 0.5) -> Parts:
    """Two fully connected layers of 2048 units with ReLU, then 256 units with ReLU.

    The taps are `body.fc1` and `body.fc2`, which stand for CONV1 and CONV2, `body.fc3` and `head`, each after its ReLU;
    stages, dropout and penultimate activations are as for `lenet`.
    """
    if hidden < 1:
        raise InputError(f"hidden is {hidden}: a positive number of units was expected")
    widths = (prod(wanted.images), hidden, hidden, _UNITS)
    layers: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    for number in (1, 2, 3):
        layers += [(f"fc{number}", _linear(*widths[number - 1 : number + 1])), (f"dropout{number}", _dropout(dropout))]
    return Parts(nn.Sequential(OrderedDict(layers)), _UNITS)


def _linear(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(linear=nn.Linear(inputs, outputs), relu=nn.ReLU()))


def _dropout(rate: float) -> nn.Dropout:
    if not 0 <= rate < 1:
        raise InputError(f"dropout is {rate}: a rate in [0, 1) was expected")
    return nn.Dropout(rate)
