"""What a run can be told: frozen dataclasses that become flags. Nothing here imports torch, so that help is instant.

`Place` and `Where` say where a run lives and how it is shown: they may change between a run and its resumption.
Everything else decides the numbers that come out, is stored with the run, and may not.
"""

import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from apps.command.options import check_values
from apps.command.ranges import (
    Code,
    Count,
    DataFolder,
    Deviation,
    Device,
    Epochs,
    EpochsFromZero,
    FromZero,
    LogEvery,
    Mean,
    Pixels,
    Range,
    RunsFolder,
    Seed,
    Threads,
)
from priors.errors import InputError
from priors.files.typed import check_types

_TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}
"""Packages that do the work of a tracker, any of them."""

Section = TypeVar("Section")


def added(default: Any, *, before: Any) -> Any:
    """The default of a flag that older runs do not have, and what those did.

    `clip_by: Literal["norm", "value"] = added("value", before="norm")` says that new runs clip each value where nothing
    else is said, and that runs without this flag clipped the norm; see `apps.runs.format`.

    A section that overrides the default of another says both again.

    Args:
        default: what a new run has, as usual.
        before: the value that does what was done before there was this flag, in the form that the run stores.
    """
    return field(default=default, metadata={"before": before})


@dataclass(frozen=True)
class Data:
    """Which images."""

    data: str = "digits"
    """Data set: a name (see `penult ls datasets`), an .npz file, a folder with train/CLASS/* and test/CLASS/*, or of
    shards; hf:NAME, hf:FOLDER, wds:PATTERN, or import:package.module:factory."""
    image_size: Pixels | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: they must be of one size."""
    resize: Pixels | None = added(None, before=None)
    """Shorter side of a folder's pictures before the centre is cut out, 256 on ImageNet; unset: the image size."""
    classes: str | None = added(None, before=None)
    """Only these of the set's classes, in this order: names or numbers from 0, joined by commas; unset: all."""
    validation: FromZero | None = None
    """Training images held out to choose the best checkpoint by; unset: a sixth for train hvae, else 0."""

    @property
    def sizes(self) -> dict[str, int | str | None]:
        """What `apps.data.sources.load` is told of them."""
        return {"image_size": self.image_size, "resize": self.resize, "classes": self.classes}


@dataclass(frozen=True)
class Optimisation:
    """How the weights are found."""

    epochs: Epochs = 10.0
    """Passes over the training images."""
    batch_size: Count = 64
    """Images in each optimiser step, over all processes and all accumulated parts."""
    accumulate: Count = 1
    """Parts a batch is split into, one after the other, to save memory."""
    optimizer: Literal["adam", "adamw", "sgd", "momentum"] = "adam"
    """Optimiser; sgd has Nesterov momentum .9, momentum the plain one."""
    lr: Annotated[float, Range(above=0, most=1e6)] = 1e-3
    """Peak learning rate."""
    weight_decay: Annotated[float, Range(0, most=1e6)] = 0.0
    """Weight decay: decoupled for adamw, an L2 penalty otherwise."""
    schedule: Literal["constant", "cosine", "linear", "step", "exponential"] = "constant"
    """Learning rate after its warm-up; step multiplies it by --decay at each of the --milestones, exponential after
    each update."""
    final_lr: Annotated[float, Range(0, most=1)] = 0.0
    """Learning rate at the end of cosine and linear, as a fraction of the peak."""
    milestones: tuple[Annotated[float, Range(above=0, below=1)], ...] = (0.3, 0.6, 0.8)
    """When the schedule step lowers the rate, as fractions of all steps."""
    decay: Annotated[float, Range(above=0, most=1)] = 0.2
    """Factor by which the schedules step and exponential lower the rate."""
    reset_momentum: bool = added(False, before=False)
    """Whether sgd and momentum forget their momentum at each of the --milestones of the schedule step."""
    warmup: EpochsFromZero = 0.0
    """Epochs over which the learning rate rises linearly from 0."""
    clip: Annotated[float, Range(above=0, most=float("inf"))] | None = None
    """Largest gradient norm; unset: not clipped."""
    ema: Annotated[float, Range(above=0, below=1)] | None = None
    """Keep a moving average of the weights, with this decay a step (less at first), and validate and store it; unset:
    none is kept."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the forward and backward pass."""
    tf32: Literal["off", "convolutions", "all"] = added("convolutions", before="convolutions")
    """What a GPU trains in TensorFloat-32, which is faster and keeps 10 bits of 23: nothing, convolutions, or products
    of matrices as well. Scores are never computed so."""
    deterministic: bool = added(False, before=False)
    """Whether a GPU is to give the same every time, to the bit; slower, and not all operations can."""
    seed: Seed = 0
    """Seed of everything random."""
    validate_every: Annotated[float, Range(above=0, most=float("inf"))] = 1.0
    """Epochs between validations; each one also writes a checkpoint."""
    patience: Count | None = None
    """Validations without a better one before training stops; unset: it runs to its end."""

    def __post_init__(self):
        """Refuse milestones in no order, a decay of steps for one of updates, and momentum that is not there."""
        if sorted(self.milestones) != list(self.milestones):
            given = " ".join(map(str, self.milestones))
            raise InputError(f"--milestones {given}: expected parts of all steps in (0, 1), in order")
        if self.schedule == "exponential" and self.decay < 0.9:
            raise InputError(
                f"--schedule exponential --decay {self.decay}: expected a factor for each update, such as 0.9999"
            )
        if self.reset_momentum and self.optimizer not in ("sgd", "momentum"):
            raise InputError(
                f"--reset-momentum with --optimizer {self.optimizer}: it is for sgd and momentum; leave it out"
            )
        if self.reset_momentum and self.schedule != "step":
            raise InputError(
                f"--reset-momentum with --schedule {self.schedule}: it has no milestones to reset at; give --schedule "
                "step, or leave it out"
            )


