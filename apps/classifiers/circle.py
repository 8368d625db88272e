"""Classifiers of two penultimate units on their circles: which networks, what they make of the images, what is said."""

from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator

from apps.classifiers.circle_figures import Panel, cyclic_order, draw, panel
from apps.classifiers.prior_tables import said_gauge
from apps.classifiers.settings import CircleDrawing
from apps.command.console import counted, say, table
from apps.data.image_set import ImageSet
from apps.figures import PICTURE_SUFFIXES
from apps.models.activations import activations, images_for
from apps.models.classifier_priors import Wanted, concentrations, wanted_prior
from apps.models.named import classifier, is_run, open_run
from apps.runs.outputs import check_file
from apps.training.session import start
from priors.errors import InputError
from priors.model.classifier_prior import ClassifierPrior
from priors.model.concentration import Concentration
from priors.zoo import Classifier


@dataclass(frozen=True)
class _Stage:
    """A network that gets a panel."""

    title: str
    model: str
    """As on the command line."""
    network: Classifier
    prior: ClassifierPrior
    """With a concentration of 0, before there are activations to choose one by."""


def draw_circles(config: CircleDrawing) -> None:
    """Run the test images through each network, draw, and print the order of the classes around the circle.

    Raises:
        InputError: no such model or images, networks without a circle or with different classes, a concentration that
            cannot be, or a place that cannot be written.
    """
    out = _place(config)
    kappa = concentrations(config.concentration)
    if kappa is None:
        kappa = {"fitted": "fitted", "means": "mle"}.get(config.gauge.directions or "", "norms")
    wanted = wanted_prior(kappa, config.gauge)
    accelerator = start(config.place.where())
    stages = _stages(config)
    check_file(out, PICTURE_SUFFIXES, config.overwrite)
    panels = []
    for stage in stages:
        one, images = _panel(stage, wanted, config, accelerator)
        panels.append(one)
    if not accelerator.is_main_process:
        return
    draw(out, panels, _caption(config, panels, images, kappa), config.dots, config.seed)
    _print(panels, images)
    say(f"The picture is {out}.")


def _place(config: CircleDrawing) -> Path:
    """Where to draw; what needs no network to be refused is refused here."""
    if config.out is None and (len(config.models) > 1 or not is_run(config.models[0])):
        raise InputError("where to draw? Several models, or one that is no run, have no one folder: give --out")
    return config.out or Path(config.models[0]) / "circle.png"


def _stages(config: CircleDrawing) -> list[_Stage]:
    """The networks of all panels.

    Raises:
        InputError: one has no circle, or other classes than the first.
    """
    alone, stages = len(config.models) == 1, []
    for title, model in (stage for given in config.models for stage in _titled(given, alone)):
        network = classifier(model, config.foreign)
        stages.append(_Stage(title, model, network, ClassifierPrior.from_classifier(network, 0)))
    for stage in stages:
        if stage.prior.dim != 2:
            raise InputError(
                f"{stage.model} has {stage.prior.dim} penultimate units and a circle takes 2: train one by penult "
                "train classifier --arch convnet --penultimate 2 --snapshots 0 100 1000"
            )
        if stage.network.class_names != stages[0].network.class_names:
            raise InputError(f"{stage.model} and {stages[0].model} have different classes: draw them apart")
    return stages


def _titled(model: str, alone: bool) -> list[tuple[str, str]]:
    """Title and MODEL of each panel: of a run by itself its snapshots as well."""
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


def _panel(stage: _Stage, wanted: Wanted, config: CircleDrawing, accelerator: Accelerator) -> tuple[Panel, ImageSet]:
    """A network's panel, and the images that were run through it."""
    place = {"data": config.data, "image_size": config.image_size, "root": config.place.data_root}
    images = images_for(stage.model, stage.network, "test", **place)
    found = activations(stage.network, images, accelerator, description=stage.title)
    prior = replace(wanted, concentration=0.0).of(
        stage.network.cpu(), activations=found.penultimate, labels=found.labels
    )
    return panel(stage.title, prior, found, wanted.concentration), images


def _caption(config: CircleDrawing, panels: list[Panel], images: ImageSet, kappa: Concentration) -> str:
    """What the dots are, and where the concentrations are from."""
    count = min(config.dots, len(images))
    some = f"{count:,} of the {len(images):,}" if count < len(images) else f"the {count:,}"
    caption = (
        f"Dots: directions of the penultimate activations of {some} test images of {images.name}, scattered inwards."
    )
    if gauge := said_gauge(panels[0].prior).removeprefix(", "):
        caption = f"{caption} Gauge: {gauge}."
    if not isinstance(kappa, str):
        return caption
    how = "; ".join(dict.fromkeys(one.prior.provenance.concentration.partition(":")[0] for one in panels))
    return f"{caption} Concentrations \N{GREEK SMALL LETTER KAPPA} by {how}, of all of them."


def _print(panels: list[Panel], images: ImageSet) -> None:
    """A row a network, and how many activations have no direction."""
    table(
        f"{counted(len(images), 'test image')} of {images.name}",
        ("network", "accuracy", "concentration", "classes around the circle"),
        [
            (
                one.title,
                f"{one.accuracy:.2%}",
                f"{one.prior.concentration.min():.4g} to {one.prior.concentration.max():.4g}",
                " ".join(one.prior.class_names[label] for label in cyclic_order(one.prior.unit_rows())),
            )
            for one in panels
        ],
        "the order is of the classes' directions, from the first class, in the direction that meets the smaller one",
    )
    without = {one.title: one.without for one in panels if one.without}
    if without:
        said = ", ".join(f"{number:,} of {title}" for title, number in without.items())
        say(f"Left out, since they are zero and have no direction: activations {said}.")
