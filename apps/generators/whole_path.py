"""The whole path on one data set: a classifier, its prior, HVAE, HVAE-C and HVAE-L, their samples and likelihoods."""

import shlex
from dataclasses import replace

from apps.classifiers.prior.reading import sum_up
from apps.classifiers.settings import ClassifierTraining, PriorReading
from apps.classifiers.training import train_classifier
from apps.command.config import Data, Optimisation
from apps.command.console import say
from apps.data import sources
from apps.generators.hvae_settings import HVAESettings
from apps.generators.side_by_side import show_side_by_side
from apps.generators.train_hvae import train_hvae
from apps.generators.whole_path_settings import WholePath
from apps.training.train import data_label, slug

VARIANTS = ("hvae", "hvae-c", "hvae-l")
_COLUMNS = 8
"""Samples of a class in the picture."""


def go_the_whole_path(config: WholePath) -> None:
    """Train what is not trained yet, then draw, score and print.

    Raises:
        InputError: images that cannot be had, or a folder that holds something else.
    """
    place, base = config.place, slug(f"demo-{data_label(config.data)}")
    steps = _steps(config, len(sources.load(config.data, "train", root=place.data_root)))
    say(f"1/4  a classifier of {config.data} with {config.latent_dim + 1} penultimate units")
    train_classifier(_classifier(config, base, steps), guide=False)
    say("2/4  the von Mises-Fisher prior in its final layer")
    sum_up(PriorReading(model=_trained(config, base), concentration=(str(config.concentration),), place=place))
    say("3/4  the generators: unconditional, conditioned by the label, conditioned by the prior")
    for variant in VARIANTS:
        train_hvae(_generator(config, base, steps, variant), guide=False)
    say("4/4  pictures and likelihoods")
    runs, picture = place.runs, place.runs / f"{base}.png"
    models = [runs / f"{base}-{variant}" for variant in VARIANTS]
    classes = show_side_by_side(
        models, picture, config.data, place, columns=_COLUMNS, samples=config.samples, seed=config.seed
    )
    say(f"Pictures: {picture}. Runs: {runs}/{base}-*.")
    labels = f"--labels 0-{classes - 1} --n {_COLUMNS}"
    say(f"Next: penult sample {shlex.quote(str(models[-1]))} {labels} --out grid.png, or penult train hvae --help")


def _steps(config: WholePath, count: int) -> Optimisation:
    """Enough of them on `count` images for pictures worth looking at, in a time worth waiting for."""
    epochs = max(10.0, min(150.0, 215_000 / count)) if config.epochs is None else config.epochs
    every = max(1.0, epochs / 15)
    return Optimisation(epochs=epochs, schedule="cosine", final_lr=0.05, seed=config.seed, validate_every=every)


def _classifier(config: WholePath, base: str, steps: Optimisation) -> ClassifierTraining:
    """A classifier whose penultimate units are the coordinates of the generators' latents."""
    return ClassifierTraining(
        data=Data(config.data),
        arch="mlp",
        penultimate=config.latent_dim + 1,
        optimisation=replace(steps, epochs=max(3.0, steps.epochs / 5)),
        where=config.place.where(f"{base}-classifier"),
    )


def _trained(config: WholePath, base: str) -> str:
    """The classifier as a MODEL."""
    return str(config.place.runs / f"{base}-classifier")


def _generator(config: WholePath, base: str, steps: Optimisation, variant: str) -> HVAESettings:
    """A generator, on the classifier's prior where it is of that kind."""
    own = {"classifier": _trained(config, base), "concentration": (str(config.concentration),)}
    return HVAESettings(
        data=Data(config.data),
        variant=variant,
        latent_dim=config.latent_dim,
        kl_warmup=steps.epochs / 8,
        optimisation=steps,
        where=config.place.where(f"{base}-{variant}"),
        **(own if variant == "hvae-l" else {}),
    )