@dataclass(frozen=True)
class Place:
    """Where things are, and what computes; none of this changes a number."""

    runs: RunsFolder = Path("runs")
    """Folder of the runs."""
    data_root: DataFolder | None = None
    """Folder of the data sets; unset: $PENULT_DATA, else data."""
    device: Device = "auto"
    """What computes: cpu; cuda for an NVIDIA or AMD GPU, or cuda:1 for the second of several; xpu for an Intel one;
    auto takes a GPU where there is one."""
    threads: Threads | None = None
    """CPU threads; unset: 1 for small networks, else the cores free at the start; a resumed run keeps its number."""
    allow: tuple[Code, ...] = ()
    """import:... that a run was made with: the same text again, which allows that code of yours to be run."""

    def where(self, name: str | None = None) -> "Where":
        """The same place for a training run called `name`."""
        return Where(name=name, **{field.name: getattr(self, field.name) for field in fields(Place)})

    def flags(self) -> str:
        """What differs from the defaults, as it is typed after a command.

        Example:
            >>> Place(device="cpu", threads=2).flags()
            ' --device cpu --threads 2'
        """
        said = ""
        for part in fields(Place):
            value = getattr(self, part.name)
            if value != part.default:
                words = [str(one) for one in value] if isinstance(value, tuple) else [str(value)]
                said += f" --{part.name.replace('_', '-')} {shlex.join(words)}"
        return said


@dataclass(frozen=True)
class Where(Place):
    """Where the run lives, how it is computed and shown; none of this changes its numbers by more than rounding."""

    name: str | None = None
    """Name of the run's folder; unset: made from the configuration."""
    plan: bool = False
    """Whether to print what the training would take, by some updates of it, and stop: nothing is written."""
    compile: bool = False
    """Whether to compile networks and losses, which makes a long training faster and its first step slow; the numbers
    differ by rounding."""
    checkpoint_every: Count | None = None
    """Steps between checkpoints; unset: validations alone write some. The two newest are kept until the end."""
    log_every: LogEvery = 50
    """Steps between entries of metrics.jsonl."""
    snapshots: tuple[FromZero, ...] = ()
    """Updates after which the model is kept as well, as a run of its own in snapshots/step-N; 0: before training."""
    tracker: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Trackers to log to as well, where installed."""

    def __post_init__(self):
        """Refuse what cannot be followed."""
        if self.name is not None and (not self.name or self.name != Path(self.name).name or self.name[0] == "."):
            raise InputError(
                f"--name {self.name!r}: expected the name of a folder in {self.runs}, without slashes or a leading dot"
            )
        if self.name is not None and len(os.fsencode(self.name)) > 255:
            raise InputError(f"--name {self.name[:20]}...: longer than a folder's name may be: choose another --name")
        if self.name is not None and not self.name.isprintable() and not (self.runs / self.name).exists():
            raise InputError(f"--name {self.name!r}: expected a name without line breaks and other control characters")
        for tracker in self.tracker:
            if not any(find_spec(package) for package in _TRACKERS[tracker]):
                raise InputError(
                    f"--tracker {tracker}: not installed here; install it with pip install {tracker}, or leave it out"
                )


@dataclass(frozen=True)
class Unsaid:
    """What a MODEL of your own does not say itself."""

    mean: tuple[Mean, ...] = ()
    """The mean that it expects subtracted from pixels in [0, 1]: one number, or one for each channel; unset: 0."""
    std: tuple[Deviation, ...] = ()
    """The standard deviation that it expects pixels divided by, likewise; unset: 1."""
    head: str | None = None
    """Name of its final linear layer, where it cannot be told."""


@dataclass(frozen=True)
class Foreign(Unsaid):
    """What a MODEL of your own does not say itself."""

    taps: tuple[str, ...] = ()
    """Names of the modules whose outputs are its stages."""


@dataclass(frozen=True)
class Own:
    """What a network of your own that is to be trained does not say itself."""

    mean: tuple[Mean, ...] = added((), before=())
    """For a network of your own (import:...): the mean that is subtracted from pixels in [0, 1] before it sees them,
    one number, or one for each channel; unset: that of the training images."""
    std: tuple[Deviation, ...] = added((), before=())
    """Likewise the standard deviation that they are divided by."""
    head: str | None = added(None, before=None)
    """Likewise the name of its final linear layer, where it cannot be told."""
    taps: tuple[str, ...] = added((), before=())
    """Likewise the names of the modules whose outputs are its stages."""

    def given(self, prefix: str = "--") -> str:
        """The flags that are set."""
        return ", ".join(f"{prefix}{name}" for name in ("mean", "std", "head", "taps") if getattr(self, name))


@dataclass(frozen=True)
class Gauge:
    """What the classifier's probabilities leave open of a prior."""

    space: Literal["raw", "centred", "whitened"] | None = added(None, before=None)
    """Space of the activations: raw (as they are), centred, or whitened by how they spread within classes; unset: raw,
    or as saved."""
    directions: Literal["weights", "centred", "fitted", "means"] | None = added(None, before=None)
    """Mean directions: the final layer's weights; centred, less their mean; fitted, a scale times each plus the vector
    that fits the activations best; means, the activations' own; unset: weights, or as saved."""

    def given(self) -> str:
        """The flags that are set, as they are typed."""
        values = {"--space": self.space, "--directions": self.directions}
        return " ".join(f"{flag} {value}" for flag, value in values.items() if value is not None)

    def measured(self) -> str:
        """The flags that ask for activations, as they are typed."""
        some = Gauge(
            self.space if self.space in ("centred", "whitened") else None,
            self.directions if self.directions in ("fitted", "means") else None,
        )
        return some.given()

    def require_alone(self, every_gauge: bool) -> None:
        """Refuse flags of one gauge beside --every-gauge.

        Raises:
            InputError: both are given.
        """
        if every_gauge and self.given():
            raise InputError(f"--every-gauge with {self.given()}: leave one of them out")


