import pytest
import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from priors.reading.taps import tap
from priors.zoo import build

LAYERS = nn.Conv2d | nn.BatchNorm2d | nn.MaxPool2d


def layers(network):
    return [str(layer) for layer in network.modules() if isinstance(layer, LAYERS)]


@pytest.mark.parametrize(("name", "letter"), [("vgg-11", "A"), ("vgg-13", "B"), ("vgg-16", "D"), ("vgg-19", "E")])
def test_layout_is_that_of_torchvision_up_to_the_last_pooling(name, letter):
    with torch.device("meta"):
        features = make_layers(cfgs[letter], batch_norm=True)
        own = build(name, classes=10, image_shape=(3, 64, 64))
    assert layers(own) == layers(features)[:-1]


def test_features_are_torchvisions_where_both_pool(varied, transplant):
    torch.manual_seed(0)
    features = varied(make_layers(cfgs["D"], batch_norm=True)[:-1])
    network = build("vgg-16", classes=10, image_shape=(3, 64, 64)).eval()
    transplant(features, network.body)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad(), tap(network, ["body.relu5"]) as taps:
        activations = network.penultimate(images)
        expected = features(images)
    assert expected.std((2, 3)).mean() > 0.1, "what comes out depends on the image"
    torch.testing.assert_close(taps["body.relu5"], expected)
    torch.testing.assert_close(activations, expected.mean((2, 3)))


@pytest.mark.parametrize(
    ("shape", "sides"),
    [
        ((3, 32, 32), [(32, 32), (16, 16), (8, 8), (4, 4), (4, 4)]),
        ((3, 64, 64), [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]),
        ((1, 28, 28), [(28, 28), (14, 14), (7, 7), (7, 7), (7, 7)]),
        ((1, 16, 9), [(16, 9), (8, 4), (8, 4), (8, 4), (8, 4)]),
        ((1, 1, 1), [(1, 1)] * 5),
    ],
)
def test_no_pooling_leaves_fewer_than_four_pixels_a_side(shape, sides):
    with torch.device("meta"):
        network = build("vgg-8", classes=10, image_shape=shape).eval()
        with tap(network, [f"body.block{n}" for n in range(1, 6)]) as taps:
            network(torch.rand(1, *shape))
    assert [tuple(block.shape[2:]) for block in taps.values()] == sides
    assert network.stages == ("body.block2", "body.block3", "body.block4", "body.block5")


def test_each_member_has_more_convolutions_and_parameters_than_the_one_before():
    with torch.device("meta"):
        family = [build(f"vgg-{n}", classes=100, image_shape=(3, 32, 32)) for n in (4, 6, 8, 9, 11, 13, 16, 19)]
    counts = [sum(isinstance(layer, nn.Conv2d) for layer in network.modules()) for network in family]
    assert counts == [3, 4, 5, 6, 8, 10, 13, 16]
    sizes = [sum(p.numel() for p in network.parameters()) for network in family]
    assert sizes == sorted(sizes) and sizes[0] < 400_000


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        # 3x3 convolutions with biases, two numbers a channel of batch norm, one linear layer to 100 classes
        ("vgg-4", 1_920 + 74_112 + 295_680 + 25_700),
        ("vgg-6", 1_920 + 74_112 + 295_680 + 1_181_184 + 51_300),
        ("vgg-9", 1_920 + 74_112 + 295_680 + 590_592 + 1_181_184 + 2_360_832 + 51_300),
        ("vgg-11", 1_920 + 74_112 + 295_680 + 590_592 + 1_181_184 + 3 * 2_360_832 + 51_300),
    ],
)
def test_parameters_are_those_counted_by_hand(name, by_hand):
    with torch.device("meta"):
        network = build(name, classes=100, image_shape=(3, 32, 32))
    assert sum(parameter.numel() for parameter in network.parameters()) == by_hand
    assert isinstance(network.body.pool, nn.AdaptiveAvgPool2d), "global average pooling, and one linear layer"
    assert sum(isinstance(module, nn.Linear) for module in network.modules()) == 1
