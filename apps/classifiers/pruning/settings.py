"""What pruning can be told. Nothing here imports torch, so that help is instant."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from apps.command.config import Optimisation, Where
from apps.command.ranges import EpochsFromZero, Range
from priors.errors import InputError

VERB = "prune"
"""The command."""


@dataclass(frozen=True)
class Retraining(Optimisation):
    """How what is left is trained."""

    epochs: EpochsFromZero = 5.0
    """Passes over the training images; 0: the weights that are left stay as they are."""
    lr: Annotated[float, Range(above=0, most=1e6)] = 1e-4
    """Peak learning rate; a tenth of the usual one, as Han et al. 2015 have it."""
    schedule: Literal["constant", "cosine", "linear", "step", "exponential"] = "cosine"
    """Learning rate after its warm-up; step multiplies it by --decay at each of the --milestones, exponential after
    each update."""


@dataclass(frozen=True)
class Pruning:
    """Prune a classifier."""

    model: tyro.conf.Positional[str]
    """The classifier: a run of penult train classifier, or of penult prune."""
    keep: Annotated[float, Range(above=0, most=1)] | None = None
    """Part of all the network's parameters that is left: the largest weights, and all biases and parameters of
    norms."""
    keep_by: Literal["global", "layer"] = "global"
    """What the largest weights of --keep are among: all layers' together, or each layer's own, of which as large a part
    is left of each."""
    threshold: Annotated[float, Range(above=0, most=1000)] | None = None
    """Instead of --keep: a layer loses the weights that are smaller than so many standard deviations of its weights, as
    Han et al. have it (their quality parameter)."""
    optimisation: tyro.conf.OmitArgPrefixes[Retraining] = field(default_factory=Retraining)
    where: tyro.conf.OmitArgPrefixes[Where] = field(default_factory=Where)

    def __post_init__(self):
        """Refuse two measures, or none."""
        if self.keep is None and self.threshold is None:
            raise InputError("which weights are to go? Give --keep, as in --keep 0.38, or --threshold, as in 1.0")
        if self.keep is not None and self.threshold is not None:
            raise InputError(f"--keep {self.keep:g} and --threshold {self.threshold:g}: give one of them")
        if self.threshold is not None and self.keep_by != "global":
            raise InputError(f"--keep-by {self.keep_by} with --threshold, which is of each layer: leave it out")
