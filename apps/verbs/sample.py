"""Draw images from a trained generator: a grid, a folder of pictures, or one .npz; the run's folder is all it needs.

Each picture depends on the seed, its class and its number alone, not on how many are drawn with it. With --interpolate
it draws the way from one class to another: HVAE-L along great circles, HVAE-C by its class code at a fixed z.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

_COUNT = 8
"""Images a class where --n does not say."""


@dataclass(frozen=True)
class Config:
    """Draw images."""

    run: tyro.conf.Positional[Path]
    """Folder of a finished generator run, or of an inversion's (penult analyse invert)."""
    image: tuple[Path, ...] = ()
    """Of an inversion: pictures of yours, to draw images that its layer cannot tell from them."""
    labels: str | None = None
    """Classes to draw, such as 0-9 or 0,3,7 or cat,dog; unset: all. Not for an unconditional model."""
    n: int | None = None
    """Images a class, or of each --image; of an unconditional model, images in all; rows of each interpolation that
    draws; unset: 8."""
    seed: int = 0
    """Seed of the draws."""
    interpolate: tuple[str, ...] = ()
    """Classes to pass through, such as 1,2 or 1,2,7; several rows by spaces between: 1,2 4,9."""
    between: Literal["centres", "draws"] | None = None
    """Ends of an interpolation: class centres (unset, for HVAE-L), or images drawn as without it; draws alone: HVAE."""
    steps: int | None = None
    """Images from one end of an interpolation to the other, with both; unset: 12."""
    out: Path = Path("samples.png")
    """A picture (grid), a folder (one PNG an image, by class), or an .npz (images, labels, classes); interpolations are
    drawn as a picture."""
    concentration: float | None = None
    """Concentration of the class prior instead of the trained one: larger is more typical and less varied."""
    allow: tuple[str, ...] = ()
    """Of an inversion that was made with import:..., code of your own: the same again, to run it."""
    overwrite: bool = False
    """Whether --out may replace a picture or an .npz."""
    device: Literal["auto", "cpu"] = "auto"
    """auto takes a GPU where there is one."""


def main(config: Config) -> None:
    """Draw and write."""
    import torch

    from apps.command.console import say
    from apps.generators.sampling import parse_labels, write
    from apps.models.imported import allow
    from apps.models.named import INVERSIONS, generator_run, kind_of, open_run
    from priors.errors import InputError

    if config.n is not None and config.n < 1:
        raise InputError(f"--n {config.n}: expected 1 or more")
    kappa = config.concentration
    if kappa is not None and not 0 <= kappa < float("inf"):
        raise InputError(f"--concentration {kappa}: expected a finite number of 0 or more")
    torch.set_num_threads(1)  # blocks of small networks: a second thread costs more than it brings
    device = "cuda" if config.device == "auto" and torch.cuda.is_available() else "cpu"
    for code in config.allow:
        allow(code)
    if kind_of(open_run(config.run)) in INVERSIONS:
        say(f"{_invert(config, device):,} images in {config.out}")
        return
    if config.image:
        raise InputError(
            f"--image {config.image[0]}: {config.run} is a generator, which looks at no picture; leave it out"
        )
    model = generator_run(config.run).to(device)
    if config.interpolate or config.between or config.steps is not None:
        say(f"{_interpolate(config, model):,} images in {config.out}")
        return
    if model.conditional:
        labels = parse_labels(config.labels, model.class_names)
    elif config.labels is not None:
        raise InputError(
            f"{config.run} is an unconditional {model.title}: leave out --labels; --n is then the number of images"
        )
    else:
        labels = None
    count = write(model, labels, config.n or _COUNT, config.seed, config.out, kappa, config.overwrite)
    say(f"{count:,} {'image' if count == 1 else 'images'} in {config.out}")


def _interpolate(config: Config, model) -> int:
    """Draw the ways between classes; returns the number of images."""
    from apps.generators.hyperspherical_vae import HypersphericalVAE
    from apps.generators.interpolation import write
    from priors.errors import InputError

    if not isinstance(model, HypersphericalVAE):
        raise InputError(
            f"{config.run} is an {model.title}: interpolations are for autoencoders (HVAE, HVAE-C, HVAE-L); leave out "
            "--interpolate, --between and --steps"
        )
    if config.labels is not None:
        raise InputError(
            f"--labels {config.labels} with an interpolation: --interpolate names its classes; leave one out"
        )
    return write(
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


def _invert(config: Config, device: str) -> int:
    """Draw images with the same representations as pictures, a row a picture; returns how many."""
    import torch

    from analysis.inversion.reconstruction import UpConvolution
    from apps.figures import PICTURE_SUFFIXES, grid
    from apps.inverting.inverted import inverted_run
    from apps.inverting.picture import read_picture
    from apps.runs.outputs import check_file
    from priors.errors import InputError

    for flag, value in (
        ("--labels", config.labels),
        ("--interpolate", " ".join(config.interpolate)),
        ("--between", config.between),
        ("--steps", config.steps),
        ("--concentration", config.concentration),
    ):
        if value not in (None, ""):
            raise InputError(f"{flag} {value}: {config.run} inverts a network, and knows no classes; leave it out")
    inverted = inverted_run(config.run)
    if isinstance(inverted.model, UpConvolution):
        raise InputError(
            f"{config.run} is a least-squares decoder, which has one image for each: give the density's run"
        )
    if inverted.representation is None and config.image:
        raise InputError(f"--image {config.image[0]}: {config.run} is a density without context; leave it out")
    if inverted.representation is not None and not config.image:
        raise InputError(f"{config.run} draws what {inverted.title} cannot tell from a picture: give --image FILE")
    count, shape = config.n or _COUNT, inverted.model.image_shape
    # Without a context nothing is looked at but how many rows there are.
    pictures = [read_picture(path, shape) for path in config.image] or [torch.zeros(shape)]
    check_file(config.out, PICTURE_SUFFIXES, config.overwrite)
    images = torch.stack(pictures).to(device)
    draws = inverted.to(device).draw(images, count, config.seed)
    names = [path.stem for path in config.image] or None
    panel = draws if names is None else torch.cat([images[:, None], draws], 1)
    grid(config.out, [panel], ["" if names is None else f"picture, then samples given its {inverted.title}"], names)
    return draws.shape[0] * count
