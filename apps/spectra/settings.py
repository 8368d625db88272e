"""What measuring spectra can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from apps.command.config import Place, Unsaid
from apps.command.ranges import Count, Pixels, Range, Seed
from priors.errors import InputError

ALONE = "none"
"""The MODEL of images without a network."""
STAGES, CONVOLUTIONS = "stages", "convolutions"
"""What --taps may say in place of names."""
Frequency = Annotated[float, Range(0, most=1)]
"""In cycles per pixel: Nyquist's is 1/2, the corner's sqrt(1/2)."""


@dataclass(frozen=True)
class Convention:
    """What an exponent depends on, beside the images."""

    convention: Literal["power", "paper", "durall", "dzanic", "stylegan3"] = "power"
    """Preset: power, the mean over a ring of frequencies; paper, the sum, as Rotman and Wolf have it; or the way of
    Durall et al., Dzanic et al. or StyleGAN3 to compare generated images."""
    quantity: Literal["power", "amplitude", "log"] | None = None
    """What is averaged: |F|^2, |F| or log |F|^2; unset: as the preset, like all of these."""
    reduction: Literal["mean", "sum"] | None = None
    """Mean or sum over the frequencies of a ring; a sum's exponent is about 1 higher."""
    channels: Literal["mean", "grey"] | None = None
    """Of images: the mean over channels, or one grey map; of activations it is always the mean."""
    demean: Literal["each", "never"] | None = None
    """Whether each map's own mean is taken out first."""
    window: Literal["rectangular", "hann", "kaiser"] | None = None
    """Window against what the edges of a map add; rectangular is none."""
    fit_range: tuple[Frequency, ...] = ()
    """Lowest and highest frequency of the fits, in cycles per pixel, such as 0.25 0.5 for the upper half."""
    fit_weights: Literal["count", "equal"] | None = None
    """Weight of a ring in the regression: how many frequencies it has, or all the same."""

    def __post_init__(self):
        """Refuse a range that is none."""
        if self.fit_range and (len(self.fit_range) != 2 or self.fit_range[0] >= self.fit_range[1]):
            given = " ".join(f"{value:g}" for value in self.fit_range)
            raise InputError(f"--fit-range {given}: the lowest frequency was expected first, then the highest")


@dataclass(frozen=True)
class SpectrumMeasuring:
    """Measure spectra."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help; or none, for spectra of images alone."""
    data: str | None = None
    """Data set whose test images are measured; unset: the one the run was trained on."""
    image_size: Pixels | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as trained, or the network's own."""
    classes: str | None = None
    """Only these of its classes, in this order: names or numbers joined by commas; unset: as trained, or all."""
    resize: Pixels | None = None
    """Shorter side of a folder's pictures before the centre is cut out, 256 on ImageNet; unset: the image size."""
    images: Count | None = None
    """How many test images to take, the first ones; unset: all."""
    taps: tuple[str, ...] = (STAGES,)
    """Layers whose maps are measured: names of modules, stages for those between which the network's maps shrink, or
    convolutions for the output of each."""
    pooled: bool = True
    """Whether maps are measured after 2x2 average pooling as well: a power law stays what it is."""
    untrained: bool = False
    """Whether the same network with random weights is measured beside."""
    snapshots: bool = False
    """Whether each snapshot of the run (penult train classifier --snapshots) is measured as well."""
    against: tuple[str, ...] = ()
    """What to set beside: other MODELs on the same images; or other images, which are a data set, an .npz, a folder of
    pictures, noise, or a run that draws some."""
    by: tuple[Literal["correct", "class"], ...] = ()
    """Split the images: into rightly and wrongly classified ones, or by class."""
    spectrum: tyro.conf.OmitArgPrefixes[Convention] = field(default_factory=Convention)
    seed: Seed = 0
    """Seed of the random weights of --untrained, of draws and of noise."""
    out: Path | None = None
    """New folder for the pictures and numbers; unset: the run's, and nothing is written where there is no run."""
    foreign: tyro.conf.OmitArgPrefixes[Unsaid] = field(default_factory=Unsaid)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse what does not go together."""
        if not self.taps:
            raise InputError("--taps without a layer: give names of modules, stages or convolutions")
        if self.model != ALONE:
            return
        if self.data is None:
            raise InputError("spectra of which images? With the MODEL none, give --data")
        wanted = {
            "--taps": self.taps != (STAGES,),
            "--untrained": self.untrained,
            "--snapshots": self.snapshots,
            "--by correct": "correct" in self.by,
            "--head": self.foreign.head,
            "--mean": self.foreign.mean,
            "--std": self.foreign.std,
            "--resize": self.resize,
        }
        if given := [flag for flag, value in wanted.items() if value]:
            raise InputError(f"{', '.join(given)} with the MODEL none: there is no network; leave it out")
