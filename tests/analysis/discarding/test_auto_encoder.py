"""An auto-encoder of a classifier's layers: written out, its gradients, and what cannot be one."""

import copy
import re

import pytest
import torch
from torch import nn

from analysis import AutoEncoder
from priors.errors import InputError
from priors.reading.taps import tap
from priors.zoo import build, wrap

SHAPE = (3, 16, 16)


def classifier(name="resnet-20", shape=SHAPE, **options):
    torch.manual_seed(0)
    return build(name, classes=4, image_shape=shape, mean=(0.4, 0.5, 0.6)[: shape[0]], std=(0.2,) * shape[0], **options)


def images(count=3, shape=SHAPE):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("code", ["maps", "pooled"])
def test_it_is_the_classifiers_layers_and_the_decoder_one_after_the_other(code):
    network = classifier().eval()
    twin = copy.deepcopy(network)
    model = AutoEncoder.of(network, code=code, width=4).eval()
    x = images()
    with torch.no_grad(), tap(twin, ["body.relu3", "body.group2"]) as taps, tap(model, ["encoder.group2"]) as own:
        pooled = twin.penultimate(x)
        expected = taps["body.relu3"] if code == "maps" else pooled
        torch.testing.assert_close(model.encode(x), expected)
        torch.testing.assert_close(model(x), model.decoder(expected))
    assert expected.shape[1:] == ((64, 4, 4) if code == "maps" else (64,)) == model.decoder.feature_shape
    torch.testing.assert_close(own["encoder.group2"], taps["body.group2"])
    assert model.stages == ("encoder.group1", "encoder.group2", "encoder.group3") and model.ends == {"code": "encoder"}
    assert model(x).shape == x.shape
    precise = AutoEncoder.of(twin.double(), code=code, width=4).eval()
    assert precise(x.double()).dtype == torch.float64 and precise(x.double()).shape == x.shape


def test_a_resnet_20s_has_the_parameters_of_both_parts():
    with torch.device("meta"):
        model = AutoEncoder.of(build("resnet-20", classes=10, image_shape=(3, 32, 32)))
    # the classifier of 100 classes has 278,324, of which its final layer has 6,500
    assert sum(one.numel() for one in model.encoder.parameters()) == 278_324 - 6_500
    assert model.decoder.feature_shape == (64, 8, 8) and model.decoder.doublings == 2
    # by hand: what brings 64 maps to 64, two blocks that double maps, four that do not, what gives the image
    plain, doubling, norm = 64 * 64 * 9, 64 * 64 * 16, 2 * 64
    by_hand = plain + norm + 2 * (2 * doubling + plain + 3 * norm) + 4 * (3 * plain + 3 * norm) + 64 * 3 * 9
    assert sum(one.numel() for one in model.decoder.parameters()) == by_hand


@pytest.mark.parametrize("code", ["maps", "pooled"])
def test_gradients_reach_all_of_encoder_and_decoder(code):
    model, x = AutoEncoder.of(classifier(), code=code, width=4), images(8)
    (model(x) - x).square().mean().backward()
    assert not [name for name, one in model.named_parameters() if one.grad is None or not one.grad.abs().max() > 0]


def test_least_squares_make_it_better_than_the_mean_image():
    """40 updates of 16 plain colours: the error falls below half of what the best single image has."""
    model = AutoEncoder.of(classifier("resnet-8x4", (3, 8, 8)), width=16)
    x = torch.rand(16, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(16, 3, 8, 8)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        loss = (model(x) - x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < (x - x.mean(0)).square().mean().item() / 2


def test_weights_and_normalisation_come_from_the_classifier():
    network = classifier()
    model = AutoEncoder.of(network, width=2)
    own, theirs = model.encoder.state_dict(), network.body.state_dict()
    assert set(own) == set(theirs) and all(torch.equal(own[name], theirs[name]) for name in own)
    assert torch.equal(model.mean, network.mean) and torch.equal(model.std, network.std)
    assert model.architecture["encoder"] == network.architecture and model.architecture["code"] == "maps"


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (lambda: classifier(), "map", "unknown code 'map': did you mean 'maps'"),
        (lambda: classifier("mlp"), "maps", 'mlp makes no maps of images of .16, 16. pixels: give the code "pooled"'),
        (
            lambda: classifier("torchvision:resnet18", (3, 32, 32)),
            "maps",
            "torchvision:resnet18 is no chain of modules",
        ),
        (lambda: wrap(nn.Sequential(nn.Flatten(), nn.Linear(9, 2))), "maps", "no network of priors.zoo.build"),
    ],
)
def test_what_cannot_be_one_is_said_in_one_line(make, code, said):
    with pytest.raises(InputError) as refused:
        AutoEncoder.of(make(), code=code)
    assert re.search(said, str(refused.value)) and "\n" not in str(refused.value), str(refused.value)


def test_images_of_another_size_are_refused():
    with pytest.raises(InputError, match="images are 3 x 8 x 8 .*takes 3 x 16 x 16"):
        AutoEncoder.of(classifier(), width=2)(torch.rand(2, 3, 8, 8))
