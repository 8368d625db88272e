"""How images of an inversion's run are drawn: what its layer cannot tell from a picture."""

import torch

from analysis.inversion.reconstruction import UpConvolution
from apps.data.picture import read_picture
from apps.figures import PICTURE_SUFFIXES, grid
from apps.inverting.inverted import Inverted, inverted_run
from apps.models.sample_settings import COUNT, SampleSettings
from apps.runs.outputs import check_file
from priors.errors import InputError


def sample(config: SampleSettings, device: torch.device) -> int:
    """Draw images with the same representations as pictures, a row a picture; returns how many.

    Raises:
        InputError: settings that do not go with the inversion, no picture, or a place that cannot be written.
    """
    for flag, value in (
        ("--labels", config.labels),
        ("--interpolate", " ".join(config.interpolate)),
        ("--between", config.between),
        ("--steps", config.steps),
        ("--concentration", config.concentration),
        ("--truncation", config.truncation),
    ):
        if value not in (None, ""):
            raise InputError(f"{flag} {value}: {config.run} inverts a network, and knows no classes; leave it out")
    inverted = inverted_run(config.run)
    _check(config, inverted)
    count, shape = config.n or COUNT, inverted.model.image_shape
    # Without a context nothing is looked at but how many rows there are.
    pictures = [read_picture(path, shape) for path in config.image] or [torch.zeros(shape)]
    check_file(config.out, PICTURE_SUFFIXES, config.overwrite)
    images = torch.stack(pictures).to(device)
    draws = inverted.to(device).draw(images, count, config.seed)
    names = [path.stem for path in config.image] or None
    panel = draws if names is None else torch.cat([images[:, None], draws], 1)
    grid(config.out, [panel], ["" if names is None else f"picture, then samples given its {inverted.title}"], names)
    return draws.shape[0] * count


def _check(config: SampleSettings, inverted: Inverted) -> None:
    """Whether pictures were given where there is a context, and only there."""
    if isinstance(inverted.model, UpConvolution):
        raise InputError(
            f"{config.run} is a least-squares decoder, which has one image for each: give the density's run"
        )
    if inverted.representation is None and config.image:
        raise InputError(f"--image {config.image[0]}: {config.run} is a density without context; leave it out")
    if inverted.representation is not None and not config.image:
        raise InputError(f"{config.run} draws what {inverted.title} cannot tell from a picture: give --image FILE")
