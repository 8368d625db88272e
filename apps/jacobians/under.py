"""The prior under which log-densities are explained."""

from pathlib import Path

from accelerate import Accelerator

from apps.command.config import Unsaid
from apps.jacobians.settings import Output
from apps.models.classifier_priors import classifier_prior
from priors import ClassifierPrior


def prior_of(
    output: Output,
    model: str,
    foreign: Unsaid,
    accelerator: Accelerator,
    *,
    data: str | None,
    image_size: int | None,
    classes: str | None,
    root: Path | None,
) -> ClassifierPrior | None:
    """The prior of the network's final layer, or the one that was given; None where nothing is under one.

    Args:
        output: what is explained.
        model: the classifier, as on the command line.
        foreign: what a model of one's own does not say itself.
        accelerator: of this process, for what is measured.
        data: set whose training images are run through the network where something is measured.
        image_size: that its pictures are brought to.
        classes: which of its classes; None as for the run.
        root: folder of the data sets.

    Raises:
        InputError: no such prior, or something to measure without data.
    """
    if not output.under_prior:
        return None
    other = output.prior is not None  # another model or file has its own
    prior = classifier_prior(
        output.prior or model,
        output.concentration,
        None if other else foreign,
        gauge=output.gauge,
        root=root,
        accelerator=accelerator,
        data=None if other else data,
        image_size=image_size,
        classes=classes,
    )
    return prior.to(accelerator.device)
