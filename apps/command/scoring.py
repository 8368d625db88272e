"""What every evaluation can be told; a kind of score adds flags of its own. Nothing here imports torch."""

from dataclasses import dataclass, field

import tyro

from apps.command.config import Foreign, Place
from priors.errors import InputError


@dataclass(frozen=True)
class Scoring:
    """Score a run."""

    model: tyro.conf.Positional[str]
    """A run; with --data, any MODEL that classifies; with --protocol, also a folder of images, an .npz, a data set."""
    data: str | None = None
    """Data set; unset: the one the run was trained on."""
    image_size: int | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as the run was trained."""
    samples: int = 500
    """Importance samples an image, of a generator."""
    images: int | None = None
    """Score the first this many test images only; unset: all."""
    seed: int = 0
    """Seed of binarisation and samples; of generated images, of what is drawn and of the cut into chunks."""
    batch_size: int = 100
    """Images at a time; part of what the seed means."""
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse what no image has."""
        for flag, value in (
            ("--samples", self.samples),
            ("--batch-size", self.batch_size),
            ("--images", self.images),
            ("--image-size", self.image_size),
        ):
            if value is not None and value < 1:
                raise InputError(f"{flag} {value}: expected 1 or more")
