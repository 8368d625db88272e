"""Narrow convolutions in the place of a network's own, against networks written out and sums by hand."""

import json
import re

import pytest
import torch
from torch import nn

from priors.errors import InputError
from priors.reading.taps import tap
from priors.zoo import build, load, save
from priors.zoo.narrowing import narrow_body

SHAPE = (3, 32, 32)


def narrowed(name, layer, shape=SHAPE, **options):
    return build(name, classes=10, image_shape=shape, narrow=layer, **options)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


VGG_8 = 1_920 + 74_112 + 295_680 + 1_181_184 + 2_360_832 + 5_130
"""3x3 convolutions with biases, two numbers a channel of batch norm, one linear layer to 10 classes."""
VGG_16 = VGG_8 + 37_056 + 147_840 + 2 * 590_592 - 295_680 + 295_680 + 4 * 2_360_832 - 590_592 + 590_592
NARROW = 4 * 512 * 49 + 4 + 2 * 4
"""4 filters of 7 x 7 x 512 and their batch norm."""


@pytest.mark.parametrize(
    ("name", "layer", "by_hand"),
    [
        # the last: a head of 4 inputs; the second last: a convolution of 4 inputs after it
        ("vgg-8", "block5.0", VGG_8 - 2_360_832 - 5_120 + NARROW + 4 * 10),
        ("vgg-8", "body.block4.0", VGG_8 - 1_181_184 - 512 * 512 * 9 + 4 * 256 * 49 + 12 + 512 * 4 * 9),
        ("vgg-16", "block5.6", VGG_16 - 2_360_832 - 5_120 + NARROW + 4 * 10),
        ("vgg-16", "block5.3", VGG_16 - 2_360_832 - 512 * 512 * 9 + NARROW + 512 * 4 * 9),
        ("vgg-19", "block5.9", VGG_16 + 590_592 + 2 * 2_360_832 - 2_360_832 - 5_120 + NARROW + 4 * 10),
    ],
)
def test_parameters_are_those_counted_by_hand(name, layer, by_hand):
    with torch.device("meta"):
        assert count(build("vgg-16", classes=10, image_shape=SHAPE)) == VGG_16
        network = narrowed(name, layer)
    assert count(network) == by_hand


@pytest.mark.parametrize(("variant", "last", "second_last"), [("vgg16", 28, 26), ("vgg19", 34, 32)])
def test_torchvisions_vggs_are_narrowed_with_their_linear_layers(variant, last, second_last):
    from torchvision import models

    with torch.device("meta"):
        whole = models.get_model(variant, num_classes=10)
        networks = [narrowed(f"torchvision:{variant}", f"features.{at}", (3, 224, 224)) for at in (last, second_last)]
        with tap(networks[0].eval(), [f"body.features.{last}", "penultimate"][:1]) as taps:
            assert networks[0](torch.rand(2, 3, 224, 224)).shape == (2, 10)
    convolution = 512 * 512 * 9 + 512
    assert taps[f"body.features.{last}"].shape == (2, 4, 14, 14)
    assert [str(network.body.features[at]) for network, at in zip(networks, (last, second_last), strict=True)] == [
        "Conv2d(512, 4, kernel_size=(7, 7), stride=(1, 1), padding=(3, 3))"
    ] * 2
    linear = 49 * 4096 * (512 - 4)
    assert count(whole) - count(networks[0]) == convolution - (4 * 512 * 49 + 4) + linear
    assert count(whole) - count(networks[1]) == convolution - (4 * 512 * 49 + 4) + 508 * 512 * 9
    assert networks[0].body.classifier[0].in_features == 4 * 49 and networks[0].head.in_features == 4096


