"""Moving a scale from a layer to the next: what is found, what stays, what changes, and what is refused."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from analysis import (
    TwoTrackDecoder,
    discarded_information,
    feature_spread,
    folded_decoder,
    halved_network,
    neighbouring_layers,
    reconstruction_uncertainty,
    rescaled_network,
)
from analysis.discarding.rescaling import output_change
from priors import InputError, tap

CONSTANT = math.log(2 * math.pi * math.e) / 2
IMAGES = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def disturbed(network: nn.Module) -> nn.Module:
    """With weights, biases and statistics of norms that are not those of a fresh one."""
    generator = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d | nn.GroupNorm):
            with torch.no_grad():
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) + 0.5)
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator) * 0.3 + 0.5)
            if hasattr(module, "running_mean"):
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
    return network.double().eval()


def plain(norm: bool) -> nn.Module:
    """Like a small VGG: three convolutions, poolings of two kinds, two linear layers, dropout."""
    torch.manual_seed(0)
    between = (lambda channels: [nn.BatchNorm2d(channels)]) if norm else (lambda channels: [])
    return disturbed(
        nn.Sequential(
            *(nn.Conv2d(2, 4, 3, padding=1), *between(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(nn.Conv2d(4, 6, 3, padding=1), *between(6), nn.LeakyReLU(0.1), nn.AvgPool2d(2)),
            *(nn.Conv2d(6, 6, 3, padding=1, groups=2), *between(6), nn.ReLU(), nn.Dropout()),
            *(nn.Flatten(), nn.Linear(24, 5), nn.LeakyReLU(), nn.Linear(5, 3)),
        )
    )


class Block(nn.Module):
    """A residual block with one ReLU for all, as a function too."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        return functional.relu(self.norm2(self.conv2(inner)) + x)


def residual() -> nn.Module:
    torch.manual_seed(0)
    stem = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
    return disturbed(nn.Sequential(*stem, Block(4), Block(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)))


def legal(network: nn.Module) -> list:
    return [pair for pair in neighbouring_layers(network, IMAGES) if pair.refused is None]


def at(network: nn.Module, site: str):
    """From images to what a network gives there."""

    def features(images: Tensor) -> Tensor:
        with tap(network, [site]) as taps:
            network(images)
        return taps[site]

    return features


@pytest.mark.parametrize("norm", [False, True])
def test_pairs_are_found_by_what_runs_and_the_output_stays(norm):
    network = plain(norm)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = legal(network)
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    norms = [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert [(pair.first, pair.second) for pair in found] == list(zip(layers, layers[1:], strict=False))
    assert [pair.norm for pair in found] == [*(norms or [None] * 3), None]
    assert found[0].sites[-1] == f"{found[0].second}:input" and len(found[0].sites) == 4
    assert found[0].shapes == {site: tuple(at(network, site)(IMAGES).shape[1:]) for site in found[0].sites}
    for pair in found:
        for factor in (4, 0.3):
            revised = rescaled_network(network, pair, IMAGES, factor=factor)
            assert bool((output_change(network, revised, IMAGES) < 1e-13).all())
            for site in pair.sites:
                torch.testing.assert_close(factor * at(revised, site)(IMAGES), at(network, site)(IMAGES))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_inside_a_residual_block_alone():
    network = residual()
    found = neighbouring_layers(network, IMAGES)
    inside = [pair for pair in found if pair.refused is None]
    assert [(pair.first, pair.norm, pair.second) for pair in inside] == [
        (f"{number}.conv1", f"{number}.norm1", f"{number}.conv2") for number in (3, 4)
    ]
    for pair in inside:
        revised = rescaled_network(network, pair, IMAGES, factor=3)
        torch.testing.assert_close(revised(IMAGES), network(IMAGES))
        torch.testing.assert_close(
            3 * at(revised, f"{pair.second}:input")(IMAGES), at(network, f"{pair.second}:input")(IMAGES)
        )
    refused = {pair.first: pair.refused for pair in found if pair.refused is not None}
    assert set(refused) == {"0", "3.conv2", "4.conv2", "7"}
    assert inside[0].sites == ("3.conv2:input",)  # what norm1 gives is written over
    assert refused["3.conv2"] == "it is added to something else in 3 (Block), which then sees it at another scale"
    assert refused["7"] == "it is the network's output, which no layer comes after"
    with pytest.raises(InputError, match=r"0: its scale cannot be moved to the next layer: .* added .* in 3 \(Block\)"):
        rescaled_network(network, found[0], IMAGES)


class Odd(nn.Module):
    """Whatever is given, between a convolution and a linear layer."""

    def __init__(self, between):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.between, self.head = nn.Conv2d(2, 4, 3), between, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self.conv(x)).mean((2, 3)))


