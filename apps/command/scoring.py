"""What every evaluation can be told; a kind of score adds flags of its own. Nothing here imports torch."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from apps.command.config import Foreign, Place
from apps.command.ranges import Count, Pixels, Range, Seed


@dataclass(frozen=True)
class Scoring:
    """Score a run."""

    model: tyro.conf.Positional[str]
    """A run; with --data, any MODEL that classifies; with --protocol, also a folder of images, .npz or data set."""
    data: str | None = None
    """Data set whose test images are scored; unset: the one the run was trained on."""
    image_size: Pixels | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as the run was trained."""
    resize: Pixels | None = None
    """Shorter side of a folder's pictures before the centre is cut out, 256 on ImageNet; unset: as the run was trained,
    or the image size."""
    classes: str | None = None
    """Only these of its classes, in this order: names or numbers joined by commas; unset: as trained, or all."""
    samples: Annotated[int, Range(1, most=1_000_000)] = 500
    """Importance samples for each image, where an HVAE's likelihood is scored."""
    images: Count | None = None
    """How many test images to score, the first ones; unset: all."""
    seed: Seed = 0
    """Seed of binarisation and importance samples; with --protocol, of the images drawn and of how they are cut into
    chunks."""
    batch_size: Count = 100
    """Images at a time; another number gives other random numbers for the same seed."""
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Nothing to refuse; what kinds of scores add goes on to here."""
