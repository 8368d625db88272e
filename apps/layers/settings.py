"""What a sheet of layers can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from apps.command.config import Place, Unsaid
from apps.command.pictures import OWN, PictureObjects, PictureSizes
from apps.command.ranges import FromZero, Range, Seed
from apps.layers.lenses import every_lens, lenses
from priors.errors import InputError

_EACH = "; ".join(f"{name}: {lens.what}" for name, lens in every_lens().items())
_LENSES = f"Lenses to look through; {_EACH}; unset: all but those that say so"


@dataclass(frozen=True)
class LayerSettings:
    """Look at layers."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    taps: tuple[str, ...] = ()
    """Layers: names of modules, penultimate or logits; unset: those of the paper that inverts networks (conv1, conv2,
    fc3, logits) where the network has them, or else its stages, penultimate and logits."""
    lenses: Annotated[tuple[str, ...], tyro.conf.arg(help=_LENSES)] = ()
    against: tuple[str, ...] = ()
    """Other MODELs to look at, on the same images: each at its own layers, where --taps names none."""
    data: str | None = None
    """Data set whose test images are shown to the network, or any folder of pictures; unset: the one the run was
    trained on."""
    images: Annotated[int, Range(4, most=1_000_000_000)] = 200
    """How many images to take, the first ones."""
    objects: tyro.conf.OmitArgPrefixes[PictureObjects] = field(default_factory=PictureObjects)
    sizes: tyro.conf.OmitArgPrefixes[PictureSizes] = field(default_factory=PictureSizes)
    shown: FromZero = 4
    """Images whose maps are drawn, the first ones, by the lenses that have maps (sid, iba); 0: none are."""
    level: Annotated[float, Range(above=0, below=1)] = 0.95
    """Confidence of the intervals of how far lenses agree."""
    draws: Annotated[int, Range(100, most=1_000_000)] = 2000
    """Draws of the bootstrap over images that these take."""
    seed: Seed = 0
    """Seed of those, and of what lenses draw."""
    out: Path | None = None
    """Folder for pictures and numbers; unset: the run's, and nothing is written where there is no run. Pictures of an
    earlier time are replaced."""
    foreign: tyro.conf.OmitArgPrefixes[Unsaid] = field(default_factory=Unsaid)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse names that there are none of, and what is given twice."""
        lenses(self.lenses)
        for flag, given in (("--taps", self.taps), ("--lenses", self.lenses), ("--against", self.against)):
            if twice := [name for at, name in enumerate(given) if name in given[:at]]:
                raise InputError(f"{flag} {twice[0]} is given twice: leave one out")
        self.objects.check_one()
        if self.objects.by_name and not (self.data and Path(self.data).is_dir()):
            raise InputError(
                f"{self.objects.by_name}: masks and boxes are found by the names of pictures: give a folder of these "
                f"by --data, or {self.objects.by_name} {OWN} where --data brings them"
            )
        if self.model in self.against:
            raise InputError(f"--against {self.model} is the MODEL itself: leave it out")
