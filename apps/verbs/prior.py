"""Read the von Mises-Fisher prior off a classifier's final layer: a table of its classes, and a file to keep it in.

A second table says how vMF-like the activations really are, measured on the classifier's training images.

Concentrations: norms is ||w_i|| times the activations' mean norm; mle the likeliest one for each class's activations
about w_i, mle-pooled one for all classes; sweep:5,20,80 trains what --for names with each value and takes the one that
serves best on held-out images.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from apps.command.config import Foreign, Place


@dataclass(frozen=True)
class Config:
    """Read off a prior."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    concentration: tuple[str, ...] = ()
    """A number, one a class, norms, mle, mle-pooled, or sweep:5,20,80 (see above); unset: 20, or as saved."""
    task: Annotated[str | None, tyro.conf.arg(name="for")] = None
    """What a sweep chooses for: hvae-l, by the bound on held-out images; sngan, by FID (--train extractor=MODEL); ckd,
    by the student's accuracy (--train validation=N)."""
    train: tuple[str, ...] = ()
    """Options of a sweep's trainings, as in epochs=40 hidden=256,128 encoder-label; name=... begins their names."""
    data: str | None = None
    """Data set that activations are measured on, and a sweep trains on; unset: the one the run was trained on."""
    image_size: int | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as the run was trained."""
    measure: bool = True
    """Whether to run the training images through the network for the second table."""
    out: Path | None = None
    """File to write the prior to, ending in .safetensors; --classifier of penult train hvae takes it."""
    overwrite: bool = False
    """Whether --out may replace a file."""
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)


def main(config: Config) -> None:
    """Print the tables, and write the file where one is asked for."""
    from dataclasses import replace

    from apps.classifiers.concentration_sweep import choose, is_sweep
    from apps.command.console import say
    from apps.models.classifier_priors import is_saved, read_prior
    from apps.runs.outputs import check_file
    from apps.training.session import start
    from priors.errors import InputError

    given = " ".join(config.concentration)
    sweeping = is_sweep(config.concentration)
    for flag, value in (("--for", config.task), ("--train", " ".join(config.train))):
        if value and not sweeping:
            raise InputError(f"{flag} {value} without a sweep: give --concentration sweep:5,20,80 with it")
    if sweeping and config.task is None:
        raise InputError(f"--concentration {given} without a task: give --for hvae-l with it")
    if config.out is not None:
        check_file(config.out, (".safetensors",), config.overwrite)
    choice, concentration = None, config.concentration
    if sweeping:
        choice = choose(
            config.task,
            config.concentration,
            config.train,
            config.model,
            config.foreign,
            config.place,
            config.data,
            config.image_size,
        )
        concentration = (str(choice.best.concentration),)
    accelerator = start(config.place.where())
    reading = read_prior(
        config.model,
        concentration,
        config.foreign,
        # A sweep on a saved prior trains on --data, but there is no network to measure on it.
        data=None if choice is not None and is_saved(config.model) else config.data,
        image_size=config.image_size,
        root=config.place.data_root,
        accelerator=accelerator,
        measure=config.measure,
    )
    prior = reading.prior
    if choice is not None:
        prior.provenance = replace(prior.provenance, concentration=choice.how)
    if not accelerator.is_main_process:
        return
    if choice is not None:
        _print_choice(choice, config)
    _print_classes(prior, config)
    if reading.measured is not None:
        _print_fits(reading)
    if config.out is not None:
        prior.save(config.out)
        say(f"The prior is in {config.out}. Next: penult train hvae --variant hvae-l --classifier {config.out} --help")


def _print_choice(choice, config: Config) -> None:
    """What each concentration came to."""
    from apps.command.console import table

    table(
        f"{config.model}: the concentration for {config.task}",
        ("concentration", choice.task.title, "best at epoch", "run", ""),
        [
            (
                f"{trial.concentration:.6g}",
                f"{trial.score:.3f}",
                f"{trial.epochs:.3g}",
                trial.run,
                "chosen" if trial is choice.best else "",
            )
            for trial in choice.trials
        ],
        choice.advice,
    )


def _print_classes(prior, config: Config) -> None:
    """What the weights tell of each class."""
    from apps.command.console import table

    table(
        f"{config.model}: {prior.classes} classes on the unit sphere of R^{prior.dim}",
        ("class", "|w|", "concentration", "mean resultant length", "nearest class", "cosine"),
        [
            (
                row.name,
                f"{row.norm:.3f}",
                f"{row.concentration:.4g}",
                f"{row.mean_resultant_length:.3f}",
                row.nearest,
                f"{row.cosine:.3f}",
            )
            for row in prior.class_table()
        ],
        f"concentration: {prior.provenance.concentration}; |w|: norm of the final layer's weight; mean resultant "
        "length: expected cosine with the mean direction; cosine: between the mean directions",
    )


def _print_fits(reading) -> None:
    """How the directions of activations compare with the prior."""
    from apps.command.console import say, table
    from priors.goodness_of_fit import cosine_fits

    prior, found = reading.prior, reading.measured
    fits, pooled = cosine_fits(prior, found.penultimate, found.labels)
    by_norms = ["-"] * prior.classes
    if pooled.samples:
        values = prior.with_concentration("norms", activations=found.penultimate).concentration.tolist()
        by_norms = [f"{value:.4g}" for value in values]
    rows = [_row(name, fit, kappa) for name, fit, kappa in zip(prior.class_names, fits, by_norms, strict=True)]
    zero = len(found.labels) - pooled.samples
    say()
    table(
        f"directions of the activations of {reading.images}",
        ("class", "images", "R", "cosine", "expected", "KS", "norms", "mle", "KS of mle"),
        [*rows, _row("all, pooled", pooled, "-")],
        "R: length of the mean direction; cosine: mean, with the class's weight; expected: that cosine under the "
        "prior; norms, mle: concentrations chosen in these ways (mle-pooled last); KS: largest gap, 0 to 1, between "
        "the distribution functions of the cosines and of the vMF's, by the prior and by mle; n draws from the vMF "
        "itself stay below 1.36 / sqrt(n) in 95 % of cases"
        + (f"; {zero:,} images with zero activations are left out" if zero else ""),
    )


def _row(name: str, fit, by_norms: str) -> tuple[str, ...]:
    def shown(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        name,
        f"{fit.samples:,}",
        shown(fit.resultant, ".3f"),
        shown(fit.mean_cosine, ".3f"),
        shown(fit.expected_cosine, ".3f"),
        shown(fit.distance, ".3f"),
        by_norms,
        shown(fit.likeliest, ".4g"),
        shown(fit.likeliest_distance, ".3f"),
    )
