"""The prior of a MODEL on the command line, by a concentration's words, and what it was measured on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from accelerate import Accelerator

from apps.command.config import Gauge, Unsaid
from apps.command.console import counted, say
from apps.command.ranges import LARGEST_CONCENTRATION
from apps.data.image_set import ImageSet
from apps.models.activations import images_for
from apps.models.generator import GENERATOR
from apps.models.moments import first_pass, run_through
from apps.models.named import classifier, generator_run, is_run, open_run
from apps.models.registry import description_of, kind_of
from priors.errors import InputError
from priors.gauge.gauge import DirectionsName
from priors.gauge.moments import DirectionMoments
from priors.gauge.space import Space, SpaceName
from priors.model.classifier_prior import ClassifierPrior
from priors.model.concentration import require_strategy
from priors.vmf.directions import Directions, directions_of
from priors.zoo import Classifier

DEFAULT_CONCENTRATION = 20.0
"""Of each class where nothing else is said: what Seo, Lee and Kwak (2021) trained HVAE-L with."""

SWEEP = "sweep:"
"""What the word begins with that chooses a concentration by validation, as in sweep:5,20,80."""


@dataclass(frozen=True)
class Measured:
    """What was measured of a network's activations.

    Attributes:
        moments: where they point and how long they are in the prior's space, by class.
        seen: how far each of them points from its class's direction.
        images: which images they are of, in words.
        spaces: the moments in each space that was to be compared.
        without: spaces that could not be, with the reason.
    """

    moments: DirectionMoments
    seen: Directions
    images: str
    spaces: tuple[tuple[Space, DirectionMoments], ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """A prior, and what was measured with it; None where nothing was asked for, or there is nothing to measure."""

    prior: ClassifierPrior
    measured: Measured | None = None


def classifier_prior(
    model: str,
    concentration: Sequence[str | float],
    foreign: Unsaid | None = None,
    *,
    gauge: Gauge | None = None,
    data: str | None = None,
    image_size: int | None = None,
    classes: str | None = None,
    root: Path | None = None,
    accelerator: Accelerator | None = None,
) -> ClassifierPrior:
    """The prior of a MODEL's final layer, one saved by `penult prior --out` (a .safetensors file), or a generator's.

    Args:
        model: the classifier, the file, or the run of a generator whose latents come from a class prior.
        concentration: one number, one a class, or the name of a strategy that measures activations; nothing for a saved
            prior's own, and for `DEFAULT_CONCENTRATION` of a network, or what fitted directions come with.
        foreign: what a model of one's own does not say itself.
        gauge: space and directions; nothing for a saved prior's own.
        data: data set whose training images are run through the network where something is measured; None for what the
            run was trained on.
        image_size: height and width that the pictures of an image folder are brought to; None as for the run.
        classes: which of the set's are run through it; None as for the run.
        root: folder of the data sets.
        accelerator: of this process, for what is measured.

    Raises:
        InputError: no such model, a concentration or a gauge that cannot be, or something to measure without data.
    """
    place = {"gauge": gauge, "data": data, "image_size": image_size, "classes": classes, "root": root}
    place |= {"accelerator": accelerator}
    return read_prior(model, concentration, foreign, **place).prior


def read_prior(
    model: str,
    concentration: Sequence[str | float],
    foreign: Unsaid | None = None,
    *,
    gauge: Gauge | None = None,
    data: str | None = None,
    image_size: int | None = None,
    classes: str | None = None,
    root: Path | None = None,
    accelerator: Accelerator | None = None,
    measure: bool = False,
    compare: bool = False,
) -> Reading:
    """As `classifier_prior`; with `measure` also how its directions and the activations agree.

    With `measure`, a network whose data set is not known is not measured, nor is a saved prior, which has none. The
    images are run through the network at most three times: for its space, for directions and concentrations, and for
    `measure`; twice where it is the raw one. With `compare` too, the same passes look at every space.

    Raises:
        InputError: as for `classifier_prior`; with `measure`, also images that cannot be had.
    """
    values, gauge = concentrations(concentration), gauge or Gauge()
    if is_prior(model):
        return Reading(_saved(model, values, gauge, data if measure else None))
    network, wanted = classifier(model, foreign), wanted_prior(values, gauge)
    known = data is not None or is_run(model)
    if wanted.measured and not known:
        raise InputError(f"{wanted.measured} measures activations of {model}: give --data")
    # What cannot be is refused before the work.
    prior = None if wanted.measured else wanted.of(network)
    if not wanted.measured and not (measure and known):
        return Reading(prior)
    try:
        images = images_for(model, network, "train", data=data, image_size=image_size, classes=classes, root=root)
        reading = _measured(wanted, network, images, accelerator, measure, compare and measure)
    except InputError as error:
        if wanted.measured:
            raise
        raise InputError(f"{error}; or leave the activations out with --no-measure") from None
    prior = reading.prior
    if wanted.measured and prior.provenance.dataset == "unknown":
        prior.provenance = replace(prior.provenance, dataset=images.name)  # a network of one's own does not say
    if model.startswith("import:") and prior.class_names == tuple(map(str, range(prior.classes))):
        prior.class_names = tuple(images.class_names)  # a module of one's own knows no names
    return reading


@dataclass(frozen=True)
class Wanted:
    """The prior that flags ask for, of any network.

    Attributes:
        concentration: one number, one a class, or a strategy.
        space: of the activations.
        directions: of the classes.
        measured: the flags that measure activations, as they are typed.
    """

    concentration: float | list[float] | str
    space: SpaceName
    directions: DirectionsName
    measured: str

    def of(self, network: Classifier, **evidence: Any) -> ClassifierPrior:
        """The prior of a network, by `priors.ClassifierPrior.from_classifier`."""
        _check_count(self.concentration, len(network.class_names))
        given = {"space": self.space, "directions": self.directions} | evidence
        return ClassifierPrior.from_classifier(network, self.concentration, **given)


def wanted_prior(values: float | list[float] | str | None, gauge: Gauge) -> Wanted:
    """What the flags mean together.

    Raises:
        InputError: an unknown strategy, or one for other directions.
    """
    if values is None:
        values = "fitted" if gauge.directions == "fitted" else DEFAULT_CONCENTRATION
    space, directions = gauge.space or "raw", gauge.directions or "weights"
    strategy = isinstance(values, str)
    if strategy:
        require_strategy(values, directions)
    by_gauge = gauge.measured()
    return Wanted(values, space, directions, by_gauge or (f"--concentration {values}" if strategy else ""))


def _measured(
    wanted: Wanted,
    network: Classifier,
    images: ImageSet,
    accelerator: Accelerator | None,
    measure: bool,
    compare: bool,
) -> Reading:
    """The prior by the moments of the network's activations, in as few passes as there can be."""
    through = partial(run_through, network, images, accelerator)
    names = get_args(SpaceName) if compare else (wanted.space,)
    first, last = first_pass(through, names, wanted.space, images.class_names), None
    known = wanted.space == "raw"  # before the second pass, which can then see activations from its directions
    prior = wanted.of(network.cpu(), space=Space(), moments=first.raw) if known else None
    if first.rest or (known and measure):
        last = through(spaces=first.rest, prior=prior if measure else None)
    seen = first.seen(last)
    (space, moments), *_ = (one for one in seen if one[0].name == wanted.space)
    if not known:
        prior = wanted.of(network.cpu(), space=space, moments=moments)
        last = through(prior=prior) if measure else last
    if not measure:
        return Reading(prior)
    found = directions_of(last.versine, last.labels, moments.total.norm(dim=1) / moments.count)
    words = f"{counted(len(images), 'training image')} of {images.name}"
    return Reading(prior, Measured(moments, found, words, tuple(seen) if compare else (), first.without))


