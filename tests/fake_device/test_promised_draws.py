"""What is promised by a seed is the same on a GPU as on a CPU, whose generators draw differently."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from fake_cuda import Away
from small_generators import GENERATORS, sngan
from torch import Tensor

from apps.data.image_set import ImageSet
from apps.data.sweep import sweep
from apps.generators.hvae_training import HVAETraining
from apps.generators.latents import Gaussian
from apps.generators.likelihood import likelihood
from apps.generators.sngan_training import standing_statistics
from apps.models.drawing import draw

LIKELIHOODS = [name for name in GENERATORS if name.startswith("hvae")]


def here_and_there(fake, call, model):
    """What a call gives with a model on the CPU, and with a copy of it on the fake device."""
    other, found = deepcopy(model), []
    found.append(call(model, "cpu"))
    with fake:
        there = call(other.to("cuda"), "cuda")
        found.append([one.held if isinstance(one, Away) else one for one in there])
    for one, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-5)
    return found[0]


def pictures(device) -> ImageSet:
    pixels = torch.randint(256, (20, 1, 2, 2), dtype=torch.uint8, generator=torch.Generator("cpu").manual_seed(1))
    return ImageSet("made-up", "test", pixels, torch.arange(20) % 3, ("cat", "dog", "emu")).to(device)


def test_the_generators_draw_differently(fake):
    with fake:
        drawn = [torch.rand(3, generator=torch.Generator(one).manual_seed(5), device=one) for one in ("cpu", "cuda")]
        assert drawn[0].tolist() != drawn[1].tolist()


@pytest.mark.parametrize("name", GENERATORS)
def test_images(fake, name):
    images = here_and_there(fake, lambda model, device: list(draw(model, 1, 3, 7)), GENERATORS[name]())
    assert images[0].shape[0] == 3


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods(fake, name):
    def scored(model, device):
        found = likelihood(model, pictures(device), partial(sweep, device=device, progress=False), 3, 11)
        return [torch.tensor(list(mean.value for mean in found.named.values()))]

    here_and_there(fake, scored, GENERATORS[name]())


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_validations(fake, name):
    def validated(model, device):
        own = partial(sweep, device=device, progress=False)
        return [torch.tensor(list(HVAETraining(model, 5, pictures(device)).validate(model, own, 0).values()))]

    here_and_there(fake, validated, GENERATORS[name]())


def test_standing_statistics(fake):
    def averaged(model, device) -> list[Tensor]:
        standing_statistics(model, 2, 4, 3)
        return [buffer for buffer in model.buffers() if buffer.is_floating_point()]

    here_and_there(fake, averaged, sngan(Gaussian(5)))
