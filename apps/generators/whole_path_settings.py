"""What the whole path can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field

import tyro

from apps.command.config import Place
from apps.command.ranges import Concentration, Count, Epochs, Seed, Width


@dataclass(frozen=True)
class WholePath:
    """Show the whole path."""

    data: str = "digits"
    """Data set: digits, mnist, or another of small grey pictures."""
    latent_dim: Width = 5
    """d: the latents lie on S^d in R^(d+1)."""
    concentration: Concentration = 20.0
    """Concentration of the classifier's prior."""
    epochs: Epochs | None = None
    """Epochs of each generator; unset: enough for the data set's size."""
    samples: Count = 500
    """Importance samples an image, for the likelihoods."""
    seed: Seed = 0
    """Seed of everything random."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)
