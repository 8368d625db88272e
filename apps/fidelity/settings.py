"""What evaluations of generated images can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from apps.command.scoring import Scoring
from priors.errors import InputError


@dataclass(frozen=True)
class FidelityScoring(Scoring):
    """Score generated images against real ones."""

    protocol: str | None = None
    """How many generated images to score: fid-5k, fid-5k-partial, fid-50k or fid-all; unset: none are."""
    against: str | None = None
    """Real images to compare with: a data set, an .npz or a folder; unset: what the run was trained on."""
    split: Literal["train", "test"] = "train"
    """With --protocol: whether the real images are those of the training or of the test split."""
    extractor: str | None = None
    """A classifier whose penultimate activations (logits for IS) are compared, or torch-fidelity:NAME[:LAYER], such as
    torch-fidelity:dinov2-vit-b-14 or torch-fidelity:clip-vit-b-32; unset: Inception's features are."""
    inception_weights: Path | None = None
    """torch-fidelity's file of Inception weights; unset: its own, downloaded on first use."""

    def __post_init__(self):
        """Refuse what says how images are compared where none are."""
        super().__post_init__()
        for flag, value in (
            ("--against", self.against),
            ("--extractor", self.extractor),
            ("--inception-weights", self.inception_weights),
        ):
            if value is not None and self.protocol is None:
                raise InputError(f"{flag} {value} scores generated images: give --protocol, such as fid-5k")


@dataclass(frozen=True)
class GanScoring(Scoring):
    """Score how a classifier does on generated images, or trained on them."""

    classify_by: str | None = None
    """A classifier of real images, to be tested on generated ones, as many of each class as the test set has."""
    gan_train: bool = False
    """Whether to train another like --classify-by on generated images as well, as many of each class as the training
    set has, and test it on real ones."""

    def __post_init__(self):
        """Refuse to train a classifier like none."""
        super().__post_init__()
        if self.gan_train and self.classify_by is None:
            raise InputError("--gan-train trains a classifier like another one: name that by --classify-by RUN")