class Times(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class Clamped(nn.Module):
    def __init__(self, *limits):
        super().__init__()
        self.limits = limits

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(*self.limits)


class Written(nn.Module):
    """A part of the maps is written over with others."""

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.zeros_like(x) + 1
        maps[:, :2] = x[:, 2:]
        return maps


class Branched(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) - self.other(x)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(self.one(x).relu())


@pytest.mark.parametrize(
    ("between", "said"),
    [
        (nn.GELU(), r"between \(GELU\) computes gelu of it, which lets no scale through"),
        (nn.SiLU(), r"between \(SiLU\) computes silu"),
        (nn.ReLU6(), r"between \(ReLU6\) computes hardtanh"),
        (nn.Sigmoid(), r"between \(Sigmoid\) computes sigmoid"),
        (Times(), r"between \(Times\) computes"),
        (Clamped(0, 1), r"between \(Clamped\) computes clamp"),
        (Clamped(-1), r"between \(Clamped\) computes clamp"),
        (Written(), r"between \(Written\) computes"),
        (nn.InstanceNorm2d(4), r"between \(InstanceNorm2d\) computes"),
        (nn.BatchNorm2d(4, affine=False), r"between \(BatchNorm2d\) computes"),
        (Branched(), "between.one and between.other take it"),
        (Twice(), "the weights of between.one are used 2 times in a pass"),
    ],
)
def test_what_lets_no_scale_through_is_named(between, said):
    network, images = Odd(between).eval(), IMAGES.float()
    pair = neighbouring_layers(network, images)[0]
    assert pair.first == "conv"
    for revise in (rescaled_network, halved_network):
        with pytest.raises(InputError, match=said) as error:
            revise(network, pair, images)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "between",
    [
        *(nn.Identity(), nn.PReLU(4), Clamped(0), nn.GroupNorm(2, 4), nn.Dropout2d(), nn.ZeroPad2d(1)),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4), nn.AdaptiveMaxPool2d(2)),
    ],
)
def test_what_lets_a_scale_through(between):
    network, images = Odd(disturbed(between).float()).eval(), IMAGES.float()
    pair = neighbouring_layers(network, images)[0]
    assert (pair.second, pair.refused) == ("head", None)
    revised = rescaled_network(network, pair, images, factor=2.5)
    torch.testing.assert_close(2.5 * at(revised, "between")(images), at(network, "between")(images))


def test_a_network_that_gives_something_else_is_refused():
    """What a pass cannot know: here it is another network at other images."""

    class Sly(Odd):
        def forward(self, x: Tensor) -> Tensor:
            maps = self.conv(x)
            maps = torch.tanh(maps) if float(x.detach().mean()) > 0.2 else maps
            return self.head(maps.mean((2, 3)))

    network, images = Sly(nn.Identity()).eval(), IMAGES.float()
    pair = neighbouring_layers(network, images * 0.1)[0]
    assert pair.refused is None
    with pytest.raises(InputError, match="conv and head rescaled by 4: the network gives something else"):
        rescaled_network(network, pair, images)


