import pytest
import torch
from torch import nn
from torchvision.models import alexnet

from priors.errors import InputError
from priors.reading.taps import tap
from priors.zoo import build

CONVOLUTIONS = [f"body.conv{number}" for number in range(1, 6)]


def make(size, channels=3):
    torch.manual_seed(0)
    return build("alexnet-small", classes=10, image_shape=(channels, *size)).eval()


def test_the_count_is_that_of_common_code_for_cifar():
    by_layer = [3 * 64 * 121 + 64, 64 * 192 * 25 + 192, 192 * 384 * 9 + 384, 384 * 256 * 9 + 256, 256 * 256 * 9 + 256]
    found = sum(parameter.numel() for parameter in make((32, 32)).parameters())
    assert found == sum(by_layer) + 2570 == 2_472_266


def test_convolutions_are_those_of_torchvision_but_for_the_firsts_padding():
    with torch.device("meta"):
        theirs = [layer for layer in alexnet().features if isinstance(layer, nn.Conv2d)]
    own = [layer for layer in make((32, 32)).modules() if isinstance(layer, nn.Conv2d)]
    for one, other in zip(own, theirs, strict=True):
        assert one.weight.shape == other.weight.shape and one.stride == other.stride
    assert [one.padding == other.padding for one, other in zip(own, theirs, strict=True)] == [False] + 4 * [True]


@pytest.mark.parametrize(
    ("size", "sides"),
    [((32, 32), [8, 4, 2, 2, 2]), ((29, 29), [8, 4, 2, 2, 2]), ((224, 224), [56, 28, 14, 14, 14])],
)
def test_sizes_of_maps(size, sides):
    network = make(size)
    with torch.no_grad(), tap(network, CONVOLUTIONS) as maps:
        activations = network.penultimate(torch.rand(2, 3, *size))
    assert [maps[name].shape[-1] for name in CONVOLUTIONS] == sides
    assert activations.shape == (2, 256) and activations.min() >= 0


def test_images_that_nothing_is_left_of_are_refused():
    with pytest.raises(InputError, match="images of 28x40 pixels are too small .* 29x29 are needed at least"):
        make((28, 40))
