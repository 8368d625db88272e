"""Pyramidal residual networks against their definition, written out."""

import pytest
import torch
import torch.nn.functional as F

from priors.errors import InputError
from priors.zoo import build
from priors.zoo.catalogue import catalogue
from priors.zoo.pyramidnet import _Basic, _Bottleneck, bottleneck_pyramidnet, pyramidnet
from priors.zoo.registry import Wanted


def convolved(x, conv, stride=1):
    return F.conv2d(x, conv.weight, stride=stride, padding=conv.weight.shape[-1] // 2)


def normed(x, norm):
    shape = (1, -1, 1, 1)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (x - norm.running_mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)


@pytest.mark.parametrize("size", [6, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_blocks_are_their_definition(bottleneck, stride, size, varied):
    torch.manual_seed(0)
    block = varied((_Bottleneck if bottleneck else _Basic)(5, 7, stride))
    x = torch.randn(2, 5, size, size)
    y = normed(convolved(normed(x, block.norm1), block.conv1, 1 if bottleneck else stride), block.norm2).relu()
    y = normed(convolved(y, block.conv2, stride if bottleneck else 1), block.norm3)
    if bottleneck:
        y = normed(convolved(y.relu(), block.conv3), block.norm4)
    shortcut = x
    if stride == 2:  # the mean of up to 2 x 2 pixels, pixel by pixel
        half = (size + 1) // 2
        cells = [[x[..., 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((2, 3)) for j in range(half)] for i in range(half)]
        shortcut = torch.stack([torch.stack(row, -1) for row in cells], -2)
    expected = torch.cat([y[:, :5] + shortcut, y[:, 5:]], 1)
    assert expected.shape[1] == (28 if bottleneck else 7)
    torch.testing.assert_close(block(x), expected)


def test_channels_grow_by_the_same_share_and_are_rounded():
    with torch.device("meta"):
        network = build("pyramidnet-110", classes=100, image_shape=(3, 32, 32))
    widths = [block.conv2.out_channels for n in (1, 2, 3) for block in getattr(network.body, f"group{n}")]
    assert len(widths) == 54 and widths[:4] == [18, 19, 21, 22] and widths[-1] == 100  # 17.6, 19.1, 20.7, 22.2
    assert [widths[n] for n in (17, 35, 53)] == [44, 72, 100]


def test_sizes_of_the_published_pairs():
    """Table 1 of Rotman and Wolf 2021: parameters of the student over those of its teacher, with 100 classes.

    The ratios are of counts in millions, cut off after two digits: 1.47 / 5.87 is 25.0 %, and
    1.479 / 5.872 is 25.2 %.
    """
    pairs = {
        ("wrn-28-4", "wrn-16-4"): 47.2,
        ("wrn-28-4", "wrn-28-2"): 25.0,
        ("wrn-28-4", "wrn-16-2"): 11.9,
        ("wrn-28-4", "resnet-56"): 14.7,
        ("pyramidnet-200", "wrn-28-4"): 21.9,
        ("pyramidnet-200", "pyramidnet-110"): 14.6,
    }
    count = {entry.name: entry.parameters for entry in catalogue()}  # each is held to its network elsewhere
    assert {
        (teacher, student): round(100 * (count[student] // 10_000) / (count[teacher] // 10_000), 1)
        for teacher, student in pairs
    } == pairs


@pytest.mark.parametrize(("family", "depth", "width"), [(pyramidnet, 8, 28), (bottleneck_pyramidnet, 11, 112)])
def test_all_of_a_small_one_is_trained(family, depth, width):
    torch.manual_seed(0)
    parts = family(Wanted((3, 8, 8), 3, None), depth=depth, alpha=12)
    activations = parts.body(torch.rand(4, 3, 8, 8))
    assert activations.shape == (4, parts.width) == (4, width) and (activations >= 0).all()
    activations.square().sum().backward()
    assert all(weight.grad.any() for weight in parts.body.parameters())


@pytest.mark.parametrize(
    ("family", "options", "said"),
    [
        (pyramidnet, {"depth": 109, "alpha": 84}, r"depth is 109: 6n \+ 2 was expected, such as 74 or 110"),
        (bottleneck_pyramidnet, {"depth": 199, "alpha": 84}, r"depth is 199: 9n \+ 2 was expected"),
        (pyramidnet, {"depth": 110, "alpha": -1}, "alpha is -1: "),
    ],
)
def test_what_cannot_be_built_is_refused(family, options, said):
    with pytest.raises(InputError, match=said):
        family(Wanted((3, 32, 32), 10, None), **options)