def test_sid_of_linear_features_is_the_closed_form_before_and_after():
    """sigma_i^2 = alpha delta_f^2 / (n s_i), where s and delta_f^2 are 16 times smaller."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(128, 6), nn.Linear(6, 3)).double().eval()
    pair, alpha = legal(network)[0], 2e-4
    expected = None
    for own in (network, rescaled_network(network, pair, IMAGES)):
        squares = own[1].weight.detach().square().sum(0)
        given = {"grid": None, "shared": False, "probes": 6, "alpha": alpha, "cap": 1e3}
        found = discarded_information(own[:2], IMAGES, method="linear", **given)
        closed = (alpha * squares.sum() / (128 * squares)).log() / 2 + CONSTANT
        torch.testing.assert_close(found.entropy[0].flatten(), closed)
        expected = squares if expected is None else expected / 16
        torch.testing.assert_close(squares, expected)


@pytest.mark.parametrize(("make", "factor"), [(lambda: plain(False), 0.7), (lambda: plain(True), 4), (residual, 0.7)])
def test_sid_and_ru_stay_and_gradients_grow_by_the_factor(make, factor):
    network = make()
    for pair in legal(network)[:1]:
        site = f"{pair.second}:input"
        revised = rescaled_network(network, pair, IMAGES, factor=factor)
        before, after = at(network, site), at(revised, site)
        for given in (
            {"method": "linear", "probes": 4, "check": 4},
            {"steps": 3, "samples": 2, "check": 4, "probes": 4},
        ):
            found = [discarded_information(own, IMAGES, grid=4, **given) for own in (before, after)]
            torch.testing.assert_close(found[0].entropy, found[1].entropy, atol=1e-7, rtol=0)
        assert feature_spread(after, IMAGES).mean * factor**2 == pytest.approx(feature_spread(before, IMAGES).mean)
        torch.manual_seed(0)
        decoder = TwoTrackDecoder((2, 8, 8), before(IMAGES).shape[1:], width=3).double().eval()
        given = {"grid": 4, "steps": 2, "samples": 2, "measured": 4, "probes": 4}
        own = reconstruction_uncertainty(before, decoder, IMAGES, **given)
        folded = reconstruction_uncertainty(after, folded_decoder(decoder, 1 / factor), IMAGES, **given)
        torch.testing.assert_close(own.entropy, folded.entropy, atol=1e-7, rtol=0)
        slopes = []
        for one in (network, revised):
            with tap(one, [site]) as taps:
                logits = one(IMAGES)
            (slope,) = torch.autograd.grad(logits[:, 0].sum(), taps[site])
            slopes.append(slope)
        assert bool((slopes[0] != 0).any())
        torch.testing.assert_close(slopes[1], factor * slopes[0])


@pytest.mark.parametrize("make", [lambda: plain(False), lambda: plain(True), residual])
def test_halving_half_of_the_filters_changes_sid(make):
    network = make()
    for pair in legal(network):
        site, shape = pair.sites[0], pair.shapes[pair.sites[0]]
        half = halved_network(network, pair, IMAGES)
        scales = torch.tensor([0.5, 1.0] * shape[0])[: shape[0]].view(-1, *[1] * (len(shape) - 1))
        torch.testing.assert_close(at(half, site)(IMAGES), at(network, site)(IMAGES) * scales)
        assert bool((output_change(network, half, IMAGES) > 1e-4).all())
        doubled = halved_network(network, pair, IMAGES, compensated=True)
        torch.testing.assert_close(doubled(IMAGES), network(IMAGES))
        found = []
        for own in (network, half, doubled):
            given = {"method": "linear", "grid": 4, "delta": "image", "probes": 8, "check": 4}
            found.append(discarded_information(at(own, f"{pair.second}:input"), IMAGES, **given).entropy)
        assert float((found[0] - found[1]).abs().max()) > 1e-2
        torch.testing.assert_close(found[1], found[2])
    own = halved_network(network, pair, IMAGES, filters=[1])
    torch.testing.assert_close(at(own, site)(IMAGES)[:, 0], at(network, site)(IMAGES)[:, 0])


def test_transposed_convolutions_are_halved_by_their_outputs():
    torch.manual_seed(0)
    first, second = nn.ConvTranspose2d(2, 4, 3, groups=2), nn.ConvTranspose2d(4, 6, 2, groups=2)
    network = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Conv2d(6, 1, 1)).double().eval()
    for pair in legal(network):
        own = halved_network(network, pair, IMAGES)
        scales = torch.tensor([0.5, 1.0] * 3)[: pair.shapes[pair.first][0], None, None]
        torch.testing.assert_close(at(own, pair.first)(IMAGES), at(network, pair.first)(IMAGES) * scales)
        torch.testing.assert_close(halved_network(network, pair, IMAGES, compensated=True)(IMAGES), network(IMAGES))


def test_bad_input_is_one_line():
    network = plain(True)
    pair = legal(network)[0]
    for call, said in (
        (lambda: rescaled_network(network, pair, IMAGES, factor=0), "factor is 0"),
        (lambda: rescaled_network(network, pair, IMAGES, factor=float("nan")), "factor is nan"),
        (lambda: halved_network(network, pair, IMAGES, filters=[4]), "numbers from 0 to 3"),
        (lambda: halved_network(network, pair, IMAGES, filters=[]), "numbers from 0 to 3"),
        (lambda: neighbouring_layers(network, IMAGES[:0]), "one tensor"),
        (lambda: neighbouring_layers(network, IMAGES.half()), "float32 or float64"),
        (lambda: neighbouring_layers(network, IMAGES[:, :1]), "cannot take images of shape"),
    ):
        with pytest.raises(InputError, match=said) as error:
            call()
        assert "\n" not in str(error.value)
