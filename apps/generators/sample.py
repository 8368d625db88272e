"""How images of a generator's run are drawn: by class, or on the way from class to class."""

import torch

from apps.generators import interpolation, sampling
from apps.generators.hyperspherical_vae import HypersphericalVAE
from apps.generators.sngan import SNGAN
from apps.models.generator import Generator
from apps.models.named import generator_run
from apps.models.sample_settings import COUNT, SampleSettings
from priors.errors import InputError


def sample(config: SampleSettings, device: torch.device) -> int:
    """Draw and write; returns how many images.

    Raises:
        InputError: settings that do not go together or with the generator, or a place that cannot be written.
    """
    if config.image:
        raise InputError(
            f"--image {config.image[0]}: {config.run} is a generator, which looks at no picture; leave it out"
        )
    model = generator_run(config.run).to(device)
    if config.truncation is not None:
        if not isinstance(model, SNGAN):
            raise InputError(
                f"--truncation {config.truncation:g}: it is for an SNGAN, and {config.run} is an {model.title}: leave "
                "it out"
            )
        model.latent = model.latent.truncated(config.truncation)
    if config.interpolate or config.between or config.steps is not None:
        return _interpolate(config, model)
    labels, count = _labels(config, model), config.n or COUNT
    return sampling.write(model, labels, count, config.seed, config.out, config.concentration, config.overwrite)


def _labels(config: SampleSettings, model: Generator) -> list[int] | None:
    """The classes to draw; None of an unconditional model."""
    if model.conditional:
        return sampling.parse_labels(config.labels, model.class_names)
    if config.labels is not None:
        raise InputError(
            f"{config.run} is an unconditional {model.title}: leave out --labels; --n is then the number of images"
        )
    return None


def _interpolate(config: SampleSettings, model: Generator) -> int:
    """Draw the ways between classes; returns the number of images."""
    if not isinstance(model, HypersphericalVAE):
        raise InputError(
            f"{config.run} is an {model.title}: interpolations are for autoencoders (HVAE, HVAE-C, HVAE-L); leave out "
            "--interpolate, --between and --steps"
        )
    if config.labels is not None:
        raise InputError(
            f"--labels {config.labels} with an interpolation: --interpolate names its classes; leave one out"
        )
    return interpolation.write(
        model,
        config.run,
        config.interpolate,
        config.between,
        config.n,
        config.steps,
        config.seed,
        config.out,
        config.concentration,
        config.overwrite,
    )
