"""A classifier of two penultimate units on its circle in every gauge: a row a space, a column a kind of directions."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from apps.classifiers.circle.figures import Panel, cyclic_order, draw, panel, said_dots
from apps.classifiers.settings import CircleDrawing
from apps.command.answer import tell
from apps.command.console import counted, say, table
from apps.data.image_set import ImageSet
from apps.models.activations import Activations
from apps.models.classifier_priors import Wanted
from apps.models.moments import held_spaces
from priors.errors import InputError
from priors.gauge.gauge import DirectionsName
from priors.gauge.space import SpaceName
from priors.zoo import Classifier


def draw_in_every_gauge(
    out: Path,
    name: str,
    network: Classifier,
    found: Activations,
    wanted: Wanted,
    images: ImageSet,
    config: CircleDrawing,
) -> None:
    """Draw a network in each gauge, and print how far activations are from their class in it.

    Args:
        out: where to draw.
        name: of the network.
        network: of two penultimate units, on the CPU.
        found: what it makes of the images.
        wanted: the concentration that was asked for.
        images: which were run through it.
        config: as it was given.

    Raises:
        InputError: there is no gauge that can be measured.
    """
    panels, without = in_every_gauge(network, found, wanted)
    if not any(panels):
        raise InputError(f"{name} cannot be drawn in any gauge: {'; '.join(without)}")
    there = [one for one in panels if one is not None]
    caption = (
        f"{name}, accuracy {there[0].accuracy:.2%}, in each gauge of its prior (space, directions). "
        f"{said_dots(config.dots, images)} Gauges{_said_concentration(wanted)} are measured on all of them."
    )
    draw(out, panels, caption, config.dots, config.seed, columns=len(get_args(DirectionsName)), heading=_heading)
    _print(name, there, without, images)
    tell_panels(there, images, out)
    say(f"The picture is {out}.")


def in_every_gauge(network: Classifier, found: Activations, wanted: Wanted) -> tuple[list[Panel | None], list[str]]:
    """A panel a gauge, row by row, and the reasons why some could not be measured; these have none.

    Args:
        network: of two penultimate units, on the CPU.
        found: what it makes of images.
        wanted: the concentration that was asked for.
    """
    names, kinds = get_args(SpaceName), get_args(DirectionsName)
    held, reasons = held_spaces(names, None, found.penultimate, found.labels, network.class_names)
    there, reasons = {space.name: (space, moments) for space, moments in held}, iter(reasons)
    panels, without = [], []
    for name in names:
        if name not in there:
            panels += [None] * len(kinds)
            without.append(f"{name} ({', '.join(kinds)}): {next(reasons)}")
            continue
        (space, moments), missing = there[name], {}
        for directions in kinds:
            gauge = replace(wanted, concentration=0.0, space=name, directions=directions)
            try:
                prior = gauge.of(network, space=space, moments=moments)
                panels.append(panel(f"{name}, {directions}", prior, found, wanted.concentration))
            except InputError as error:
                panels.append(None)
                missing.setdefault(str(error), []).append(directions)
        without += [f"{name} ({', '.join(failed)}): {reason}" for reason, failed in missing.items()]
    return panels, without


def say_without(panels: Sequence[Panel]) -> None:
    """Say how many activations have no direction, where some have none."""
    without = {one.title: one.without for one in panels if one.without}
    if without:
        said = ", ".join(f"{number:,} of {title}" for title, number in without.items())
        say(f"Left out, since they are zero and have no direction: activations {said}.")


def tell_panels(panels: Sequence[Panel], images: ImageSet, picture: Path) -> None:
    """Tell what is printed of each panel."""
    for one in panels:
        tell(
            "circle",
            {
                "panel": one.title,
                "data": images.name,
                "data_digest": images.digest,
                "images": len(images),
                "space": one.prior.space.name,
                "directions": one.prior.gauge.directions,
                "scores": {"accuracy": one.accuracy, "mean cosine": one.mean_cosine},
                "concentration": dict(zip(one.prior.class_names, one.prior.concentration.tolist(), strict=True)),
                "order": [one.prior.class_names[label] for label in cyclic_order(one.prior.unit_rows())],
                "without direction": one.without,
                "picture": picture,
            },
        )


def _said_concentration(wanted: Wanted) -> str:
    """What else is measured on the images."""
    kappa = wanted.concentration
    if not isinstance(kappa, str):
        return ""
    how = "likeliest concentrations" if kappa == "mle" else f"concentrations by {kappa}"
    return f" and {how} \N{GREEK SMALL LETTER KAPPA}"


def _heading(one: Panel) -> str:
    return f"mean cosine {one.mean_cosine:.3f}"


def _print(name: str, panels: Sequence[Panel], without: Sequence[str], images: ImageSet) -> None:
    """A row a gauge."""
    table(
        f"{name} in each gauge, on {counted(len(images), 'test image')} of {images.name}",
        ("space", "directions", "mean cosine", "concentration", "classes around the circle"),
        [
            (
                *one.title.split(", "),
                f"{one.mean_cosine:.3f}",
                f"{one.prior.concentration.min():.4g} to {one.prior.concentration.max():.4g}",
                " ".join(one.prior.class_names[label] for label in cyclic_order(one.prior.unit_rows())),
            )
            for one in panels
        ],
        "mean cosine: of activations with their class's direction, in the space; the order is of the classes' "
        "directions, from the first class, in the direction that meets the smaller one"
        + "".join(f"; without {one}" for one in without),
    )
    say_without(panels)
