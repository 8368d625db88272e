"""What measuring discarded information can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from apps.command.config import Optimisation, Place, Unsaid, Where
from apps.command.pictures import OWN, PictureObjects, PictureSizes
from apps.command.ranges import Count, FromZero, LogEvery, Range, Width
from priors.errors import InputError, unknown

METRICS = ("sid", "ru", "concentration")
"""What can be measured of a layer."""
AUTO = "auto"
"""The --taps of a network's own stages."""


@dataclass(frozen=True)
class Noise:
    """How much noise features take: the constraint, and how it is met."""

    alpha: Annotated[float, Range(above=0, most=1e6)] = 1.5e-4
    """How far noise may move a layer's features, in parts of delta_f^2; the paper's. In squared units of --unit."""
    delta: str = "dataset"
    """delta_f^2: dataset, its mean over the images, as the paper has it; image, each one's own, as its authors' code
    has it; or a number."""
    tau: Annotated[float, Range(above=0, most=1e3)] | None = None
    """Deviation of the noise that delta_f^2 is measured by; unset: the limit, by slopes. The authors' code has 0.01."""
    unit: Literal["pixel", "normalised"] = "pixel"
    """Unit of noise and entropies: pixel values from 0 to 1, or what the network makes of these by its deviations, as
    the authors' code has it."""
    grid: FromZero = 16
    """Cells along each side of an image that share a scale of noise, as the authors have it; 0: each pixel is one."""
    shared: bool = True
    """Whether all channels of a pixel share a scale of noise."""
    cap: Annotated[float, Range(above=0, most=1e3)] = 1.0
    """The largest scale of noise: what features hang little on, or not at all, has none of its own."""
    method: Literal["solve", "linear"] = "solve"
    """solve: sid meets the constraint as it is, by a search that starts at the closed form; linear: it stops there,
    taking features to be linear within the noise, which is faster."""
    probes: Annotated[int, Range(1, most=100_000)] = 16
    """Slopes an image by which delta_f^2 and the closed form are found."""
    sid_steps: Annotated[int, Range(1, most=100_000)] = 60
    """Steps of that search; more for a cell a pixel, and for features of few values."""
    sid_samples: Annotated[int, Range(1, most=10_000)] = 8
    """Noisy images a step."""
    sid_check: Annotated[int, Range(2, most=100_000)] = 64
    """Noisy images by which sid's constraint is met in the end, and what was achieved is measured."""

    def __post_init__(self):
        """Refuse a delta that is none."""
        if self.delta in ("dataset", "image"):
            return
        try:
            value = float(self.delta)
        except ValueError:
            raise unknown("delta", self.delta, ["dataset", "image"], "or give a number") from None
        if not 0 < value < float("inf"):
            raise InputError(f"--delta {self.delta}: dataset, image or a number above 0 was expected")
        if self.tau is not None:
            raise InputError(f"--tau {self.tau} with --delta {self.delta}, which is not measured: leave one out")


@dataclass(frozen=True)
class Uncertainty:
    """How uncertain reconstructions are."""

    centre: Literal["image", "reconstruction"] = "image"
    """What errors of reconstructions are taken from: the image, or what the decoder makes of it without noise."""
    variant: Literal["paper", "authors"] = "paper"
    """paper: the logarithm of the mean squared error; authors: the mean of its logarithm, as their code has it."""
    ru_steps: Annotated[int, Range(0, most=100_000)] = 60
    """Steps in which the noise is found that makes reconstructions most uncertain; 0: that of sid's closed form."""
    ru_samples: Annotated[int, Range(2, most=10_000)] = 4
    """Noisy images a step, an even number."""
    ru_measured: Annotated[int, Range(4, most=100_000)] = 32
    """Noisy images that ru is measured by in the end, an even number."""

    def __post_init__(self):
        """Refuse what does not come in pairs."""
        for flag, count in {"--ru-samples": self.ru_samples, "--ru-measured": self.ru_measured}.items():
            if count % 2:
                raise InputError(f"{flag} {count}: an even number was expected, as noise comes in opposite pairs")


@dataclass(frozen=True)
class Decoding:
    """What decoders are, one a layer."""

    decoder_width: Width = 64
    """Channels of the decoder's six blocks, as the authors have it; fewer are faster, and do not compare with it."""
    decoder_images: Count | None = None
    """Training images that decoders see, drawn at random; unset: all."""


def _protocol() -> Optimisation:
    """The paper's decoders: Adam, five epochs. The rate falls to 0, so that batch norm's statistics come to rest."""
    return Optimisation(epochs=5.0, lr=0.01, schedule="cosine")


