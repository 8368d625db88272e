"""What measuring robustness can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from apps.command.config import Place, Unsaid
from apps.command.ranges import Count, Pixels, Range, Seed


@dataclass(frozen=True)
class RobustnessMeasuring:
    """Measure robustness."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    data: str | None = None
    """Data set whose test images are changed; unset: the one the run was trained on."""
    image_size: Pixels | None = None
    """Height and width to bring pictures to, in pixels; unset: as trained, or the network's own."""
    classes: str | None = None
    """Only these of its classes, in this order: names or numbers joined by commas; unset: as trained, or all."""
    resize: Pixels | None = None
    """Shorter side of a picture before the centre is cut out, 256 on ImageNet; unset: the image size."""
    images: Count = 64
    """How many test images to change, the first ones."""
    wrong: Count = 20
    """Classes that each image is changed towards: its most probable wrong ones; all, where there are no more."""
    departure: Annotated[Literal["label", "prediction"], tyro.conf.arg(name="from")] = "label"
    """What is not wrong: the image's label, since the paper says incorrect categories; or what the network predicts,
    which needs no labels. A wrong class that is predicted already takes no change: it counts as 0."""
    method: Literal["pgd", "ddn"] = "pgd"
    """How the smallest change is looked for: pgd, penult's own, by projected gradients with the radius bisected; ddn
    (Rony et al. 2019), by Foolbox (the extra robustness)."""
    steps: Annotated[int, Range(10, most=100_000)] = 100
    """Gradients that the search takes for each image and class."""
    seed: Seed = 0
    """Seed of ddn's directions where there is no slope."""
    out: Path | None = None
    """Folder for the picture, norms and numbers; unset: the run's folder, or none where there is no run."""
    foreign: tyro.conf.OmitArgPrefixes[Unsaid] = field(default_factory=Unsaid)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)