def test_outputs_are_those_of_the_same_network_written_out(varied, transplant):
    """The whole of vgg-8 with 3 filters of 5 x 5 in the place of block 4's convolution, as one would write it."""

    def block(inputs, outputs, kernel=3):
        return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.BatchNorm2d(outputs), nn.ReLU()]

    plain = nn.Sequential(
        *[*block(3, 64), nn.MaxPool2d(2), *block(64, 128), nn.MaxPool2d(2), *block(128, 256), nn.MaxPool2d(2)],
        *[*block(256, 3, 5), *block(3, 512), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)],
    )
    torch.manual_seed(0)
    network = narrowed("vgg-8", "block4.0", narrow_filters=3, narrow_kernel=5).eval()
    varied(plain)
    names = [name for name in network.state_dict() if name not in ("mean", "std")]
    given = dict(zip(names, plain.state_dict().values(), strict=True))
    network.load_state_dict(given | {name: getattr(network, name) for name in ("mean", "std")})
    images = torch.rand(4, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(network(images), plain(images))
        assert plain(images).std(0).max() > 1e-3, "what comes out depends on the image"


def test_all_other_weights_are_those_of_the_whole_network():
    networks = []
    for layer in (None, "block5.0"):
        torch.manual_seed(3)
        networks.append(build("vgg-8", classes=10, image_shape=SHAPE, narrow=layer))
    whole, damaged = (dict(network.state_dict()) for network in networks)
    changed = {name.rpartition(".")[0] for name in whole if whole[name].shape != damaged[name].shape}
    assert changed == {"body.block5.0", "body.block5.1", "head"}
    others = [name for name in whole if name.rpartition(".")[0] not in changed]
    assert len(others) == 4 * 7 + 2 and all(torch.equal(whole[name], damaged[name]) for name in others)


def test_what_the_new_layers_give_starts_as_large_as_what_they_are_given():
    """By the fan-out, 4 filters of 7 x 7 x 512 would give maps of sixteen times the root mean square."""
    torch.manual_seed(0)
    network = narrowed("vgg-8", "block5.0")
    layer = network.body.block5[0]
    # 100,352 draws: their variance has a relative standard error of 0.45 %, and 3 % are more than six of these.
    assert layer.weight.var().item() * layer.weight[0].numel() == pytest.approx(2, rel=0.03) and not layer.bias.any()


def test_a_step_of_training_reaches_the_new_layers():
    torch.manual_seed(0)
    network = narrowed("vgg-8", "block4.0", (1, 8, 8))
    before = {name: value.clone() for name, value in network.named_parameters()}
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    nn.functional.cross_entropy(network(torch.rand(8, 1, 8, 8)), torch.arange(8)).backward()
    optimiser.step()
    moved = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert {"body.block4.0.weight", "body.block5.0.weight", "head.weight"} <= moved


@pytest.mark.parametrize(
    ("name", "layer", "options"),
    [
        ("vgg-8", "block5.0", {"narrow_filters": 2, "narrow_kernel": 3, "penultimate": 3}),
        ("resnet-20", "group2.2.conv1", {"narrow_filters": 1}),
    ],
)
def test_a_saved_network_is_read_again(name, layer, options, tmp_path):
    torch.manual_seed(0)
    network = narrowed(name, layer, (1, 8, 8), **options).eval()
    save(network, tmp_path)
    again, images = load(tmp_path), torch.rand(3, 1, 8, 8)
    assert again.architecture == network.architecture and again.architecture["narrow"] == f"body.{layer}"
    with torch.no_grad():
        assert torch.equal(again(images), network(images))


def test_a_network_whose_layer_was_larger_than_all_that_is_left_is_read_again(tmp_path):
    """Of torchvision's alexnet at this width, the layer that reads the last convolution has most of the weights."""
    save(narrowed("torchvision:alexnet", "features.10", (3, 64, 64), narrow_filters=1), tmp_path)
    assert load(tmp_path).body.classifier[1].in_features == 36


def test_whole_networks_are_described_as_before():
    assert not [key for key in build("vgg-8", classes=10, image_shape=SHAPE).architecture if "narrow" in key]


class Joined(nn.Module):
    """Maps of two branches, one beside the other, as DenseNets and Inception have them; or two that share a layer."""

    def __init__(self, shared=False):
        super().__init__()
        self.shared, self.left, self.right = shared, nn.Conv2d(1, 5, 3, padding=1), nn.Conv2d(1, 5, 3, padding=1)
        self.norm, self.last = nn.BatchNorm2d(5 if shared else 10), nn.Linear(10 * 16, 3)

    def forward(self, x):
        left, right = self.left(x), self.right(x)
        maps = [self.norm(left), self.norm(right)] if self.shared else [self.norm(torch.cat([left, right], 1))]
        return self.last(torch.cat(maps, 1).flatten(1))


def test_joined_maps_are_followed_to_all_that_reads_them():
    body = Joined()
    assert narrow_body("joined", body, "left", 2, 5, (1, 4, 4)) == ("body.left", 3)
    assert [body.left.weight.shape, body.norm.num_features] == [(2, 1, 5, 5), 7]
    assert body.last.weight.shape == (3, 7 * 16) and body(torch.rand(2, 1, 4, 4)).shape == (2, 3)
    with pytest.raises(
        InputError, match="left of joined cannot be .* channels are needed .norm reads them, it runs se"
    ):
        narrow_body("joined", Joined(shared=True), "left", 2, 5, (1, 4, 4))


@pytest.mark.parametrize(
    ("name", "layer", "options", "said"),
    [
        (
            "vgg-8",
            "blok5.0",
            {},
            r"unknown convolution of vgg-8 'blok5.0': did you mean 'block5.0'\? \(known: block1.0",
        ),
        ("vgg-16", "block5", {}, "block5 of vgg-16 is a Sequential: a convolution was expected; .* is block5.6"),
        ("vgg-16", "block5.7", {}, "block5.7 of vgg-16 is a BatchNorm2d: a convolution was expected; .* block5.[0-9]"),
        ("vgg-8", "", {}, "unknown convolution of vgg-8 ''"),
        ("mlp", "conv1", {}, r"unknown convolution of mlp 'conv1' \(none exist\)"),
        ("resnet-20", "group1.0.conv2", {}, "all of its 16 channels are needed .group1.0, a _Block, says: "),
        ("resnet-20", "group1.0.conv2", {"narrow_filters": 1}, "all of its 16 channels are needed"),
        ("mobilenet-v2", "group1.0.conv1", {}, "needed .group1.0.conv2 reads them, a convolution in groups"),
        ("vgg-8", "block5.0", {"narrow_filters": 513}, "narrow_filters is 513: body.block5.0 of vgg-8 has 512"),
        ("vgg-8", "block5.0", {"narrow_filters": 0}, "narrow_filters is 0: a whole number of at least 1"),
        ("vgg-8", "block5.0", {"narrow_kernel": 6}, "narrow_kernel is 6: an odd number"),
        ("vgg-8", "none", {"narrow": None, "narrow_filters": 2}, "narrow says of which layer; give it too"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(name, layer, options, said):
    with torch.device("meta"):
        with pytest.raises(InputError) as refused:
            build(name, **{"classes": 10, "image_shape": SHAPE, "narrow": layer} | options)
    assert re.search(said, str(refused.value)) and "\n" not in str(refused.value), str(refused.value)


def test_a_damaged_description_is_refused_in_one_line(tmp_path):
    save(narrowed("vgg-8", "block5.0", (1, 8, 8)), tmp_path)
    path = tmp_path / "model.json"
    description = json.loads(path.read_text())
    description["architecture"]["narrow"] = "block5.9"
    path.write_text(json.dumps(description))
    with pytest.raises(InputError, match="different classifiers"):
        load(tmp_path)
