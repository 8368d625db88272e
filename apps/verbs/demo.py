"""The whole path on one data set: a classifier, its prior, HVAE, HVAE-C and HVAE-L, their samples and likelihoods.

On digits it needs no download and takes about a minute on two CPU cores. The same command again goes on
where it was stopped.
"""

from dataclasses import dataclass, field, replace

import tyro

from apps.classifiers.settings import ClassifierTraining, PriorReading
from apps.command.config import Data, Optimisation, Place
from apps.generators.hvae_settings import HVAESettings
from priors.errors import InputError

VARIANTS = ("hvae", "hvae-c", "hvae-l")
_COLUMNS = 8
"""Samples of a class in the picture."""


@dataclass(frozen=True)
class Config:
    """Show the whole path."""

    data: str = "digits"
    """Data set: digits, mnist, or another of small grey pictures."""
    latent_dim: int = 5
    """d: the latents lie on S^d in R^(d+1)."""
    concentration: float = 20.0
    """Concentration of the classifier's prior."""
    epochs: float | None = None
    """Epochs of each generator; unset: enough for the data set's size."""
    samples: int = 500
    """Importance samples an image, for the likelihoods."""
    seed: int = 0
    """Seed of everything random."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse before the first training what would stop the third."""
        for flag, value, fine, expected in (
            ("--latent-dim", self.latent_dim, self.latent_dim >= 1, "1 or more"),
            ("--concentration", self.concentration, 0 <= self.concentration < float("inf"), "a finite number from 0"),
            ("--samples", self.samples, self.samples >= 1, "1 or more"),
        ):
            if not fine:
                raise InputError(f"{flag} {value}: expected {expected}")


def main(config: Config) -> None:
    """Train what is not trained yet, then draw, score and print."""
    from apps.classifiers.prior import read_off
    from apps.classifiers.training import train_classifier
    from apps.command.console import say
    from apps.data import sources
    from apps.generators.side_by_side import show_side_by_side
    from apps.generators.train_hvae import train_hvae
    from apps.training.train import data_label, slug

    place, base = config.place, slug(f"demo-{data_label(config.data)}")
    steps = _steps(config, len(sources.load(config.data, "train", root=place.data_root)))
    say(f"1/4  a classifier of {config.data} with {config.latent_dim + 1} penultimate units")
    train_classifier(_classifier(config, base, steps), guide=False)
    say("2/4  the von Mises-Fisher prior in its final layer")
    read_off(PriorReading(model=_trained(config, base), concentration=(str(config.concentration),), place=place))
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
    say(f"Next: penult sample {runs}/{base}-hvae-l {labels} --out grid.png, or penult train hvae --help")


def _steps(config: Config, count: int) -> Optimisation:
    """Enough of them on `count` images for pictures worth looking at, in a time worth waiting for."""
    epochs = max(10.0, min(150.0, 215_000 / count)) if config.epochs is None else config.epochs
    every = max(1.0, epochs / 15)
    return Optimisation(epochs=epochs, schedule="cosine", final_lr=0.05, seed=config.seed, validate_every=every)


def _classifier(config: Config, base: str, steps: Optimisation) -> ClassifierTraining:
    """A classifier whose penultimate units are the coordinates of the generators' latents."""
    return ClassifierTraining(
        data=Data(config.data),
        arch="mlp",
        penultimate=config.latent_dim + 1,
        optimisation=replace(steps, epochs=max(3.0, steps.epochs / 5)),
        where=config.place.where(f"{base}-classifier"),
    )


def _trained(config: Config, base: str) -> str:
    """The classifier as a MODEL."""
    return str(config.place.runs / f"{base}-classifier")


def _generator(config: Config, base: str, steps: Optimisation, variant: str) -> HVAESettings:
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
