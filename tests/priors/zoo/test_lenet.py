"""The classifiers of the appendix: what each tap is, and the numbers of weights counted by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from priors.errors import InputError
from priors.reading.taps import tap
from priors.zoo import build

TAPS = ["body.conv1", "body.conv2", "body.fc3", "head"]


def make(name, shape, classes=10, **options):
    torch.manual_seed(0)
    return build(name, classes=classes, image_shape=shape, mean=0.2, std=0.3, **options)


def weights(inputs, outputs, area=1):
    """Of a layer with biases."""
    return inputs * outputs * area + outputs


@pytest.mark.parametrize(
    ("name", "shape", "counted"),
    [
        # 28 -> 24 -> 12 -> 8 -> 4; 32 -> 28 -> 14 -> 10 -> 5; 40 -> 36 -> 18 -> 14 -> 7 pixels a side.
        ("lenet-32-32", (1, 28, 28), 832 + 25_632 + weights(32 * 4 * 4, 256) + 2_570),
        ("lenet-64-128", (3, 32, 32), weights(3, 64, 25) + weights(64, 128, 25) + weights(128 * 5 * 5, 256) + 2_570),
        ("lenet-32-32", (1, 40, 40), 832 + 25_632 + weights(32 * 7 * 7, 256) + 2_570),
        ("lenet-32-32-global", (1, 40, 40), 832 + 25_632 + weights(32, 256) + 2_570),
        ("lenet-fc", (1, 40, 40), weights(1600, 2048) + weights(2048, 2048) + weights(2048, 256) + 2_570),
    ],
)
def test_weights_are_as_many_as_the_appendix_has(name, shape, counted):
    with torch.device("meta"):
        network = make(name, shape)
    assert sum(p.numel() for p in network.parameters()) == counted
    assert (
        counted
        == {
            ("lenet-32-32", 28): 160_362,
            ("lenet-64-128", 32): 1_031_818,
            ("lenet-32-32", 40): 430_698,
            ("lenet-32-32-global", 40): 37_482,
            ("lenet-fc", 40): 8_002_314,
        }[name, shape[1]]
    )


@pytest.mark.parametrize("name", ["lenet-32-32", "lenet-64-128", "lenet-32-32-global"])
def test_taps_are_the_layers_that_the_paper_inverts(name):
    """Also while dropout is on, which comes after each of them."""
    network = make(name, (3, 33, 29)).train()
    images = torch.rand(2, 3, 33, 29)
    kept = network.state_dict()
    given = {site: [] for site in ("body.conv2", "body.fc3", "head")}
    for site in given:
        network.get_submodule(site).register_forward_pre_hook(lambda _, args, s=site: given[s].append(args[0]))
    with tap(network, TAPS) as taps:
        logits = network(images)
    (into2,), (into3,), (into_head,) = given.values()
    first = F.conv2d((images - 0.2) / 0.3, kept["body.conv1.convolution.weight"], kept["body.conv1.convolution.bias"])
    torch.testing.assert_close(taps["body.conv1"], F.max_pool2d(first.relu(), 2))
    second = F.conv2d(into2, kept["body.conv2.convolution.weight"], kept["body.conv2.convolution.bias"])
    torch.testing.assert_close(taps["body.conv2"], F.max_pool2d(second.relu(), 2))
    third = F.linear(into3, kept["body.fc3.linear.weight"], kept["body.fc3.linear.bias"])
    torch.testing.assert_close(taps["body.fc3"], third.relu())
    torch.testing.assert_close(taps["head"], F.linear(into_head, kept["head.weight"], kept["head.bias"]))
    assert torch.equal(taps["head"], logits)
    # Dropout at its default rate: each unit is zero or twice what the tap holds.
    for tapped, following in (("body.conv1", into2), ("body.fc3", into_head)):
        dropped = (following == 0) & (taps[tapped] > 0)
        assert dropped.any() and torch.equal(following, torch.where(dropped, 0.0, 2 * taps[tapped]))


@pytest.mark.parametrize(("name", "flat"), [("lenet-32-32", 32 * 7 * 7), ("lenet-32-32-global", 32)])
def test_global_pooling_keeps_the_largest_value_of_each_channel(name, flat):
    network = make(name, (1, 40, 40)).eval()
    with tap(network, [*TAPS, "body.fc3:input", "head:input"]) as taps:
        network(torch.rand(3, 1, 40, 40))
    maps = taps["body.conv2"]
    assert taps["body.conv1"].shape == (3, 32, 18, 18) and maps.shape == (3, 32, 7, 7)
    expected = maps.flatten(2).max(2).values if flat == 32 else maps.flatten(1)
    assert expected.shape == (3, flat) and torch.equal(taps["body.fc3:input"], expected)
    assert torch.equal(taps["head:input"], taps["body.fc3"]) and (taps["body.fc3"] >= 0).all()


def test_a_shift_by_the_stride_moves_the_maps_and_leaves_the_globally_pooled_ones():
    """What the variant is for: with black around a digit, CONV2 moves with it, and FC3 does not change."""
    network = make("lenet-32-32-global", (1, 40, 40)).eval()
    images = torch.full((1, 1, 40, 40), 0.2)  # black after normalisation
    images[:, :, 12:20, 12:20] = torch.rand(8, 8)
    moved = images.roll((8, 4), (2, 3))
    with torch.no_grad():
        torch.testing.assert_close(network.penultimate(moved), network.penultimate(images))
        plain = make("lenet-32-32", (1, 40, 40)).eval()
        assert (plain.penultimate(moved) - plain.penultimate(images)).abs().max() > 1e-3


def test_the_fully_connected_one_written_out():
    network = make("lenet-fc", (1, 9, 11), hidden=20).eval()
    images = torch.rand(4, 1, 9, 11)
    with tap(network, ["body.fc1", "body.fc2", "body.fc3"]) as taps:
        logits = network(images)
    x, kept = ((images - 0.2) / 0.3).flatten(1), network.state_dict()
    for number, units in ((1, 20), (2, 20), (3, 256)):
        x = F.linear(x, kept[f"body.fc{number}.linear.weight"], kept[f"body.fc{number}.linear.bias"]).relu()
        assert x.shape == (4, units)
        torch.testing.assert_close(taps[f"body.fc{number}"], x)
    torch.testing.assert_close(logits, F.linear(x, kept["head.weight"], kept["head.bias"]))


@pytest.mark.parametrize("name", ["lenet-32-32", "lenet-64-128", "lenet-32-32-global", "lenet-fc"])
def test_dropout_is_an_option(name):
    for options, rate in (({}, 0.5), ({"dropout": 0.2}, 0.2), ({"dropout": 0.0}, 0.0)):
        network = make(name, (1, 16, 16), **options)
        assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [rate] * 3
        assert network.architecture["options"] == options


@pytest.mark.parametrize(
    ("name", "shape", "options", "said"),
    [
        ("lenet-32-32", (1, 15, 40), {}, "images of 15x40 pixels are too small .* 16x16 are needed at least"),
        ("lenet-64-128", (3, 8, 8), {}, "images of 8x8 pixels"),
        ("lenet-32-32", (1, 28, 28), {"dropout": 1.0}, r"dropout is 1.0: a rate in \[0, 1\)"),
        ("lenet-fc", (1, 28, 28), {"dropout": -0.1}, "dropout is -0.1"),
        ("lenet-fc", (1, 28, 28), {"hidden": 0}, "hidden is 0: a positive number"),
        ("lenet-32-32", (1, 28, 28), {"droput": 0.1}, "unknown option .* did you mean 'dropout'"),
    ],
)
def test_what_does_not_suit_is_said_in_one_line(name, shape, options, said):
    with pytest.raises(InputError, match=said) as error:
        make(name, shape, **options)
    assert "\n" not in str(error.value)
    make("lenet-32-32", (1, 16, 16))
