"""What is printed of discarded information."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from apps.command.console import counted, paragraph, say, table
from apps.discarding.measuring import Entropies, Measured
from apps.discarding.settings import DiscardSettings
from apps.discarding.shown import Shown

_SHOWN = 3
"""Images that are named at most."""
_FAR = 0.05
"""How far from what is asked for features may move before a line says so."""


def over_images(values: Tensor) -> tuple[float, float]:
    """The mean of those values that there are, and its standard error over images; NaN of one image."""
    values = values.double()[values.isfinite()]
    if not len(values):
        return math.nan, math.nan
    return float(values.mean()), float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan


def print_found(config: DiscardSettings, shown: Shown, found: Mapping[str, Sequence[Measured]]) -> None:
    """A table for each network, a row for each layer; then what could not be measured."""
    count = len(shown.images)
    for name, layers in found.items():
        table(
            f"what the layers of {name} discard of {counted(count, 'image')} of {shown.images.name}",
            _heads(config),
            [_row(config, one, shown) for one in layers],
            _caption(config),
        )
        for one in layers:
            for metric, entropies in (("sid", one.sid), ("ru", one.ru)):
                if entropies is not None:
                    linear = metric == "sid" and config.noise.method == "linear"
                    _remark(f"{metric} of {one.layer}", entropies, shown, linear)
        say()
    if shown.objects is not None and not bool(shown.objects.known.all()):
        lost = (~shown.objects.known).nonzero().flatten().tolist()
        paragraph(
            f"concentration is without {counted(len(lost), 'image')}, of which the object covers all or nothing: "
            f"{_some([shown.names[number] for number in lost])}."
        )


def said_of_alpha(config: DiscardSettings) -> str:
    """What features may move, in which unit."""
    noise = config.noise
    of = {"dataset": "the mean of delta_f^2 over images", "image": "each image's delta_f^2"}.get(
        noise.delta, f"delta_f^2 = {noise.delta}"
    )
    unit = "pixel values in [0, 1]" if noise.unit == "pixel" else "values normalised as the network does"
    return f"alpha {noise.alpha:g} of {of}, in squared {unit}"


def _heads(config: DiscardSettings) -> tuple[str, ...]:
    heads: list[str] = ["layer", "features"]
    if "sid" in config.measured:
        heads += ["SID", "+-", "nats an image", "achieved", "at the cap"]
    if "ru" in config.measured:
        heads += ["RU", "+-", "nats an image", "achieved"]
    if "concentration" in config.measured:
        heads += ["concentration", "+-"]
    return tuple(heads)


def _row(config: DiscardSettings, one: Measured, shown: Shown) -> list[str]:
    values = math.prod(shown.images.image_shape)
    cells = [one.layer, "x".join(map(str, one.shape))]
    for entropies in (one.sid, one.ru):
        if entropies is None:
            continue
        mean, error = over_images(entropies.mean)
        kept = ~entropies.failed
        cells += [f"{mean:.4f}", _told(error), f"{mean * values:,.0f}", f"{float(entropies.achieved[kept].mean()):.3f}"]
        if entropies is one.sid:
            cells.append(f"{float(entropies.capped[kept].mean()):.1%}")
    if one.concentration is not None:
        mean, error = over_images(one.concentration)
        cells += [f"{mean:+.4f}", _told(error)]
    return cells


def _told(error: float) -> str:
    return "-" if math.isnan(error) else f"{error:.4f}"


def _caption(config: DiscardSettings) -> str:
    named = " and ".join(name.upper() for name in config.measured if name != "concentration") or "concentration"
    told = [f"{named}: nats a value of the image, by {said_of_alpha(config)}; +-: over images"]
    if named != "concentration":
        told.append("achieved: how far features moved, of that")
    if "sid" in config.measured:
        told.append(
            f"at the cap: cells whose noise has a scale of {config.noise.cap:g}, since features hang little on them"
        )
    if "ru" in config.measured:
        own = config.uncertainty
        told.append(
            f"RU: errors from the {own.centre}, as the {own.variant} {'has' if own.variant == 'paper' else 'have'} it"
        )
    if "concentration" in config.measured:
        told.append("concentration: SID of the background less that of the object")
    return "; ".join(told)


def _remark(what: str, entropies: Entropies, shown: Shown, linear: bool) -> None:
    """Images that failed, and a constraint that is not met."""
    if bool(entropies.failed.any()):
        lost = entropies.failed.nonzero().flatten().tolist()
        paragraph(
            f"Without {counted(len(lost), 'image')} in {what}, whose features are not finite: "
            f"{_some([shown.names[number] for number in lost])}."
        )
    achieved = entropies.achieved[~entropies.failed]
    far = int(((achieved - 1).abs() > _FAR).sum())
    mean, error = over_images(achieved)
    if abs(mean - 1) > max(_FAR, 0 if math.isnan(error) else 2 * error):
        paragraph(
            f"{what}: features moved by {mean:.3g} times what was asked for (over {_FAR:.0%} off in "
            f"{counted(far, 'image')}){'; --method solve comes nearer' if linear else ''}."
        )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
