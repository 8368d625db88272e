"""The prior that a generator's latents come from: of a classifier's final layer, or saved."""

from collections.abc import Sequence

from accelerate import Accelerator

from apps.command.config import Data, Foreign, Gauge, Where
from apps.models.classifier_priors import classifier_prior, say_uniform
from apps.models.named import is_run
from priors import ClassifierPrior


def class_prior(
    model: str,
    concentration: Sequence[str],
    gauge: Gauge,
    foreign: Foreign,
    data: Data,
    where: Where,
    accelerator: Accelerator,
) -> ClassifierPrior:
    """The prior of a MODEL; a strategy measures a run on what it was trained on, any other network on `data`.

    Args:
        model: the classifier, or a prior saved by penult prior.
        concentration: as on the command line; nothing for the usual one.
        gauge: likewise.
        foreign: what a model of one's own does not say itself.
        data: what the generator is trained on.
        where: the data sets are.
        accelerator: of this process.

    Raises:
        InputError: as for `classifier_prior`.
    """
    measured = {"data": data.data, "image_size": data.image_size, "classes": data.classes}
    measured = {} if is_run(model) else measured
    place = {"gauge": gauge, "root": where.data_root, "accelerator": accelerator}
    prior = classifier_prior(model, concentration, foreign, **place, **measured)
    say_uniform(prior, model)
    return prior
