"""A generator of each kind, of three classes, before any training."""

import torch

from apps.generators.hvae import HVAE, HVAEC, HVAEL
from apps.generators.latents import Gaussian, UniformSphere, VonMisesFisherLatent
from apps.generators.learnt_prior import HVAEM
from apps.generators.sngan import SNGAN
from apps.generators.sngan_presets import architecture
from priors import ClassifierPrior

NAMES = ("cat", "dog", "emu")


def prior() -> ClassifierPrior:
    """Of three axes."""
    return ClassifierPrior.from_weight(torch.eye(3, 5), 50.0, class_names=NAMES)


def sngan(latent, preset: str = "mimicry") -> SNGAN:
    """A narrow one, of images of 8 x 8."""
    torch.manual_seed(0)
    sizes = architecture(preset, (1, 8, 8), generator_width=4, discriminator_width=2)
    return SNGAN(sizes, NAMES, latent).eval()


GENERATORS = {
    "hvae": lambda: HVAE((1, 2, 2), 5, NAMES, (4,)).eval(),
    "hvae-c": lambda: HVAEC((1, 2, 2), 5, NAMES, (4,)).eval(),
    "hvae-l": lambda: HVAEL((1, 2, 2), 5, NAMES, (4,), prior=prior()).eval(),
    "hvae-m": lambda: HVAEM((1, 2, 2), 5, NAMES, (4,), prior=prior()).eval(),
    "hvae-l of a heavy tail": lambda: HVAEL(
        (1, 2, 2), 5, NAMES, (4,), prior=prior(), posterior="spherical-cauchy"
    ).eval(),
    "sngan": lambda: sngan(Gaussian(5)),
    "sngan of a sphere": lambda: sngan(UniformSphere(5)),
    "sngan of a prior": lambda: sngan(VonMisesFisherLatent(prior())),
    "biggan": lambda: sngan(Gaussian(6), "biggan"),
}
"""By name, what makes one in evaluation mode."""