@dataclass(frozen=True)
class DiscardSettings:
    """Measure what layers discard."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help; or a run of an auto-encoder."""
    taps: tuple[str, ...] = (AUTO,)
    """Layers: names of modules, penultimate or logits, or an auto-encoder's code; auto: the network's stages, and
    these."""
    metrics: tuple[str, ...] = ()
    """Of sid (strict information discarding), ru (reconstruction uncertainty, for which a decoder a layer is trained)
    and concentration, which takes --masks or --boxes, or else the boxes that --data brings; unset: sid, and
    concentration where these are given."""
    images: str | None = None
    """How many test images to take, the first ones, or a folder of pictures, with which masks and boxes may go; unset:
    64."""
    data: str | None = None
    """Data set: its test images are measured, and decoders see its training images; unset: the one the run was trained
    on."""
    sizes: tyro.conf.OmitArgPrefixes[PictureSizes] = field(default_factory=PictureSizes)
    objects: tyro.conf.OmitArgPrefixes[PictureObjects] = field(default_factory=PictureObjects)
    against: tuple[str, ...] = ()
    """Other MODELs to measure on the same images, side by side; with --taps auto each by its own stages."""
    noise: tyro.conf.OmitArgPrefixes[Noise] = field(default_factory=Noise)
    uncertainty: tyro.conf.OmitArgPrefixes[Uncertainty] = field(default_factory=Uncertainty)
    decoding: tyro.conf.OmitArgPrefixes[Decoding] = field(default_factory=Decoding)
    optimisation: tyro.conf.OmitArgPrefixes[Optimisation] = field(default_factory=_protocol)
    shown: FromZero = 8
    """Images whose maps are drawn, the first ones; 0: none are."""
    name: str | None = None
    """Name of the folder and, with a layer's, of each decoder's run; unset: that of the MODEL, and -discarded."""
    out: Path | None = None
    """Folder for pictures, maps and numbers; unset: RUNS/NAME. Pictures and maps of an earlier time are replaced."""
    foreign: tyro.conf.OmitArgPrefixes[Unsaid] = field(default_factory=Unsaid)
    checkpoint_every: Count | None = None
    """Steps between checkpoints of a decoder's training; unset: validations alone write some."""
    log_every: LogEvery = 50
    """Steps between entries of metrics.jsonl."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse names that there are none of, and what does not go together."""
        for name in _parts(self.metrics):
            if name not in METRICS:
                raise unknown("metric", name, METRICS)
        if not _parts(self.taps):
            raise InputError(f"--taps without a layer: give names of modules, or {AUTO}")
        if AUTO in _parts(self.taps) and len(_parts(self.taps)) > 1:
            raise InputError(f"--taps {' '.join(self.taps)}: {AUTO} stands alone; leave the others out")
        given = next(iter(self.objects.given), None)
        self.objects.check_one()
        if given and self.metrics and "concentration" not in _parts(self.metrics):
            raise InputError(
                f"{given} with --metrics {' '.join(self.metrics)}: objects are for concentration; add it, or leave "
                f"{given} out"
            )
        if self.objects.by_name and self.folder is None:
            raise InputError(
                f"{given} without a folder of pictures: masks and boxes are found by the pictures' names; give the "
                f"folder by --images, or {given} {OWN} where --data brings them"
            )
        if self.images is not None and self.folder is None and self.count == 0:
            raise InputError("--images 0: 1 or more, or a folder of pictures, was expected")

    @property
    def measured(self) -> tuple[str, ...]:
        """The metrics, in the usual order."""
        asked = _parts(self.metrics) or ("sid", *(("concentration",) if self.objects.given else ()))
        return tuple(name for name in METRICS if name in asked)

    @property
    def located(self) -> PictureObjects:
        """What says where objects are: the data set's own boxes, where concentration is asked for and no more."""
        own = "concentration" in self.measured and not self.objects.given
        return PictureObjects(boxes=OWN) if own else self.objects

    @property
    def asked_layers(self) -> tuple[str, ...]:
        """Names in --taps, each once; none where that is auto."""
        names = _parts(self.taps)
        return () if names == (AUTO,) else names

    @property
    def count(self) -> int:
        """How many test images are measured; where a folder is, this counts for nothing."""
        return int(self.images) if self.images is not None and self.images.isdecimal() else 64

    @property
    def folder(self) -> Path | None:
        """Of pictures; None where test images are measured."""
        return None if self.images is None or self.images.isdecimal() else Path(self.images)

    def where(self, name: str) -> Where:
        """Of a decoder's training called `name`."""
        return replace(self.place.where(name), checkpoint_every=self.checkpoint_every, log_every=self.log_every)


def _parts(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names with spaces or with commas between them."""
    found = (part.strip() for name in names for part in name.split(","))
    return tuple(dict.fromkeys(part for part in found if part))
