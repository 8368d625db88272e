"""Draw a classifier of two penultimate units: activations, weights and class densities on the circle, as it trains.

A panel for each snapshot of the run (penult train classifier --snapshots 0 100 1000) and one for its final network. Of
several MODELs, such as a teacher and its students, the final networks side by side.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from apps.command.config import Foreign, Place


@dataclass(frozen=True)
class Config:
    """Draw circles."""

    models: tyro.conf.Positional[tuple[str, ...]]
    """The classifiers: MODELs, see penult --help."""
    concentration: tuple[str, ...] = ("norms",)
    """A number, one a class, or a strategy of penult prior, by each panel's own activations; norms is the paper's."""
    data: str | None = None
    """Data set whose test images are run through the networks; unset: the one the run was trained on."""
    image_size: int | None = None
    """Height and width to resize an image folder's pictures to, in pixels; unset: as the run was trained."""
    dots: int = 1500
    """Images shown in a panel; accuracies and concentrations are of all."""
    seed: int = 0
    """Seed of the choice of those, and of their scatter."""
    out: Path | None = None
    """Picture to write; unset: circle.png in the run's folder."""
    overwrite: bool = False
    """Whether a picture may be replaced."""
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)


def main(config: Config) -> None:
    """Run the test images through each network, draw, and print the order of the classes around the circle."""
    from apps.classifiers.circle import cyclic_order, draw, panel
    from apps.command.console import say, table
    from apps.figures import PICTURE_SUFFIXES
    from apps.models.activations import activations, images_for
    from apps.models.classifier_priors import concentrations
    from apps.models.named import classifier, is_run
    from apps.runs.outputs import check_file
    from apps.training.session import start
    from priors.classifier_prior import ClassifierPrior
    from priors.errors import InputError

    if not config.models:
        raise InputError("no MODEL was given: expected a run of a classifier with --penultimate 2")
    if config.dots < 0:
        raise InputError(f"--dots {config.dots}: expected 0 or more")
    kappa = concentrations(config.concentration)
    kappa = "norms" if kappa is None else kappa
    if config.out is None and (len(config.models) > 1 or not is_run(config.models[0])):
        raise InputError("where to draw? Several models, or one that is no run, have no one folder: give --out")
    out = config.out or Path(config.models[0]) / "circle.png"
    accelerator = start(config.place.where())
    stages = [stage for model in config.models for stage in _stages(model, alone=len(config.models) == 1)]
    networks = [classifier(model, config.foreign) for _, model in stages]
    priors = [ClassifierPrior.from_classifier(network, 0) for network in networks]
    for (_, model), network, prior in zip(stages, networks, priors, strict=True):
        if prior.dim != 2:
            raise InputError(
                f"{model} has {prior.dim} penultimate units and a circle takes 2: train one by penult train classifier "
                "--arch convnet --penultimate 2 --snapshots 0 100 1000"
            )
        if network.class_names != networks[0].class_names:
            raise InputError(f"{model} and {stages[0][1]} have different classes: draw them apart")
    check_file(out, PICTURE_SUFFIXES, config.overwrite)
    panels = []
    for (title, model), network, prior in zip(stages, networks, priors, strict=True):
        images = images_for(
            model, network, "test", data=config.data, image_size=config.image_size, root=config.place.data_root
        )
        found = activations(network, images, accelerator, description=title)
        panels.append(panel(title, prior, found, kappa))
    if not accelerator.is_main_process:
        return
    count = min(config.dots, len(images))
    some = f"{count:,} of the {len(images):,}" if count < len(images) else f"the {count:,}"
    how = "; ".join(dict.fromkeys(one.prior.provenance.concentration.partition(":")[0] for one in panels))
    caption = (
        f"Dots: directions of the penultimate activations of {some} test images of {images.name}, scattered inwards."
    )
    if isinstance(kappa, str):
        caption += f" Concentrations \N{GREEK SMALL LETTER KAPPA} by {how}, of all of them."
    draw(out, panels, caption, config.dots, config.seed)
    table(
        f"{len(images):,} test images of {images.name}",
        ("network", "accuracy", "concentration", "classes around the circle"),
        [
            (
                one.title,
                f"{one.accuracy:.2%}",
                f"{one.prior.concentration.min():.4g} to {one.prior.concentration.max():.4g}",
                " ".join(one.prior.class_names[label] for label in cyclic_order(one.prior.weight)),
            )
            for one in panels
        ],
        "the order is of the weights' directions, from the first class, in the direction that meets the smaller one",
    )
    without = {one.title: one.without for one in panels if one.without}
    if without:
        said = ", ".join(f"{number:,} of {title}" for title, number in without.items())
        say(f"Left out, since they are zero and have no direction: activations {said}.")
    say(f"The picture is {out}.")


def _stages(model: str, alone: bool) -> list[tuple[str, str]]:
    """Title and MODEL of each panel: of a run by itself its snapshots as well."""
    from apps.models.named import is_run, open_run

    if not is_run(model):
        return [(model, model)]
    run = open_run(model)
    result = run.result()
    step, best = result.get("best step", result.get("steps")), "best step" in result
    if not alone:
        return [(_name(run.folder), model)]
    by_step = {int(path.name[5:]): (f"step {int(path.name[5:]):,}", str(path)) for path in run.snapshots()}
    if not isinstance(step, int):
        return [*by_step.values(), (_name(run.folder), model)]
    by_step[step] = (f"step {step:,} ({'best' if best else 'last'})", model)
    return [by_step[step] for step in sorted(by_step)]


def _name(folder: Path) -> str:
    """What a run is called among others: its folder, and of a snapshot also its run's."""
    folder = folder.resolve()
    return f"{folder.parents[1].name}, {folder.name}" if folder.parent.name == "snapshots" else folder.name
