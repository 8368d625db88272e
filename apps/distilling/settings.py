"""What a distillation can be told. Nothing here imports torch, so that help is instant."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, make_dataclass
from functools import cache
from typing import Any, Literal

import tyro

from apps.command.config import Data, Foreign, Gauge, Optimisation, Own, Where, added, identity, older_values, plain
from apps.command.ranges import Count, Deviation, Epochs, Few, LogitsFolder, Mean, PenultimateWidth
from apps.models.tuning import Tuning

CONCENTRATION = 80.0
"""Of each class of a teacher's prior where nothing else is said (section 4.1.1 of the paper of class-wise KD)."""


PRETRAINING = 30.0
"""Epochs of a term's own phase, as Tian et al. (2020) have it."""


def _protocol() -> Optimisation:
    return Optimisation(
        epochs=240.0,
        batch_size=64,
        optimizer="momentum",
        lr=0.05,
        weight_decay=5e-4,
        schedule="step",
        milestones=(0.625, 0.75, 0.875),
        decay=0.1,
    )


@dataclass(frozen=True)
class Config:
    """Distil."""

    terms: tyro.conf.Positional[str]
    """What is minimised: terms joined by +, such as ce+hinton."""
    data: tyro.conf.OmitArgPrefixes[Data] = field(default_factory=Data)
    train_images: Count | None = added(None, before=None)
    """Images to train on, as many of each class, of those that --validation leaves: the same for all terms of a seed;
    epochs are of these; unset: all."""
    teacher: str | None = None
    """The teacher: a MODEL, see penult --help."""
    prior: str | None = None
    """The prior that ckd takes: a file of penult prior --out, or a MODEL to read it off; unset: the teacher's."""
    concentration: tuple[str, ...] = ()
    """Concentration of the prior: a number, one for each class, or a strategy such as mle; unset: 80, or as saved."""
    student: str = "wrn-16-2"
    """Architecture of the student: a name of `penult ls classifiers`, torchvision:NAME or timm:NAME; with trained
    weights, torchvision:NAME:WEIGHTS or timm:NAME:TAG, and a new final layer; or import:package.module:factory, your
    own."""
    penultimate: PenultimateWidth | None = None
    """Width of the student's penultimate layer; unset: the architecture's own."""
    student_taps: tuple[str, ...] = ()
    """Names of the student's modules whose outputs are compared; unset: its stages."""
    student_mean: tuple[Mean, ...] = added((), before=())
    """For a student of your own (import:...): the mean that is subtracted from pixels in [0, 1] before it sees them,
    one number, or one for each channel; unset: that of the training images."""
    student_std: tuple[Deviation, ...] = added((), before=())
    """Likewise the standard deviation that they are divided by."""
    student_head: str | None = added(None, before=None)
    """Likewise the name of its final linear layer, where it cannot be told."""
    teacher_taps: tuple[str, ...] = ()
    """Names of the teacher's modules to compare them with, one for each of the student's; unset: its stages."""
    teacher_norms: Literal["running", "batch"] = "running"
    """Statistics that the teacher's batch norm uses: the running ones of its training, or those of each batch."""
    sync_batchnorm: bool = added(False, before=False)
    """Whether the student's batch norm is over the whole batch where several processes share it, instead of each one's
    part."""
    cache_logits: LogitsFolder | None = None
    """Folder to keep the teacher's logits of each view of each image in, as float16 with checksums, for later runs."""
    jacobian_angle: bool = added(False, before=False)
    """Whether each validation measures the angle between the input-Jacobians of teacher and student, in degrees, on up
    to 256 training images; with jacobian or full-jacobian it does anyway."""
    pretraining: Epochs = PRETRAINING
    """Epochs of each term that has a phase of its own (ab, ft), before the others."""
    augment: str = "auto"
    """Words joined by +: flip; crop (4 pixels of padding) or resized-crop (8 to 100 % of the image, brought to its
    size), or auto, what is usual for the data set; then a policy of torchvision's, autoaugment[-cifar10|-svhn],
    randaugment or trivial; and mixup or cutmix, which mix images of a batch and their labels. Or none."""
    crop_fill: Literal["black", "mean", "reflect"] = "black"
    """What a crop's padding holds: black, the mean colour, or the image mirrored at its edges."""
    shift: str | None = None
    """Domain of the student's images: photometric:0.4 (strength), downsample:0.5 (rate) or downsample:0.5:small; unset:
    the teacher's own."""
    seeds: Few = 1
    """Students to train, with seeds --seed, --seed + 1, ...: each is a run, NAME-seedN, and their spread is printed."""
    tuning: tyro.conf.OmitArgPrefixes[Tuning] = field(default_factory=Tuning)
    gauge: tyro.conf.OmitArgPrefixes[Gauge] = field(default_factory=Gauge)
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    optimisation: tyro.conf.OmitArgPrefixes[Optimisation] = field(default_factory=_protocol)
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)

    @property
    def own(self) -> Own:
        """What a student of the user's own does not say itself; a network that is known by name has other taps too."""
        taps = self.student_taps if self.student.startswith("import:") else ()
        return Own(self.student_mean, self.student_std, self.student_head, taps)


def told(config: Config) -> dict[str, Any]:
    """What a distillation was told that decides its numbers, flat: the options of each term are named by it."""
    flat = {key: value for key, value in identity(_without_terms(config)).items() if key != "seeds"}
    for name, term in _terms(config).items():
        flat |= {f"{name}.{key}": plain(value) for key, value in asdict(term).items()}
    return flat


def older(config: Config) -> dict[str, Any]:
    """What runs did before there were some of the flags and of the terms' options, by their keys in `told`."""
    found = older_values(_without_terms(config))
    for name, term in _terms(config).items():
        found |= older_values(term, f"{name}.")
    return found


def _terms(config: Config) -> dict[str, Any]:
    from distill.terms import parse

    return {name: getattr(config, name.replace("-", "_")) for name in parse(config.terms)}


def _without_terms(config: Config) -> Config:
    return Config(**{part.name: getattr(config, part.name) for part in fields(Config)})


def configuration(words: Sequence[str]) -> type[Config]:
    """The configuration with the options of the terms that a command line begins with.

    Raises:
        InputError: an unknown term, one given twice, or options before the terms.
    """
    if not words or words[0] in ("-h", "--help"):
        return Config
    from distill.terms import parse, terms
    from priors.errors import InputError

    if words[0].startswith("-"):
        raise InputError(f"{words[0]} before the terms, which say what options there are: penult distill ce+hinton ...")

    return _with_terms(tuple((name, terms()[name]) for name in parse(words[0])))


@cache
def _with_terms(kinds: tuple[tuple[str, type], ...]) -> type[Config]:
    options = [(name.replace("-", "_"), kind, field(default_factory=kind)) for name, kind in kinds]
    return make_dataclass("Config", options, bases=(Config,), frozen=True)
