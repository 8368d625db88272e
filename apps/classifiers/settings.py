"""What the programs on classifiers can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from apps.classifiers.regularisers import parse_regularisers
from apps.command.config import Data, Foreign, Gauge, Optimisation, Own, Place, Where, added
from apps.command.options import ONE_OR_MORE, REQUIRED
from apps.command.ranges import Count, FromZero, MixupAlpha, PenultimateWidth, Pixels, Rate, Seed
from apps.data.augment_words import check_augment
from apps.models.tuning import Tuning
from priors.errors import InputError


@dataclass(frozen=True)
class ClassifierTraining:
    """Train a classifier."""

    data: tyro.conf.OmitArgPrefixes[Data] = field(default_factory=Data)
    train_images: Count | None = None
    """Images to train on, as many of each class, of those that --validation leaves; epochs are of these; unset: all."""
    arch: str = "mlp"
    """Architecture: a name of `penult ls classifiers`, torchvision:NAME or timm:NAME; with trained weights,
    torchvision:NAME:WEIGHTS or timm:NAME:TAG, and a new final layer for other classes; or your own,
    import:package.module:factory[,weights=FILE.safetensors]."""
    penultimate: PenultimateWidth | None = None
    """Width of the penultimate layer; unset: the architecture's own."""
    head_bias: bool = True
    """Whether the final layer has a bias."""
    dropout: Rate | None = None
    """Dropout rate, of architectures that have one; unset: the architecture's own."""
    narrow: str | None = added(None, before=None)
    """A convolution that gets few filters instead of its own, such as block5.0 of vgg-8: a damaged network, to be set
    beside the whole one; unset: none."""
    narrow_filters: Count | None = added(None, before=None)
    """How many filters the layer --narrow gets; unset: 4, as the paper damages its VGGs."""
    narrow_kernel: Count | None = added(None, before=None)
    """Their height and width in pixels, an odd number; unset: 7, likewise."""
    augment: str = "auto"
    """Words joined by +: flip; crop (4 pixels of padding) or resized-crop (8 to 100 % of the image, brought to its
    size), or auto, what is usual for the data set; then a policy of torchvision's, autoaugment[-cifar10|-svhn],
    randaugment or trivial; and mixup or cutmix, which mix images of a batch and their labels. Or none."""
    crop_fill: Literal["black", "mean", "reflect"] = "black"
    """What a crop's padding holds: black, the mean colour, or the image mirrored at its edges."""
    label_smoothing: Rate = 0.0
    """Weight of the uniform distribution in the targets."""
    mixup: MixupAlpha | None = added(None, before=None)
    """Mix each image of a batch with another one, and their labels alike, by a weight of Beta(mixup, mixup) for each
    batch; unset: no mixing, or 1 where --augment says mixup."""
    regularise: tuple[str, ...] = added((), before=())
    """Regularisers of layers, NAME:STRENGTH@LAYER,LAYER each: bias-jacobian (squared norm of what a layer's bias adds
    to the output of the class), dropout (of each unit that it gives), bias-decay (sum of its bias's squares); without
    layers: of the last batch norm, or the last layer with a bias before the final one."""
    jacobian_norms: Literal["running", "batch"] = added("running", before="running")
    """Statistics of the batch norms for bias-jacobian: running ones, in a second pass in evaluation mode; or the
    batch's, in the training pass, which is faster."""
    jacobian_over: Literal["parameters", "units", "positions"] = added("parameters", before="parameters")
    """What bias-jacobian squares: each parameter's part, summed over positions, as in the paper; each unit's; or each
    position's, summed over channels."""
    sync_batchnorm: bool = added(False, before=False)
    """Whether batch norm is over the whole batch where several processes share it, instead of each one's part."""
    own: tyro.conf.OmitArgPrefixes[Own] = field(default_factory=Own)
    tuning: tyro.conf.OmitArgPrefixes[Tuning] = field(default_factory=Tuning)
    optimisation: tyro.conf.OmitArgPrefixes[Optimisation] = field(
        default_factory=lambda: Optimisation(schedule="cosine")
    )
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)

    def __post_init__(self):
        """Refuse what says more of a layer, a regulariser or a mixing that there is not."""
        check_augment(self.augment, self.mixup)
        for flag, value in (("--narrow-filters", self.narrow_filters), ("--narrow-kernel", self.narrow_kernel)):
            if value is not None and self.narrow is None:
                raise InputError(f"{flag} {value} without --narrow LAYER, which says of which layer: leave it out")
        jacobian = parse_regularisers(self.regularise).bias_jacobian
        for flag, value, usual in (
            ("--jacobian-norms", self.jacobian_norms, "running"),
            ("--jacobian-over", self.jacobian_over, "parameters"),
        ):
            if value != usual and not jacobian:
                raise InputError(f"{flag} {value} without --regularise bias-jacobian:STRENGTH: leave it out")
        if self.sync_batchnorm and self.jacobian_norms == "batch":
            raise InputError(
                "--sync-batchnorm with --jacobian-norms batch: the training pass is derived, which batch norm over "
                "several processes does not allow; leave one of them out"
            )


