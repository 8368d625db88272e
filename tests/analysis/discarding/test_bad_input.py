"""What cannot be looked into is said in one line, before any work is done."""

import pytest
import torch
from torch import nn

from analysis import discarded_information, feature_spread, linear_entropy, pixel_sensitivity
from priors import InputError

pytestmark = pytest.mark.usefixtures("as_a_user")
IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def plain(images):
    return images * 2


OPTIONS = {
    "smaller than the grid of 16x16": {},
    "smaller than the grid of 4x9": {"grid": (4, 9)},
    "grid is 0": {"grid": 0},
    "grid is 'full'": {"grid": "full"},
    "grid is 1.5": {"grid": 1.5},
    "alpha is 0": {"grid": 2, "alpha": 0},
    "alpha is -0.5": {"grid": 2, "alpha": -0.5},
    "alpha is inf": {"grid": 2, "alpha": float("inf")},
    "alpha is 'much'": {"grid": 2, "alpha": "much"},
    "cap is 0": {"grid": 2, "cap": 0},
    "probes is 0": {"grid": 2, "probes": 0},
    "probes is 1.5": {"grid": 2, "probes": 1.5},
    "samples is 0": {"grid": 2, "samples": 0},
    "steps is -1": {"grid": 2, "steps": -1},
    "check is 1: a whole number of at least 2": {"grid": 2, "check": 1},
    "unknown method 'solved'": {"grid": 2, "method": "solved"},
    "unknown delta 'images': did you mean 'image'": {"grid": 2, "delta": "images"},
    "delta is -1": {"grid": 2, "delta": -1},
    "delta is of shape": {"grid": 2, "delta": torch.ones(3)},
    "index is torch.float32": {"grid": 2, "index": torch.ones(2)},
    "index is torch.int64 of shape": {"grid": 2, "index": [1, 2, 3]},
    "deviation is": {"grid": 2, "deviation": (1.0, 2.0)},
    "deviation is .*0.0": {"grid": 2, "deviation": 0.0},
}


@pytest.mark.parametrize("said", OPTIONS)
def test_options_that_cannot_be(said):
    with pytest.raises(InputError, match=said) as error:
        discarded_information(plain, IMAGES, **({"method": "linear"} | OPTIONS[said]))
    assert "\n" not in str(error.value)


def training(images):
    return nn.functional.dropout(images, 0.5, training=True)


def beside(images):
    return images - images.mean(0, keepdim=True)


FUNCTIONS = {
    "no slope at any image": lambda images: images * 0,
    "do not depend on the images": lambda images: torch.ones(len(images), 3),
    "do not depend on the images, as far": lambda images: images.detach(),
    "of one image: features": lambda images: [images],
    "gives a tensor of shape .* of one image": lambda images: images.sum(),
    "there is nothing in them": lambda images: images[..., :0],
    "gives torch.float16": lambda images: images.half(),
    "of two images and": lambda images: images.sum(0, keepdim=True),
    "evaluation mode was expected": training,
    "beside another image": beside,
    "all images are not finite": lambda images: images * torch.inf,
}


@pytest.mark.parametrize("said", FUNCTIONS)
def test_functions_that_cannot_be_looked_into(said):
    with pytest.raises(InputError, match=said) as error:
        discarded_information(FUNCTIONS[said], IMAGES, grid=2, method="linear")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (IMAGES[0], "shape"),
        (IMAGES[:0], "shape"),
        ((IMAGES * 255).byte(), "divide bytes by 255"),
        (IMAGES.half(), "float32 or float64"),
        (IMAGES / 0, "not finite"),
        ([IMAGES], "one tensor"),
    ],
)
def test_images_that_cannot_be_looked_into(images, said):
    for call in (discarded_information, pixel_sensitivity):
        with pytest.raises(InputError, match=said):
            call(plain, images, grid=2)


def test_the_parts_alone_say_the_same():
    with pytest.raises(InputError, match="smaller than the grid"):
        pixel_sensitivity(plain, IMAGES)
    with pytest.raises(InputError, match="samples is 0"):
        feature_spread(plain, IMAGES, samples=0)
    with pytest.raises(InputError, match="tau is 0"):
        feature_spread(plain, IMAGES, tau=0)
    with pytest.raises(InputError, match="no images"):
        feature_spread(plain, [])
    found = pixel_sensitivity(plain, IMAGES, grid=2)
    with pytest.raises(InputError, match="alpha is 0"):
        linear_entropy(found, alpha=0)
    with pytest.raises(InputError, match="delta is 0"):
        linear_entropy(found, delta=0)
    network = nn.Sequential(nn.Conv2d(3, 2, 3)).half()
    with pytest.raises(InputError, match="weights of the network are"):
        pixel_sensitivity(network, IMAGES, grid=2)


def test_a_network_in_training_mode_is_found_out_and_one_in_evaluation_mode_is_left_as_it_was():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.SiLU())
    with pytest.raises(InputError, match="evaluation mode"):
        pixel_sensitivity(network, IMAGES, grid=2)
    with torch.inference_mode():
        found = pixel_sensitivity(network.eval(), IMAGES.clone(), grid=2)
    assert found.value.shape == (2, 1, 2, 2) and bool((found.value > 0).all())
    assert all(one.requires_grad and one.grad is None for one in network.parameters())
