"""A small convolutional network whose penultimate activations can be drawn: they are two-dimensional by default."""

from collections import OrderedDict

from torch import nn

from priors.errors import InputError
from priors.zoo.registry import Parts, Wanted, classifier


@classifier(
    presets=(
        # name, options, penultimate, parameters
        ("convnet", {}, 2, 74_254),
        ("convnet-half", {"width": 16}, 2, 21_150),
    ),
    stages=("body.norm1", "body.norm2", "body.norm3", "body.norm4"),
    paper="Seo, Lee and Kwak, On the distribution of penultimate activations, 2021, figure 2",
)
def convnet(wanted: Wanted, *, width: int = 32, batch_norm: bool = True) -> Parts:
    """Four 3x3 convolutions and a linear 2-D penultimate layer; convnet-half has half the channels.

    Channels are `width`, `width`, twice and twice that; the second and fourth convolution halve the image, which may
    have any size from 2x2. The stages are the four convolutions' outputs after batch norm and before ReLU
    (with `batch_norm=False`, after the convolution). The penultimate layer has no activation.
    """
    channels, *size = wanted.images
    if min(size) < 2:
        raise InputError(f"convnet takes images of at least 2x2 pixels, not {size[0]}x{size[1]}")
    if width < 1:
        raise InputError(f"width is {width}: a positive number of channels was expected")
    layers: list[tuple[str, nn.Module]] = []
    for number, (outputs, stride) in enumerate([(width, 1), (width, 2), (2 * width, 1), (2 * width, 2)], start=1):
        layers += [(f"conv{number}", nn.Conv2d(channels, outputs, 3, stride, 1, bias=not batch_norm))]
        layers += [(f"norm{number}", nn.BatchNorm2d(outputs))] * batch_norm
        layers += [(f"relu{number}", nn.ReLU())]
        channels, size = outputs, [(side + stride - 1) // stride for side in size]
    penultimate = wanted.penultimate or 2
    layers += [("flatten", nn.Flatten()), ("penultimate", nn.Linear(channels * size[0] * size[1], penultimate))]
    stages = tuple(f"body.{'norm' if batch_norm else 'conv'}{number}" for number in range(1, 5))
    return Parts(nn.Sequential(OrderedDict(layers)), penultimate, stages=stages)