def _saved(model: str, values: float | list[float] | str | None, gauge: Gauge, data: str | None) -> ClassifierPrior:
    """A prior from its file or its generator, with other concentrations where they are given."""
    asked = f"--concentration {values}" if isinstance(values, str) else gauge.given()
    if asked:
        raise InputError(
            f"{asked} with the prior in {model}: it has no network to measure; "
            + ("give numbers" if isinstance(values, str) else "leave it out, or read the prior off a classifier")
        )
    if data is not None:
        raise InputError(f"--data {data} with the prior in {model}: it has no network to measure; leave it out")
    prior = ClassifierPrior.load(model) if is_saved(model) else generator_run(model).class_prior()
    _check_count(values, prior.classes)
    return prior if values is None else prior.with_concentration(values)


def _check_count(values: float | list[float] | str | None, classes: int) -> None:
    """Refuse several concentrations that are not one for each class."""
    if isinstance(values, list) and len(values) != classes:
        raise InputError(
            f"--concentration gives {len(values)} numbers: one, or one for each of {classes} classes, was expected"
        )


def is_saved(model: str) -> bool:
    """Whether a MODEL is a file that `penult prior --out` wrote."""
    return model.lower().endswith(".safetensors") and is_run(model)


def is_prior(model: str) -> bool:
    """Whether a MODEL is a prior rather than a network that one is read off: saved, or a generator's own.

    Raises:
        InputError: a run that is not there, not finished or damaged.
    """
    return is_saved(model) or _of_generator(model)


def _of_generator(model: str) -> bool:
    """Whether a MODEL is the run of a generator whose latents come from a class prior."""
    if is_saved(model) or not is_run(model):
        return False
    run = open_run(model)
    return kind_of(run).family == GENERATOR and isinstance(description_of(run).get("prior"), dict)


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
