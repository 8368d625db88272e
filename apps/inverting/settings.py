"""What inverting a network's layers can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from apps.command.config import Foreign, Optimisation, Place, Where, added
from apps.command.ranges import Count, Deviation, Few, FromZero, LogEvery, Mean, Pixels, Range
from apps.inverting.protocol import Decoder, Density


def _protocol() -> Optimisation:
    """PixelCNN++'s Adam and average; the average is shorter where the training is short."""
    return Optimisation(epochs=50.0, schedule="cosine", ema=0.9995, patience=10)


@dataclass(frozen=True)
class InvertSettings:
    """Invert a classifier's layers."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    taps: str = "auto"
    """Layers, from the input on, such as conv1,conv2,fc3,logits: names of modules, penultimate, logits, or none for a
    density without context; auto: the paper's four, or else the network's stages, penultimate and logits."""
    data: str | None = None
    """Data set to train and score on; unset: the one the run was trained on."""
    image_size: Pixels | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as the run was trained."""
    classes: str | None = added(None, before=None)
    """Only these of its classes, in this order: names or numbers joined by commas; unset: as trained, or all."""
    validation: FromZero | None = None
    """Training images held out to choose checkpoints by; unset: a twelfth."""
    test_images: Annotated[int, Range(2, most=1_000_000_000)] | None = None
    """Test images that are scored, the first ones; unset: all."""
    density: tyro.conf.OmitArgPrefixes[Density] = field(default_factory=Density)
    decoder: tyro.conf.OmitArgPrefixes[Decoder] = field(default_factory=Decoder)
    shown: FromZero = 8
    """Test images shown in the sheet of samples, the first ones; 0: no sheet is drawn."""
    n: Few = 3
    """How many samples to draw given each image that is shown, 1 or more."""
    distances: FromZero = 0
    """Test images whose samples are compared with their nearest training images in the representation (table 1; the
    paper has 500); 0: none."""
    closest: str | None = None
    """Layer, such as fc3, for which the closest of --draws samples and of the training images are drawn (figure 2)."""
    draws: Annotated[int, Range(6, most=1_000_000)] = 1024
    """How many samples of each image --closest chooses from, 6 or more."""
    estimates: bool = False
    """Whether to print other estimates of the information as well: by noise, by binning, by nearest neighbours."""
    snapshots: bool = False
    """Whether each snapshot of the run (penult train classifier --snapshots) is inverted as well (figure 5b)."""
    overfit: FromZero = 0
    """Training images of a second network, which is trained as the run was, but on these alone and without dropout or
    augmentation, and inverted beside it (figure 5b has 100); 0: none."""
    against: tuple[Path, ...] = ()
    """Runs of other densities, such as runs/other-inverted-fc3, whose NCE of the same images is compared."""
    out: Path | None = None
    """Folder for pictures and numbers; unset: RUNS/NAME. Pictures of an earlier time are replaced."""
    mean: tuple[Mean, ...] = ()
    """For a MODEL of your own: the mean that it expects subtracted from pixels in [0, 1], one number or one for each
    channel; unset: 0."""
    std: tuple[Deviation, ...] = ()
    """Likewise the standard deviation that it expects pixels divided by; unset: 1."""
    head: str | None = None
    """Likewise the name of its final linear layer, where it cannot be told."""
    optimisation: tyro.conf.OmitArgPrefixes[Optimisation] = field(default_factory=_protocol)
    name: str | None = None
    """Name of the folder and, with a layer's, of each run; unset: that of the MODEL, and -inverted."""
    plan: bool = False
    """Whether to print what the first training would take, by some updates of it, and stop: nothing is written."""
    compile: bool = False
    """Whether to compile networks and losses, which makes a long training faster and its first step slow; the numbers
    differ by rounding."""
    checkpoint_every: Count | None = None
    """Steps between checkpoints; unset: validations alone write some."""
    log_every: LogEvery = 50
    """Steps between entries of metrics.jsonl."""
    tracker: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Trackers to log to as well, where installed."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    @property
    def asked_layers(self) -> list[str]:
        """Names in --taps; none where that is auto."""
        return [part.strip() for part in self.taps.split(",") if part.strip()] if self.taps != "auto" else []

    @property
    def foreign(self) -> Foreign:
        """What the MODEL does not say itself."""
        return Foreign(self.mean, self.std, self.head)

    def where(self, name: str) -> Where:
        """Of a training run called `name`."""
        told = {"checkpoint_every": self.checkpoint_every, "log_every": self.log_every, "tracker": self.tracker}
        return replace(self.place.where(name), plan=self.plan, compile=self.compile, **told)
