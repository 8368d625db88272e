"""What the training of a classifier can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field
from typing import Literal

import tyro

from apps.command.config import Data, Optimisation, Where


@dataclass(frozen=True)
class ClassifierTraining:
    """Train a classifier."""

    data: tyro.conf.OmitArgPrefixes[Data] = field(default_factory=Data)
    train_images: int | None = None
    """Images to train on, as many of each class, of those that --validation leaves; epochs are of these; unset: all."""
    arch: str = "mlp"
    """Architecture: a name of `penult ls classifiers`, or torchvision:NAME."""
    penultimate: int | None = None
    """Width of the penultimate layer; unset: the architecture's own."""
    head_bias: bool = True
    """Whether the final layer has a bias."""
    dropout: float | None = None
    """Dropout rate, of architectures that have one; unset: the architecture's own."""
    augment: Literal["auto", "none", "flip", "crop", "crop+flip"] = "auto"
    """Random crops with 4 pixels of padding, and flips; auto: what is usual for the data set."""
    crop_fill: Literal["black", "mean"] = "black"
    """What a crop's padding holds."""
    label_smoothing: float = 0.0
    """Weight of the uniform distribution in the targets."""
    optimisation: tyro.conf.OmitArgPrefixes[Optimisation] = field(
        default_factory=lambda: Optimisation(schedule="cosine")
    )
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)
