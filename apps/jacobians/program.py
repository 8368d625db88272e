"""The program of `penult analyse saliency`: what is explained, by which methods, and where it goes."""

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Bool
from torch import Tensor

from apps.command.console import counted, paragraph, say, table
from apps.jacobians.baselines import missing
from apps.jacobians.drawing import CONTROLS, Drawing, usual_blur
from apps.jacobians.inside.found import Inside, inside_of
from apps.jacobians.inside.regions import regions
from apps.jacobians.inside.tables import print_inside, told
from apps.jacobians.measuring import SOURCES, Found, measure
from apps.jacobians.methods import Maps, methods
from apps.jacobians.settings import METHOD_NAMES, OWN_METHODS, SaliencySettings
from apps.jacobians.shown import Shown, class_of, file_name, shown
from apps.jacobians.sites import last_maps
from apps.jacobians.subject import Subject
from apps.jacobians.under import prior_of
from apps.models import named
from apps.runs.outputs import check_folder
from apps.training.session import start
from priors.errors import InputError
from priors.zoo import Classifier

_FOLDER = "saliency"


@dataclass(frozen=True)
class _Plan:
    """All that one command is to do, found before anything is measured."""

    config: SaliencySettings
    network: Classifier
    shown: Shown
    target: int | None
    masks: dict[str, Bool[Tensor, "n height width"]]
    folder: Path


def analyse_saliency(config: SaliencySettings) -> None:
    """Measure, print, draw and keep.

    Raises:
        InputError: no such model, class, method or picture, a network that cannot be decomposed, or a place that cannot
            be written.
    """
    plan = _plan(config)
    accelerator = start(config.place.where())
    network = plan.network.to(accelerator.device)
    wanted = _methods(plan, network, accelerator)
    place = {"data": config.data, "image_size": config.sizes.image_size, "classes": config.sizes.classes}
    place |= {"root": config.place.data_root}
    prior = prior_of(config.explained, config.model, config.foreign, accelerator, **place)
    controls = (*CONTROLS, "blurred") if plan.masks else ()
    sigma = usual_blur(*plan.shown.images.image_shape[1:])
    drawing = Drawing(wanted, controls, sigma, config.explained.of, config.seed, prior)
    found = measure(network, plan.shown.images, plan.target, drawing, accelerator, plan.masks)
    if not accelerator.is_main_process:
        return
    _print(plan, found)
    inside = [inside_of(region, plan.masks[region], rows) for region, rows in found.inside.items()]
    for one in inside:
        print_inside(config.model, one, found.empty, sigma)
    weighed = None
    if "grad-cam" in wanted:
        weighed = last_maps(network, _first(plan, accelerator), config.choices.layer)
    _keep(plan, found, weighed, inside, sigma)


def _plan(config: SaliencySettings) -> _Plan:
    """Find all that the command names."""
    folder = config.out or (named.results_in(config.model) or Path()) / _FOLDER
    network = named.classifier(config.model, config.foreign)
    if not config.methods and (absent := missing()):
        say(f"Without {', '.join(METHOD_NAMES[len(OWN_METHODS) :])}: {absent}.")
    methods(config.methods, config.choices)  # names, and the package that they need
    target = class_of(config.target, network)
    check_folder(folder)
    there = shown(config, network)
    masks = regions(config, there)
    return _Plan(config, network, there, target, masks, folder)


def _first(plan: _Plan, accelerator: Accelerator) -> torch.Tensor:
    """The first image as a network takes it."""
    image = plan.shown.images.subset([0]).images
    return (image if plan.shown.images.in_memory else image.read_all()).to(accelerator.device).float() / 255


def _methods(plan: _Plan, network: Classifier, accelerator: Accelerator) -> dict[str, Maps]:
    """The methods that were asked for; of all of them, those that are for such a network, with a line on each other."""
    config = plan.config
    if config.methods:
        return methods(tuple(dict.fromkeys(config.methods)), config.choices)
    found = methods(OWN_METHODS if missing() else METHOD_NAMES, config.choices)
    first = _first(plan, accelerator)
    subject = Subject(network, first, torch.zeros(1, dtype=torch.int64, device=first.device))
    for name in ("bias-jacobian", "guided-backprop", "grad-cam"):
        try:
            if name in found:
                found[name](subject)
        except InputError as error:
            if name == "grad-cam" and config.choices.layer is not None:
                raise
            del found[name]
            say(f"Without {name}: {str(error).removeprefix(f'{name}: ')}.")
    return found


def _print(plan: _Plan, found: Found) -> None:
    """Each image's sum."""
    names, config = plan.network.class_names, plan.config
    sources = [name for name in SOURCES if bool(found.sources[name].any())]
    sums = f"{config.explained.of} = slope x image + {' + '.join(sources)}, for images in [0, 1]"
    rows = [
        (
            name,
            names[found.target[number]],
            f"{found.output[number]:.4f}",
            f"{found.input[number].sum():.4f}",
            *(f"{found.sources[source][number]:.4f}" for source in sources),
            f"{found.without[number]:.4f}",
            f"{found.residual[number]:.1e}",
        )
        for number, name in enumerate(plan.shown.names)
    ]
    table(
        f"what the {config.explained.of} of {config.model} consists of, on {counted(len(rows), 'image')}",
        ("image", "class", config.explained.of, "slope x image", *sources, "no map", "rounding"),
        rows,
        f"{sums}; no map: what of it has no place in the image, as the final layer's bias; rounding: |difference| over "
        "the sum of all sizes",
    )
    say()


def _keep(plan: _Plan, found: Found, layer: str | None, inside: list[Inside], sigma: float) -> None:
    """The pictures, the maps and the numbers, which come last."""
    from apps.jacobians.figures import (
        Explanation,
        draw_methods,
        draw_sheet,
        scales,
    )  # the plotting library is slow to load
    from apps.jacobians.inside.figures import draw_inside
    from apps.jacobians.results import keep

    drawn = min(plan.config.drawn, len(plan.shown.names))
    most = scales(found.maps, drawn)
    explained = Explanation(plan.shown, found, plan.network.class_names, plan.config.model, plan.config.explained.of)
    draw_methods(plan.folder / "saliency.png", explained, most, drawn)
    sheets = [file_name(number, name) for number, name in enumerate(plan.shown.names[:drawn])]
    for number, name in enumerate(sheets):
        draw_sheet(plan.folder / name, explained, number)
    if inside:
        draw_inside(plan.folder / "inside.png", plan.config.model, inside)
    shares = told(inside, plan.shown.names, found.empty, sigma)
    keep(plan.folder, plan.config, plan.network, plan.shown, found, most, layer, shares)
    if layer is not None:
        paragraph(f"grad-cam weighs the maps of {layer}.")
    sheet = sheets[0] if len(sheets) == 1 else f"{sheets[0]} and {len(sheets) - 1} more"
    others = "inside.png, " if inside else ""
    say(f"Written to {plan.folder}: saliency.png, {sheet}, {others}maps.safetensors and saliency.json.")
