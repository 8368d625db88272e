"""The whole path on one data set: a classifier, its prior, HVAE, HVAE-C and HVAE-L, their samples and likelihoods.

On digits it needs no download and takes about a minute and a half on two CPU cores. The same command again goes on
where it was stopped.
"""

from dataclasses import dataclass, field, replace

import tyro

from apps.config import Data, Optimisation, Place, Where


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
    seed: int = 0
    """Seed of everything random."""
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)


def main(config: Config) -> None:
    """Train what is not trained yet, then draw, score and print."""
    from apps import datasets
    from apps.console import say, table
    from apps.figures import grid
    from apps.likelihood import likelihood
    from apps.models import generator_run
    from apps.sampling import draw_all
    from apps.session import start, sweeping
    from apps.training import data_label, slug
    from apps.verbs import prior, train_classifier, train_hvae

    place = config.place
    base = slug(f"demo-{data_label(config.data)}")
    count = len(datasets.load(config.data, "train", root=place.data_root))
    # Enough steps for pictures worth looking at, in a time worth waiting for.
    epochs = config.epochs or max(10.0, min(150.0, 215_000 / count))
    steps = Optimisation(
        epochs=epochs, schedule="cosine", final_lr=0.05, seed=config.seed, validate_every=max(1.0, epochs / 15)
    )
    data = Data(config.data)

    def named(name: str) -> Where:
        return place.where(f"{base}-{name}")

    say(f"1/4  a classifier of {config.data} with {config.latent_dim + 1} penultimate units")
    train_classifier.main(
        train_classifier.Config(
            data=data,
            arch="mlp",
            penultimate=config.latent_dim + 1,
            optimisation=replace(steps, epochs=max(3.0, epochs / 5), validate_every=max(1.0, epochs / 15)),
            where=named("classifier"),
        ),
        guide=False,
    )
    say("2/4  the von Mises-Fisher prior in its final layer")
    classifier = str(place.runs / f"{base}-classifier")
    prior.main(prior.Config(model=classifier, concentration=(str(config.concentration),), place=place))
    variants = ("hvae", "hvae-c", "hvae-l")
    for variant in variants:
        say(f"3/4  {variant.upper()}")
        train_hvae.main(
            train_hvae.Config(
                data=data,
                variant=variant,
                latent_dim=config.latent_dim,
                classifier=classifier if variant == "hvae-l" else None,
                concentration=(str(config.concentration),) if variant == "hvae-l" else (),
                kl_warmup=epochs / 8,
                optimisation=steps,
                where=named(variant),
            ),
            guide=False,
        )
    accelerator = start(place.where(), work="small")
    say("4/4  pictures and likelihoods")
    test = datasets.load(config.data, "test", root=place.data_root)
    rows, panels, titles = [], [], []
    for variant in variants:
        model = generator_run(place.runs / f"{base}-{variant}")
        scored = likelihood(
            model.to(accelerator.device), test, sweeping(accelerator, progress=True), samples=500, seed=0
        )
        labelled = [f"{mean.value:.2f}" if mean else "-" for mean in (scored.given_label, scored.joint)]
        rows.append((model.title, f"{scored.elbo.value:.2f}", *labelled, str(scored.marginal)))
        labels = list(range(min(10, len(model.class_names)))) if model.conditional else None
        drawn = draw_all(model, labels, 8 if labels else 8 * min(10, len(model.class_names)), config.seed)
        panels.append(
            drawn if labels else drawn.flatten(0, 1)[: 8 * min(10, len(model.class_names))].unflatten(0, (-1, 8))
        )
        titles.append(model.title + ("" if model.conditional else ": any class"))
    if not accelerator.is_main_process:
        return
    picture = place.runs / f"{base}.png"
    grid(picture, panels[::-1], titles[::-1], model.class_names[:10])
    table(
        f"{len(test):,} test images of {config.data}, in nats; K = 500 importance samples",
        ("model", "ELBO", "log p(x|i)", "log p(x,i)", "log p(x)"),
        rows,
        "ELBO bounds log p(x) of HVAE and log p(x|i) of the others; log p(x) compares all (mean +- standard error)",
    )
    say(f"Pictures: {picture}. Runs: {place.runs}/{base}-*.")
    say(
        f"Next: penult sample {place.runs}/{base}-hvae-l --labels 0-9 --n 8 --out grid.png, or penult train hvae --help"
    )
