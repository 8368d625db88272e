"""What is printed of a study of coherency."""

import math
from collections.abc import Mapping, Sequence

from apps.command.console import counted, paragraph, say, table
from apps.discarding.coherency.comparing import Compared, Comparison
from apps.discarding.coherency.settings import CoherencySettings
from apps.discarding.shown import Shown
from apps.discarding.tables import over_images, said_of_alpha

MEASURES = {
    "SID": "SID",
    "SID linear": "SID, linear",
    "RU": "RU, scale folded",
    "RU retrained": "RU, decoder retrained",
    "SID halved": "SID, filters halved",
}
"""By measure, what it is called where there is room."""


def print_found(
    config: CoherencySettings, shown: Shown, name: str, found: Sequence[Comparison], refused: Mapping[str, str]
) -> None:
    """One table of all layers; those that are left out, and measures that there are none of, with the reason.

    Args:
        config: what was asked for.
        shown: the images.
        name: of the network.
        found: by layer.
        refused: by layer, why it is not there.
    """
    table(
        f"{name}, weights and biases of a layer / {config.factor:g}, weights of the next x {config.factor:g}: "
        f"{counted(len(shown.images), 'image')} of {shown.images.name}",
        ("features", "of", "measure", "before", "after", "largest change", "held"),
        [_row(one, number, measure) for one in found for number, measure in enumerate(one.measures)],
        _caption(config, found),
    )
    say()
    for why, layers in _by_reason({one.handed.name: one.gaps for one in found}).items():
        paragraph(f"{why[0]} is not there for {', '.join(layers)}: {why[1]}.")
    if refused:
        table(
            "layers whose scale cannot be moved to the next one",
            ("layer", "since"),
            list(refused.items()),
        )
        say()
    for measure, change in largest(found).items():
        of = next(one for layer in found for one in layer.measures if one.measure == measure)
        if of.asked == "same":
            paragraph(f"{MEASURES.get(measure, measure)} changed by {change:.2g} nats at most.")


def unmet(found: Sequence[Comparison]) -> str | None:
    """What does not hold that must, in one line; None where all does."""
    lost = [(layer.handed.name, one) for layer in found for one in layer.measures if not one.held]
    if not lost:
        return None
    told = [
        f"{MEASURES.get(one.measure, one.measure)} of {name} changed by "
        f"{_told(one.change)} nats, {'more' if one.asked == 'same' else 'no more'} than {one.tolerance:g}"
        for name, one in lost
    ]
    more = f"; {len(told) - 3} more in the table" if len(told) > 3 else ""
    return f"not coherent: {'; '.join(told[:3])}{more}"


def largest(found: Sequence[Comparison]) -> dict[str, float]:
    """By measure, the largest change over layers."""
    changes: dict[str, list[float]] = {}
    for layer in found:
        for one in layer.measures:
            changes.setdefault(one.measure, []).append(one.change)
    return {measure: max(each) for measure, each in changes.items()}


def _row(layer: Comparison, number: int, one: Compared) -> tuple[str, ...]:
    before, after = (over_images(values)[0] for values in (one.before, one.after))
    digits = ".4f" if one.unit == "nats" else ".4g"
    held = {"same": "yes" if one.held else "NO", "other": "changes" if one.held else "NO: stays"}
    told = held.get(one.asked) or ("same" if one.same else "changes")
    return (
        layer.handed.name if number == 0 else "",
        layer.handed.scaled if number == 0 else "",
        MEASURES.get(one.measure, one.measure),
        format(before, digits),
        format(after, digits),
        _told(one.change) if one.unit == "nats" else f"{100 * one.change:.3g} %",
        told if one.asked else f"({told})",
    )


def _told(change: float) -> str:
    return "-" if math.isnan(change) else f"{change:.2g}"


def _caption(config: CoherencySettings, found: Sequence[Comparison]) -> str:
    there = {one.measure for layer in found for one in layer.measures}
    told = [
        "of: the layer, or the normalisation that takes its scale",
        "SID, RU: means in nats a value of the image, the largest change is that of a pixel, over all images, by "
        f"{said_of_alpha(config)}",
        f"held: within {config.tolerance:g}; in brackets what is told only",
    ]
    if {"gradient", "CAM", "Grad-CAM"} & there:
        told.append("%: of the map's largest value; before and after are roots of sums of squares over the map")
    if "RU" in there:
        told.append("scale folded: the decoder takes the features' scale back")
    if "SID halved" in there:
        which = "first" if config.halved == "even" else "second"
        told.append(
            f"filters halved: every second one from the {which} on, which SID must see"
            + (", the next layer's weights doubled for it" if config.compensated else "")
        )
    return "; ".join(told)


def _by_reason(gaps: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for layer, own in gaps.items():
        for measure, why in own.items():
            found.setdefault((measure, why), []).append(layer)
    return found
