"""What the whole path can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field, fields

import tyro

from apps.command.config import Place
from apps.command.ranges import Concentration, Count, Epochs, Seed, Width
from priors.errors import InputError


@dataclass(frozen=True)
class WholePath:
    """Show the whole path."""

    tour: bool = False
    """Go through five papers' ideas on digits instead, one picture each: prior, generator, distillation, inversion,
    spectrum, saliency and what is discarded; on one page, RUNS/tour.html. It takes --epochs, --seed and places."""
    data: str = "digits"
    """Data set: digits, mnist, or another of small grey pictures."""
    latent_dim: Width = 5
    """d: the latents lie on S^d in R^(d+1)."""
    concentration: Concentration = 20.0
    """Concentration of the classifier's prior."""
    epochs: Epochs | None = None
    """Epochs of each generator, and with --tour of each training; unset: enough for the data set's size."""
    samples: Count = 500
    """Importance samples an image, for the likelihoods."""
    seed: Seed = 0
    """Seed of everything random."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse what the tour does not take."""
        if not self.tour:
            return
        own = {part.name: (getattr(self, part.name), part.default) for part in fields(self)}
        given = [
            f"--{name.replace('_', '-')} {own[name][0]}"
            for name in ("data", "latent_dim", "concentration", "samples")
            if own[name][0] != own[name][1]
        ]
        if given:
            raise InputError(f"{', '.join(given)} with --tour, which is made for digits and has its own: leave it out")
