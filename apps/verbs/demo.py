"""The whole path on one data set: a classifier, its prior, HVAE, HVAE-C and HVAE-L, their samples and likelihoods.

On digits it needs no download and takes about a minute on two CPU cores. The same command again goes on
where it was stopped.
"""

from dataclasses import dataclass, field, replace

import tyro

from apps.command.config import Data, Optimisation, Place
from priors.errors import InputError

VARIANTS = ("hvae", "hvae-c", "hvae-l")
_COLUMNS = 8
"""Samples of a class in the picture."""
_SCORED = 1000
"""Test images scored at the most: ten decodings for each of 500 draws of each take their time."""


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
    from apps.data import sources
    from apps.training.train import data_label, slug

    base = slug(f"demo-{data_label(config.data)}")
    _train(config, base, len(sources.load(config.data, "train", root=config.place.data_root)))
    _show(config, base)


def _train(config: Config, base: str, count: int) -> None:
    """A classifier, its prior, and the three generators, from `count` images."""
    from apps.classifiers.settings import ClassifierTraining
    from apps.classifiers.training import train_classifier
    from apps.command.console import say
    from apps.verbs import prior, train_hvae

    # Enough steps for pictures worth looking at, in a time worth waiting for.
    epochs = max(10.0, min(150.0, 215_000 / count)) if config.epochs is None else config.epochs
    steps = Optimisation(
        epochs=epochs, schedule="cosine", final_lr=0.05, seed=config.seed, validate_every=max(1.0, epochs / 15)
    )
    data = Data(config.data)
    say(f"1/4  a classifier of {config.data} with {config.latent_dim + 1} penultimate units")
    train_classifier(
        ClassifierTraining(
            data=data,
            arch="mlp",
            penultimate=config.latent_dim + 1,
            optimisation=replace(steps, epochs=max(3.0, epochs / 5)),
            where=config.place.where(f"{base}-classifier"),
        ),
        guide=False,
    )
    say("2/4  the von Mises-Fisher prior in its final layer")
    classifier, concentration = str(config.place.runs / f"{base}-classifier"), (str(config.concentration),)
    prior.main(prior.Config(model=classifier, concentration=concentration, place=config.place))
    say("3/4  the generators: unconditional, conditioned by the label, conditioned by the prior")
    for variant in VARIANTS:
        own = {"classifier": classifier, "concentration": concentration} if variant == "hvae-l" else {}
        train_hvae.main(
            train_hvae.Config(
                data=data,
                variant=variant,
                latent_dim=config.latent_dim,
                kl_warmup=epochs / 8,
                optimisation=steps,
                where=config.place.where(f"{base}-{variant}"),
                **own,
            ),
            guide=False,
        )


def _show(config: Config, base: str) -> None:
    """The generators' samples in one picture, and their likelihoods in one table."""
    from apps.command.console import say, table
    from apps.data import sources
    from apps.figures import grid
    from apps.generators.likelihood import likelihood
    from apps.models.drawing import draw_all
    from apps.models.named import generator_run
    from apps.training.session import start, sweeping

    say("4/4  pictures and likelihoods")
    runs = config.place.runs
    accelerator = start(config.place.where(), work="small")
    test = sources.load(config.data, "test", root=config.place.data_root)
    scope = f"{len(test):,} test images of {config.data}"
    if len(test) > _SCORED:
        test, scope = test.subset(range(_SCORED)), f"the first {_SCORED:,} of {scope}"
    shown = min(10, test.classes)
    rows, panels, titles = [], [], []
    for variant in VARIANTS:
        model = generator_run(runs / f"{base}-{variant}").to(accelerator.device)
        scored = likelihood(model, test, sweeping(accelerator, progress=True), samples=config.samples, seed=0)
        labelled = [f"{mean.value:.2f}" if mean else "-" for mean in (scored.given_label, scored.joint)]
        rows.append((model.title, f"{scored.elbo.value:.2f}", *labelled, str(scored.marginal)))
        if model.conditional:
            panels.append(draw_all(model, range(shown), _COLUMNS, config.seed))
            titles.append(model.title)
        else:
            images = draw_all(model, None, _COLUMNS * shown, config.seed).flatten(0, 1)
            panels.append(images[: _COLUMNS * shown].unflatten(0, (shown, _COLUMNS)))
            titles.append(f"{model.title}: any class")
    if not accelerator.is_main_process:
        return
    grid(runs / f"{base}.png", panels[::-1], titles[::-1], test.class_names[:shown])
    table(
        f"{scope}, in nats; K = {config.samples} importance samples",
        ("model", "ELBO", "log p(x|i)", "log p(x,i)", "log p(x)"),
        rows,
        "ELBO bounds log p(x) of HVAE and log p(x|i) of the others; log p(x) compares all (mean +- standard error)",
    )
    say(f"Pictures: {runs}/{base}.png. Runs: {runs}/{base}-*.")
    labels = f"--labels 0-{shown - 1} --n {_COLUMNS}"
    say(f"Next: penult sample {runs}/{base}-hvae-l {labels} --out grid.png, or penult train hvae --help")
