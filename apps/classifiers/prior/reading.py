"""Reading the prior off a classifier's final layer: tables, the file it is kept in, the choice of a concentration."""

import shlex
from dataclasses import replace

from accelerate import Accelerator

from apps.classifiers.prior.comparison import compare_gauges, print_gauges
from apps.classifiers.prior.concentration_sweep import Choice, choose, is_sweep
from apps.classifiers.prior.tables import print_choice, print_classes, print_fits, print_likeness, say_in_two_lines
from apps.classifiers.prior.told import tell_prior
from apps.classifiers.settings import PriorReading
from apps.command.console import counted, say
from apps.data.image_set import ImageSet
from apps.models.activations import images_for
from apps.models.classifier_priors import Reading, classifier_prior, is_prior, is_saved, read_prior
from apps.models.named import classifier, is_run, trained_on
from apps.runs.outputs import check_file
from apps.runs.run import Run
from apps.seeds import generator
from apps.training.session import start
from priors import ClassifierPrior
from priors.errors import InputError
from priors.fit.likeness import Likeness, likeness
from priors.zoo.network import same_classes


def read_off(config: PriorReading) -> None:
    """Print the tables, and write the file where one is asked for; a sweep trains its models first.

    Raises:
        InputError: no such model or images, a concentration, sweep or option that cannot be, or a place that cannot be
            written.
    """
    _check(config)
    choice = _choice(config) if is_sweep(config.concentration) else None
    accelerator = start(config.place.where())
    other = None if config.against is None else classifier_prior(config.against, ())
    held_out = _held_out(config)
    reading, compared = _reading(config, choice, accelerator, compare=held_out is not None), None
    alike = None if other is None else _alike(config, reading.prior, other)
    if held_out is not None:
        network = classifier(config.model, config.foreign)
        compared = compare_gauges(network, reading.measured, held_out, accelerator)
    if not accelerator.is_main_process:
        return
    if choice is not None:
        print_choice(config.model, choice)
    print_classes(config.model, reading.prior)
    if reading.measured is not None:
        print_fits(reading)
    if compared is not None:
        print_gauges(compared)
    if alike is not None:
        print_likeness(config.against, alike)
    tell_prior(config.model, reading, choice, compared, alike)
    if config.out is not None:
        reading.prior.save(config.out)
        data, place = (shlex.quote(str(given)) for given in (_data(config), config.out))
        told = f"--data {data} --classifier {place} --latent-dim {reading.prior.dim - 1}"
        say(f"The prior is in {config.out}. Next: penult train hvae {told}")


def sum_up(config: PriorReading) -> None:
    """Say in two lines what `read_off` would print, and where to see more.

    Raises:
        InputError: as for `read_off`.
    """
    _check(config)
    accelerator = start(config.place.where())
    reading = _reading(config, None, accelerator)
    if accelerator.is_main_process:
        say_in_two_lines(reading)
        runs = str(config.place.runs)
        place = "" if runs == "runs" else f" --runs {shlex.quote(runs)}"
        model, kappa = shlex.quote(config.model), " ".join(config.concentration)
        say(f"     all of it: penult prior {model} --concentration {kappa}{place}")


def _check(config: PriorReading) -> None:
    """Refuse what does not go together, before anything is trained or measured."""
    sweeping = is_sweep(config.concentration)
    for flag, value in (("--for", config.task), ("--train", " ".join(config.train))):
        if value and not sweeping:
            raise InputError(f"{flag} {value} without a sweep: give --concentration sweep:5,20,80 with it")
    if sweeping and config.task is None:
        given = " ".join(config.concentration)
        raise InputError(f"--concentration {given} without a task: give --for hvae-l with it")
    if config.out is not None:
        check_file(config.out, (".safetensors",), config.overwrite)


def _alike(config: PriorReading, prior: ClassifierPrior, other: ClassifierPrior) -> Likeness:
    """How the directions go with those of another prior.

    Raises:
        InputError: it is of other classes.
    """
    if len(prior) != len(other) or not same_classes(prior.class_names, other.class_names):
        raise InputError(
            f"--against {config.against}: its {counted(other.classes, 'class')} and the {prior.classes} of "
            f"{config.model} must be the same, in the same order"
        )
    return likeness(prior.unit_rows(), other.unit_rows(), generator=generator("cpu", 0, "likeness"))


def _data(config: PriorReading) -> str:
    """The data set that a generator on the prior may be trained on."""
    if config.data is None and is_run(config.model) and not is_saved(config.model):
        return trained_on(Run(config.model)).data
    return config.data or "DATA"


def _held_out(config: PriorReading) -> ImageSet | None:
    """Images to compare the gauges on, where that is asked for; whether there are any is known before the work.

    Raises:
        InputError: there are no such images.
    """
    measured = config.measure and not is_prior(config.model) and (config.data or is_run(config.model))
    if not (measured and config.compare) or config.gauge.given():
        return None
    network = classifier(config.model, config.foreign)
    place = {"data": config.data, "image_size": config.image_size, "classes": config.classes}
    place |= {"root": config.place.data_root}
    try:
        return images_for(config.model, network, "test", **place, again=True)
    except InputError as error:
        without = "held-out images out with --no-compare, or all images with --no-measure"
        raise InputError(f"{error}; or leave the {without}") from None


def _choice(config: PriorReading) -> Choice:
    """What validation says of a sweep's concentrations; what is measured afterwards is looked at before."""
    if config.measure and not is_prior(config.model) and (config.data or is_run(config.model)):
        network, root = classifier(config.model, config.foreign), config.place.data_root
        place = {"data": config.data, "image_size": config.image_size, "classes": config.classes, "root": root}
        images_for(config.model, network, "train", **place)
    return choose(
        config.task,
        config.concentration,
        config.train,
        config.model,
        config.foreign,
        config.place,
        config.data,
        config.image_size,
        config.gauge,
        config.classes,
    )


def _reading(config: PriorReading, choice: Choice | None, accelerator: Accelerator, compare: bool = False) -> Reading:
    """The prior with the chosen concentration, or the one asked for, and the activations measured with it."""
    reading = read_prior(
        config.model,
        config.concentration if choice is None else (str(choice.best.concentration),),
        config.foreign,
        gauge=config.gauge,
        # A sweep on a saved prior trains on --data, but there is no network to measure on it.
        data=None if choice is not None and is_prior(config.model) else config.data,
        image_size=config.image_size,
        classes=config.classes,
        root=config.place.data_root,
        accelerator=accelerator,
        measure=config.measure,
        compare=compare,
    )
    if choice is not None:
        reading.prior.provenance = replace(reading.prior.provenance, concentration=choice.how)
    return reading
