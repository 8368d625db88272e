"""Classifiers of two penultimate units on their circles: which networks, what they make of the images, what is said."""

from dataclasses import dataclass, replace
from pathlib import Path

from apps.classifiers.circle.figures import Panel, cyclic_order, draw, panel, said_dots
from apps.classifiers.circle.gauges import draw_in_every_gauge, say_without, tell_panels
from apps.classifiers.prior.tables import said_gauge
from apps.classifiers.settings import CircleDrawing
from apps.classifiers.stages import called, stages
from apps.command.console import counted, say, table
from apps.data.image_set import ImageSet
from apps.figures import PICTURE_SUFFIXES
from apps.models.activations import Activations, activations, images_for
from apps.models.classifier_priors import Wanted, concentrations, wanted_prior
from apps.models.named import classifier, is_run, open_run, results_in
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
        by_directions = {"fitted": "fitted", "means": "mle"}
        kappa = "mle" if config.every_gauge else by_directions.get(config.gauge.directions or "", "norms")
    wanted = wanted_prior(kappa, config.gauge)
    accelerator = start(config.place.where())
    drawn = _stages(config)
    check_file(out, PICTURE_SUFFIXES, config.overwrite)
    panels = []
    for stage in drawn:
        images = _images(stage, config)
        found = activations(stage.network, images, accelerator, description=stage.title)
        if config.every_gauge:
            if accelerator.is_main_process:
                draw_in_every_gauge(out, stage.title, stage.network.cpu(), found, wanted, images, config)
            return
        panels.append(_panel(stage, wanted, found))
    if not accelerator.is_main_process:
        return
    draw(out, panels, _caption(config, panels, images, kappa), config.dots, config.seed)
    _print(panels, images)
    tell_panels(panels, images, out)
    say(f"The picture is {out}.")


def _place(config: CircleDrawing) -> Path:
    """Where to draw; what needs no network to be refused is refused here."""
    folder = results_in(config.models[0]) if len(config.models) == 1 else None
    if config.out is None and folder is None:
        raise InputError("where to draw? Several models, or one that is no run, have no one folder: give --out")
    return config.out or folder / ("circle-gauges.png" if config.every_gauge else "circle.png")


def _stages(config: CircleDrawing) -> list[_Stage]:
    """The networks of all panels.

    Raises:
        InputError: one has no circle, or other classes than the first.
    """
    alone, drawn = len(config.models) == 1 and not config.every_gauge, []
    for title, model in (stage for given in config.models for stage in _titled(given, alone)):
        network = classifier(model, config.foreign)
        drawn.append(_Stage(title, model, network, ClassifierPrior.from_classifier(network, 0)))
    for stage in drawn:
        if stage.prior.dim != 2:
            raise InputError(
                f"{stage.model} has {stage.prior.dim} penultimate units and a circle takes 2: train one by penult "
                "train classifier --arch convnet --penultimate 2 --snapshots 0 100 1000"
            )
        if stage.network.class_names != drawn[0].network.class_names:
            raise InputError(f"{stage.model} and {drawn[0].model} have different classes: draw them apart")
    return drawn


def _titled(model: str, alone: bool) -> list[tuple[str, str]]:
    """Title and MODEL of each panel: of a run by itself its snapshots as well."""
    if not is_run(model):
        return [(model, model)]
    run = open_run(model)
    if not alone:
        return [(called(run.folder), model)]
    return [
        (called(run.folder) if one.step is None else f"step {one.step:,}{one.final and f' ({one.final})'}", one.model)
        for one in stages(model, run)
    ]


def _images(stage: _Stage, config: CircleDrawing) -> ImageSet:
    """The images that are run through a network."""
    place = {
        "data": config.data,
        "image_size": config.image_size,
        "classes": config.classes,
        "root": config.place.data_root,
    }
    return images_for(stage.model, stage.network, "test", **place)


def _panel(stage: _Stage, wanted: Wanted, found: Activations) -> Panel:
    """A network's panel."""
    prior = replace(wanted, concentration=0.0).of(
        stage.network.cpu(), activations=found.penultimate, labels=found.labels
    )
    return panel(stage.title, prior, found, wanted.concentration)


def _caption(config: CircleDrawing, panels: list[Panel], images: ImageSet, kappa: Concentration) -> str:
    """What the dots are, and where the concentrations are from."""
    caption = said_dots(config.dots, images)
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
    say_without(panels)
