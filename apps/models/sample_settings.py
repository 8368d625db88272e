"""What drawing images can be told, for all kinds of model. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from apps.command.ranges import Concentration, Count, Range, Seed

COUNT = 8
"""Images a class, or of each picture, where `n` is unset."""


@dataclass(frozen=True)
class SampleSettings:
    """Draw images."""

    run: tyro.conf.Positional[Path]
    """Folder of a finished generator run, or of an inversion's (penult analyse invert)."""
    image: tuple[Path, ...] = ()
    """Of an inversion: pictures of yours, to draw images that its layer cannot tell from them."""
    labels: str | None = None
    """Classes to draw, such as 0-9 or 0,3,7 or cat,dog; unset: all. Not for an unconditional model."""
    n: Count | None = None
    """Images a class, or of each --image; of an unconditional model, images in all; rows of each interpolation that
    draws; unset: 8."""
    seed: Seed = 0
    """Seed of the draws."""
    interpolate: tuple[str, ...] = ()
    """Classes to pass through, such as 1,2 or 1,2,7; several rows by spaces between: 1,2 4,9."""
    between: Literal["centres", "draws"] | None = None
    """Ends of an interpolation: class centres (unset, for HVAE-L), or images drawn as without it; draws alone: HVAE."""
    steps: Annotated[int, Range(2, most=10_000)] | None = None
    """Images from one end of an interpolation to the other, with both; unset: 12."""
    out: Path = Path("samples.png")
    """A picture (grid), a folder (one PNG an image, by class), or an .npz (images, labels, classes); interpolations are
    drawn as a picture."""
    concentration: Concentration | None = None
    """Concentration of the class prior instead of the trained one: larger is more typical and less varied."""
    allow: tuple[str, ...] = ()
    """Of an inversion that was made with import:..., code of your own: the same again, to run it."""
    overwrite: bool = False
    """Whether --out may replace a picture or an .npz."""
    device: Literal["auto", "cpu"] = "auto"
    """auto takes a GPU where there is one."""
