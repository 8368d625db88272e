"""What drawing images can be told, for all kinds of model. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from apps.command.ranges import Code, Concentration, Count, Device, Range, Seed, Threads

COUNT = 8
"""Images a class, or of each picture, where `n` is unset."""


@dataclass(frozen=True)
class SampleSettings:
    """Draw images."""

    run: tyro.conf.Positional[Path]
    """Folder of a finished generator run, or of an inversion's (penult analyse invert); or pretrained:NAME, such as
    pretrained:mnist-hvae-l."""
    image: tuple[Path, ...] = ()
    """For an inversion's run: pictures of yours; it draws images that its layer cannot tell from them."""
    labels: str | None = None
    """Classes to draw, such as 0-9 or 0,3,7 or cat,dog; unset: all. Not for an unconditional model."""
    n: Count | None = None
    """How many images to draw, 1 or more: of each class, or of each --image, or in all where the model has no
    classes; with --interpolate, how many rows; unset: 8, and 1 row between centres."""
    seed: Seed = 0
    """Seed of the draws."""
    interpolate: tuple[str, ...] = ()
    """Classes to pass through, such as 1,2 or 1,2,7; spaces begin another way: 1,2 4,9."""
    between: Literal["centres", "draws"] | None = None
    """What an interpolation runs between: the centres of the classes, or images drawn of them; unset: the centres. For
    an HVAE-L; an HVAE has no classes, and takes draws without --interpolate."""
    steps: Annotated[int, Range(2, most=10_000)] | None = None
    """Images from one class of an interpolation to the next, both ends counted, 2 or more; unset: 12."""
    out: Path = Path("samples.png")
    """A picture (grid), a folder (one PNG an image, by class), or an .npz (images, labels, classes); interpolations are
    drawn as a picture."""
    concentration: Concentration | None = None
    """Concentration of the class prior instead of the trained one: larger is more typical and less varied."""
    truncation: Annotated[float, Range(above=0, most=100)] | None = None
    """Largest absolute value of an SNGAN's Gaussian latents, such as 0.5 (Brock et al. 2019): smaller is more typical
    and less varied; unset: they are not cut off."""
    allow: tuple[Code, ...] = ()
    """import:... that the run was made with: the same text again, which allows that code of yours to be run."""
    overwrite: bool = False
    """Whether --out may replace a picture or an .npz."""
    device: Device = "auto"
    """What computes: cpu, cuda, cuda:1, xpu; auto takes a GPU where there is one."""
    threads: Threads | None = None
    """CPU threads; unset: 1, since blocks of small networks gain nothing by more."""