@dataclass(frozen=True)
class PriorReading:
    """Read off a prior."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    concentration: tuple[str, ...] = ()
    """Concentration of the classes: a number, one for each class, norms, mle, mle-pooled or sweep:5,20,80 (see above);
    unset: 20, or as saved."""
    task: Annotated[str | None, tyro.conf.arg(name="for")] = None
    """What a sweep chooses for: hvae-l, by the bound on held-out images; sngan, by FID (--train extractor=MODEL); ckd,
    by the student's accuracy (--train validation=N)."""
    train: tuple[str, ...] = ()
    """Options of a sweep's trainings, as in epochs=40 hidden=256,128 encoder-label; name=... begins their names."""
    data: str | None = None
    """Data set that activations are measured on, and a sweep trains on; unset: the one the run was trained on."""
    image_size: Pixels | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as the run was trained."""
    classes: str | None = None
    """Only these of its classes, in this order: names or numbers joined by commas; unset: as trained, or all."""
    measure: bool = True
    """Whether to run the training images through the network for the second table."""
    compare: bool = True
    """Whether to compare the gauges (see --space, --directions) on held-out images in a third table; not where one is
    given, or with --no-measure."""
    against: str | None = None
    """Another MODEL with a prior of the same classes: whether the cosines between its directions go with these."""
    out: Path | None = None
    """File to write the prior to, ending in .safetensors; --classifier of penult train hvae takes it."""
    overwrite: bool = False
    """Whether --out may replace a file."""
    gauge: tyro.conf.OmitArgPrefixes[Gauge] = field(default_factory=Gauge)
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)


@dataclass(frozen=True)
class NormalisedScoring:
    """Normalise and score."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    data: str | None = None
    """Data set whose test images are classified; unset: the one the run was trained on."""
    image_size: Pixels | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as trained, or the network's own."""
    classes: str | None = None
    """Only these of its classes, in this order: names or numbers joined by commas; unset: as trained, or all."""
    resize: Pixels | None = None
    """Shorter side of a folder's pictures before the centre is cut out, 256 on ImageNet; unset: the image size."""
    images: Count | None = None
    """How many test images to classify, the first ones; unset: all."""
    every_gauge: bool = False
    """Whether to score in each gauge (see --space, --directions), in a second table."""
    folds: Count | None = None
    """Random parts of the test images: the gauge of each is measured on the other parts; unset: on training images."""
    seed: Seed = 0
    """Seed of those parts."""
    out: Path | None = None
    """File to add the scores to, ending in .json; unset: the run's normalised.json, or none where there is no run."""
    gauge: tyro.conf.OmitArgPrefixes[Gauge] = field(default_factory=Gauge)
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse what does not go together."""
        self.gauge.require_alone(self.every_gauge)
        if self.folds is not None and not self.measured():
            advice = "give --every-gauge, or --space or --directions"
            raise InputError(f"--folds {self.folds} without a gauge that is measured: {advice}")
        if self.folds == 1:
            raise InputError("--folds 1 leaves no images to measure a gauge on: give 2 or more")

    def measured(self) -> str:
        """The flags that ask for activations to measure a gauge on, as they are typed."""
        return "--every-gauge" if self.every_gauge else self.gauge.measured()


@dataclass(frozen=True)
class AnomalyScoring:
    """Score what a classifier has not seen."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    against: Annotated[tuple[str, ...], REQUIRED] = ()
    """Other images: data sets, .npz files, folders of pictures, or noise (uniform); brought to the network's shape."""
    data: str | None = None
    """The classifier's own data set; unset: the one the run was trained on."""
    image_size: Pixels | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as the run was trained."""
    classes: str | None = None
    """Only these of its classes, in this order: names or numbers joined by commas; unset: as trained, or all."""
    concentration: tuple[str, ...] = ("mle",)
    """Concentration of q(a|i): a number, one for each class, or a strategy of penult prior, by training images."""
    images: Count | None = None
    """How many test images of each set to take, the first ones; unset: all."""
    also: tuple[Literal["knn", "vim", "react"], ...] = ()
    """More scores to set beside, by pytorch-ood, where that is installed (pip install pytorch-ood)."""
    every_gauge: bool = False
    """Whether to set log q(a|i) and q(i|a) in every other gauge (see --space, --directions) beside, in the tables."""
    seed: Seed = 0
    """Seed of the images of noise."""
    out: Path | None = None
    """New folder for pictures and numbers; unset: the run's, and nothing is written where there is no run."""
    gauge: tyro.conf.OmitArgPrefixes[Gauge] = field(default_factory=Gauge)
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse what compares nothing."""
        if not self.against:
            raise InputError("--against is missing: give one or more data sets or folders of other images, or noise")
        self.gauge.require_alone(self.every_gauge)


@dataclass(frozen=True)
class CircleDrawing:
    """Draw circles."""

    models: Annotated[tyro.conf.Positional[tuple[str, ...]], ONE_OR_MORE]
    """The classifiers, of two penultimate units each: MODELs, see penult --help."""
    concentration: tuple[str, ...] = ()
    """Concentration of the classes: a number, one for each class, or a strategy of penult prior, by each panel's own
    activations; unset: norms, which is the paper's, or fitted with fitted directions and mle with means or
    --every-gauge."""
    every_gauge: bool = False
    """Whether to draw one network in each gauge: a row for each --space, a column for each of the --directions."""
    data: str | None = None
    """Data set whose test images are run through the networks; unset: the one the run was trained on."""
    image_size: Pixels | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as the run was trained."""
    classes: str | None = None
    """Only these of its classes, in this order: names or numbers joined by commas; unset: as trained, or all."""
    dots: FromZero = 1500
    """How many images to show in a panel; accuracies and concentrations are of all."""
    seed: Seed = 0
    """Seed by which the images to show are chosen, and their dots are scattered."""
    out: Path | None = None
    """Picture to write; unset: circle.png in the run's folder, or circle-gauges.png with --every-gauge."""
    overwrite: bool = False
    """Whether a picture may be replaced."""
    gauge: tyro.conf.OmitArgPrefixes[Gauge] = field(default_factory=Gauge)
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse every gauge of several networks, or beside a chosen one."""
        self.gauge.require_alone(self.every_gauge)
        if self.every_gauge and len(self.models) > 1:
            raise InputError(f"--every-gauge with {len(self.models)} MODELs: it draws one network; give one")


@dataclass(frozen=True)
class GaugeFollowing:
    """Follow gauges."""

    models: Annotated[tyro.conf.Positional[tuple[str, ...]], ONE_OR_MORE]
    """Runs of classifiers."""
    data: str | None = None
    """Data set on whose training images gauges are measured, and on whose test images they are scored; unset: the one
    the run was trained on."""
    classes: str | None = None
    """Only these of its classes, in this order: names or numbers joined by commas; unset: as trained, or all."""
    out: Path | None = None
    """Picture to write; unset: gauges.png in the run's folder."""
    overwrite: bool = False
    """Whether --out may replace a picture."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)