def identity(config: Any) -> dict[str, Any]:
    """The part of a configuration that decides a run's numbers, flat and JSON-able.

    That is all sections but a `Place` and a `Foreign`: what the latter changes is the prior, whose digest is stored.
    Nested sections lose their own name, since the command line shows none either.
    """
    flat: dict[str, Any] = {}
    for part in fields(config):
        value = getattr(config, part.name)
        if isinstance(value, Place | Foreign):
            continue
        if is_dataclass(value):
            flat.update(identity(value))
        else:
            flat[part.name] = plain(value)
    return flat


def older_values(config: Any, prefix: str = "") -> dict[str, Any]:
    """What runs did before a flag was there, by the key it is stored under, of the flags that say so; see `added`.

    Args:
        config: all that a run is told, as for `identity`, or the options of a distillation term.
        prefix: of the keys, such as "crd." for a term's.
    """
    older: dict[str, Any] = {}
    for part in fields(config):
        value = getattr(config, part.name)
        if isinstance(value, Place | Foreign):
            continue
        if "before" in part.metadata:
            older[prefix + part.name] = plain(part.metadata["before"])
        elif is_dataclass(value):
            older |= older_values(value, prefix)
    return older


def restored(kind: type[Section], stored: Mapping[str, Any], **sections: Any) -> Section:
    """A section of flags as a stored configuration has it.

    What is not stored has the value of the runs before that flag (`added`), or else its default.

    Args:
        kind: of the section.
        stored: the flat configuration.
        sections: those within the section, restored already.

    Raises:
        InputError, TypeError: a value that the section refuses, or one that is missing.
    """
    values = {part.name: part.metadata["before"] for part in fields(kind) if "before" in part.metadata}
    values |= {part.name: stored[part.name] for part in fields(kind) if part.name in stored}
    # JSON has lists where a configuration has tuples.
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        check_types(kind, {name: value for name, value in values.items() if name not in sections})
    except TypeError as error:
        raise InputError(f"the configuration of the run is damaged: its {error}") from None
    section = kind(**values | sections)
    check_values(section, stored=True)
    return section


def plain(value: Any) -> Any:
    """A value of a configuration as JSON has it: lists where it has tuples, text for paths."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(item) for name, item in asdict(value).items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def _plain_values(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {key: plain(value) for key, value in flat.items()}


def without_older(flat: Mapping[str, Any], older: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the keys that have the value of before they were there, for digests that outlive them."""
    return {key: value for key, value in flat.items() if key not in older or older[key] != value}


def differences(before: Mapping[str, Any], now: Mapping[str, Any], older: Mapping[str, Any] | None = None) -> list[str]:
    """One line for each key whose value differs between two flat configurations.

    Args:
        before: the stored one.
        now: the present one.
        older: by key, what a stored one that lacks it stands for, see `older_values`.
    """
    before = {key: value for key, value in (older or {}).items() if key in now} | dict(before)
    before, now = _plain_values(before), _plain_values(now)  # a stored list is a tuple where flags are read
    return [
        f"{key}: {before.get(key, 'not set')} before, {now.get(key, 'not set')} now"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
