"""What the whole path can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field

import tyro

from apps.command.config import Place
from priors.errors import InputError


@dataclass(frozen=True)
class WholePath:
    """Show the whole path."""

    data: str = "digits"
    """Data set: digits, mnist, or another of small grey pictures."""
    latent_dim: int = 5
    """d: the latents lie on S^d in R^(d+1)."""
    concentration: float = 20.0
    """Concentration of the classifier's prior."""
    epochs: float | None = None
    """Epochs of each generator; unset: enough for the data set's size."""
    samples: int = 500
    """Importance samples an image, for the likelihoods."""
    seed: int = 0
    """Seed of everything random."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse before the first training what would stop the third."""
        for flag, value, fine, expected in (
            ("--latent-dim", self.latent_dim, self.latent_dim >= 1, "1 or more"),
            ("--concentration", self.concentration, 0 <= self.concentration < float("inf"), "a finite number from 0"),
            ("--samples", self.samples, self.samples >= 1, "1 or more"),
        ):
            if not fine:
                raise InputError(f"{flag} {value}: expected {expected}")
