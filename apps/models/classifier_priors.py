"""The prior of a MODEL on the command line, by a concentration's words, and what it was measured on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator

from apps.command.config import Foreign
from apps.command.console import say
from apps.command.ranges import LARGEST_CONCENTRATION
from apps.models.activations import Activations, activations, images_for
from apps.models.named import classifier, is_run
from priors.classifier_prior import ClassifierPrior
from priors.concentration import STRATEGIES
from priors.errors import InputError, unknown

DEFAULT_CONCENTRATION = 20.0
"""Of each class where nothing else is said: what Seo, Lee and Kwak (2021) trained HVAE-L with."""

SWEEP = "sweep:"
"""What the word begins with that chooses a concentration by validation, as in sweep:5,20,80."""


@dataclass(frozen=True)
class Reading:
    """A prior, and the activations that were measured with it."""

    prior: ClassifierPrior
    measured: Activations | None = None
    """Of the network's images; None where none were asked for, or there is nothing to measure."""
    images: str = ""
    """Which images those are."""


def classifier_prior(
    model: str,
    concentration: Sequence[str | float],
    foreign: Foreign | None = None,
    *,
    data: str | None = None,
    image_size: int | None = None,
    root: Path | None = None,
    accelerator: Accelerator | None = None,
) -> ClassifierPrior:
    """The prior of a MODEL's final layer, or one saved by `penult prior --out` (a .safetensors file).

    Args:
        model: the classifier, or the file.
        concentration: one number, one a class, or the name of a strategy that measures activations; nothing for a saved
            prior's own, and for `DEFAULT_CONCENTRATION` of a network.
        foreign: what a model of one's own does not say itself.
        data: data set whose training images a strategy runs through the network; None for what the run was trained on.
        image_size: height and width that the pictures of an image folder are brought to; None as for the run.
        root: folder of the data sets.
        accelerator: of this process, for the strategies.

    Raises:
        InputError: no such model, a concentration that cannot be, or a strategy without data.
    """
    place = {"data": data, "image_size": image_size, "root": root, "accelerator": accelerator}
    return read_prior(model, concentration, foreign, **place).prior


def read_prior(
    model: str,
    concentration: Sequence[str | float],
    foreign: Foreign | None = None,
    *,
    data: str | None = None,
    image_size: int | None = None,
    root: Path | None = None,
    accelerator: Accelerator | None = None,
    measure: bool = False,
) -> Reading:
    """As `classifier_prior`, with the activations that a strategy measured, or with `measure` any that can be.

    With `measure`, a network whose data set is not known is not measured, nor is a saved prior, which has none.

    Raises:
        InputError: as for `classifier_prior`; with `measure`, also images that cannot be had.
    """
    values = concentrations(concentration)
    if is_saved(model):
        if isinstance(values, str):
            raise InputError(
                f"--concentration {values} with the prior in {model}: it has no network to measure; give numbers"
            )
        if measure and data is not None:
            raise InputError(f"--data {data} with the prior in {model}: it has no network to measure; leave it out")
        prior = ClassifierPrior.load(model)
        return Reading(prior if values is None else prior.with_concentration(values))
    network = classifier(model, foreign)
    values = DEFAULT_CONCENTRATION if values is None else values
    by_strategy = isinstance(values, str)
    if by_strategy and data is None and not is_run(model):
        raise InputError(f"--concentration {values} measures activations of {model}: give --data")
    if by_strategy and values not in STRATEGIES:
        raise unknown("concentration strategy", values, STRATEGIES, "or give a number, or one a class")
    # Numbers that cannot be are refused before the work.
    prior = None if by_strategy else ClassifierPrior.from_classifier(network, values)
    if not by_strategy and (not measure or (data is None and not is_run(model))):
        return Reading(prior)
    try:
        images = images_for(model, network, "train", data=data, image_size=image_size, root=root)
        found = activations(network, images, accelerator)
    except InputError as error:
        if by_strategy:
            raise
        raise InputError(f"{error}; or leave the activations out with --no-measure") from None
    if by_strategy:
        evidence = {"activations": found.penultimate, "labels": found.labels}
        prior = ClassifierPrior.from_classifier(network.cpu(), values, **evidence)
        if prior.provenance.dataset == "unknown":  # a network of one's own does not say what it was trained on
            prior.provenance = replace(prior.provenance, dataset=images.name)
    if model.startswith("import:") and prior.class_names == tuple(map(str, range(prior.classes))):
        prior.class_names = tuple(images.class_names)  # a module of one's own knows no names
    return Reading(prior, found, f"{len(images):,} training images of {images.name}")


def is_saved(model: str) -> bool:
    """Whether a MODEL is a file that `penult prior --out` wrote."""
    return model.lower().endswith(".safetensors") and is_run(model)


def say_uniform(prior: ClassifierPrior, model: str) -> None:
    """Say so where a prior that is to be trained with is the same for all classes, by concentrations of 0."""
    if not bool(prior.concentration.any()):
        say(f"The prior of {model} is uniform, the same for all classes: every concentration is 0.")


def usable_concentration(value: float) -> float:
    """The same number, where single precision can use it; what is no concentration at all is told by class elsewhere.

    Raises:
        InputError: it is larger than any draw can show.
    """
    if LARGEST_CONCENTRATION < value < float("inf"):
        raise InputError(f"--concentration {value:g}: expected {LARGEST_CONCENTRATION:g} at most")
    return value


def concentrations(given: Sequence[str | float]) -> float | list[float] | str | None:
    """A number, numbers or a strategy's name from the command line's words; None for no words.

    Raises:
        InputError: numbers and names together, one that is too large, or a sweep, which is not a concentration yet.
    """
    sweep = next((word for word in given if str(word).startswith(SWEEP)), None)
    if sweep is not None:
        raise InputError(
            f"--concentration {sweep}: that trains a model for each value, which penult prior MODEL --concentration "
            f"{sweep} --for hvae-l --out FILE.safetensors does; --classifier then takes the file"
        )
    numbers = []
    for word in given:
        try:
            number = float(word)
        except ValueError:
            if len(given) > 1:
                raise InputError(
                    f"--concentration {' '.join(map(str, given))}: give numbers, or one strategy"
                ) from None
            return str(word)
        numbers.append(usable_concentration(number))
    if not numbers:
        return None
    return numbers[0] if len(numbers) == 1 else numbers
