"""What saliency can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from apps.command.config import Gauge, Place, Unsaid
from apps.command.pictures import OWN, PictureObjects, PictureSizes
from apps.command.ranges import Count, Range, Seed
from priors.errors import InputError, unknown

METHOD_NAMES = (
    "full-jacobian",
    "full-jacobian-authors",
    "bias-jacobian",
    "input-gradient",
    "guided-backprop",
    "integrated-gradients",
    "smooth-grad",
    "grad-cam",
)
"""Saliency methods."""
OWN_METHODS = METHOD_NAMES[:3]
"""Those that need no other package; the others are Captum's."""


@dataclass(frozen=True)
class MethodChoices:
    """What saliency methods leave open."""

    layer: str | None = None
    """Module whose maps grad-cam weighs; unset: the last that gives maps of more than one pixel."""
    steps: Annotated[int, Range(2, most=10_000)] = 50
    """Points on the way from a black image that integrated-gradients takes slopes at."""
    noisy: Annotated[int, Range(1, most=10_000)] = 50
    """Noisy copies of the image that smooth-grad takes the mean slope over."""
    noise: Annotated[float, Range(above=0, most=10)] = 0.15
    """Standard deviation of that noise, where pixels are from 0 to 1."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How full-jacobian and bias-jacobian bring a layer's map to the size of the image."""


@dataclass(frozen=True)
class Output:
    """Which number of the network is explained."""

    of: Literal["logit", "margin", "log-density"] = "logit"
    """What is explained: the class's logit; its margin over the largest other class, in log-densities where flags of a
    prior are given; or the log-density of where the penultimate activations point, in nats."""
    prior: str | None = None
    """File of penult prior --out, or another MODEL of the same activations; unset: the network's own prior."""
    concentration: tuple[str, ...] = ()
    """Concentration of the prior's classes: a number, one for each class, norms, mle or mle-pooled; unset: 20, or as
    saved."""
    gauge: tyro.conf.OmitArgPrefixes[Gauge] = field(default_factory=Gauge)

    def __post_init__(self):
        """Refuse a prior that has no part."""
        if self.of == "logit" and self.under_prior:
            raise InputError(
                "a logit is of no prior: give --of log-density or --of margin, or leave the prior's flags out"
            )

    @property
    def under_prior(self) -> bool:
        """Whether what is explained is of log-densities."""
        return bool(self.of == "log-density" or self.prior is not None or self.concentration or self.gauge.given())

    def told(self) -> dict[str, Any] | None:
        """What says under which prior log-densities are; None where there are none."""
        if not self.under_prior:
            return None
        return {"file": self.prior, "concentration": list(self.concentration)} | asdict(self.gauge)


@dataclass(frozen=True)
class SaliencySettings:
    """Draw saliency maps."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    pictures: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Picture files, brought to the network's size; without any, test images of --data. Where --masks or --boxes say
    what the object is, the share of each map's mass inside is measured, of each map blurred, and of controls that know
    no network."""
    target: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """The class that is explained, by name or number; unset: of each image the class that the network predicts."""
    explained: tyro.conf.OmitArgPrefixes[Output] = field(default_factory=Output)
    methods: tuple[str, ...] = ()
    """Of full-jacobian (equation 4), full-jacobian-authors (as their code has it), bias-jacobian, and by Captum
    input-gradient, guided-backprop, integrated-gradients, smooth-grad, grad-cam; unset: all that go with the
    network."""
    choices: tyro.conf.OmitArgPrefixes[MethodChoices] = field(default_factory=MethodChoices)
    data: str | None = None
    """Data set whose test images are taken; unset: the one the run was trained on."""
    images: Count | None = None
    """How many test images to take, the first ones; unset: 8."""
    sizes: tyro.conf.OmitArgPrefixes[PictureSizes] = field(default_factory=PictureSizes)
    objects: tyro.conf.OmitArgPrefixes[PictureObjects] = field(default_factory=PictureObjects)
    drawn: Count = 8
    """Images that are drawn, the first ones, each with a sheet of its layers; numbers and maps are kept of all."""
    seed: Seed = 0
    """Seed of the noise of smooth-grad."""
    out: Path | None = None
    """New folder for pictures, maps and numbers; unset: saliency in the run's folder, or here."""
    foreign: tyro.conf.OmitArgPrefixes[Unsaid] = field(default_factory=Unsaid)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse names that there are none of, and what does not go together."""
        for name in self.methods:
            if name not in METHOD_NAMES:
                raise unknown("saliency method", name, METHOD_NAMES)
        given = {"--data": self.data, "--images": self.images}
        if self.pictures and (flags := [flag for flag, value in given.items() if value is not None]):
            raise InputError(f"{', '.join(flags)} beside picture files: give the one or the other")
        if not self.pictures and self.objects.by_name:
            raise InputError(
                f"{self.objects.by_name} without picture files: masks and boxes are found by their names; give the "
                f"files after the MODEL, or {self.objects.by_name} {OWN} where --data brings them"
            )
        if self.choices.layer is not None and self.methods and "grad-cam" not in self.methods:
            raise InputError("--layer is of grad-cam, which is not among --methods: leave it out")
