"""What training an auto-encoder can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field
from typing import Literal

import tyro

from apps.command.config import Data, Optimisation, Where
from apps.command.ranges import Width
from apps.data.sources.catalogue import Augment


@dataclass(frozen=True)
class AutoEncoderTraining:
    """Train an auto-encoder."""

    data: tyro.conf.OmitArgPrefixes[Data] = field(default_factory=Data)
    arch: str = "resnet-20"
    """Architecture of the encoder, all of it before its final layer: a name of `penult ls classifiers`,
    torchvision:NAME[:WEIGHTS] or timm:NAME[:TAG]."""
    code: Literal["maps", "pooled"] = "maps"
    """What is decoded: maps, the last ones before they are pooled; pooled, the vector that the final layer would be
    given, in which little of an image can be kept."""
    decoder_width: Width = 64
    """Channels of the decoder's six blocks, the one by which reconstruction uncertainty is measured."""
    augment: Augment = "auto"
    """Random flips, and crops with 4 pixels of padding, or of 8 to 100 % of the image, brought to its size
    (resized-crop); auto: what is usual for the data set."""
    crop_fill: Literal["black", "mean", "reflect"] = "black"
    """What a crop's padding holds: black, the mean colour, or the image mirrored at its edges."""
    optimisation: tyro.conf.OmitArgPrefixes[Optimisation] = field(
        default_factory=lambda: Optimisation(schedule="cosine")
    )
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)
