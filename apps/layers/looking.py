"""One pass of a network over images, in which all lenses look at its layers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from apps.data.batches import Batch, ordered
from apps.data.sweep import fewer_if_large, sweep
from apps.layers.lens import Layer, Lens, Look, Reading, Seen, Subject
from priors.errors import InputError
from priors.reading.taps import tap

_MOST = 50
"""Images a batch: lenses take slopes, and densities run on whole images."""
_TRIED = 2


@dataclass(frozen=True)
class View:
    """What one lens says of one network.

    Attributes:
        layers: that it has a value of.
        readings: by layer.
        gaps: by layer, why there is none.
        maps: by layer, of the first images, (images, height, width); empty of a lens that has none.
    """

    layers: tuple[Layer, ...]
    readings: Mapping[str, Reading]
    gaps: Mapping[str, str]
    maps: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A lens that can look at a network, or cannot.

    Attributes:
        lens: of the command.
        layers: that it has a value of.
        gaps: by layer, why there is none.
        look: what is called with each batch; None where it has no layer.
    """

    lens: Lens
    layers: tuple[Layer, ...]
    gaps: Mapping[str, str]
    look: Look | None


def prepare(subject: Subject, lenses: Mapping[str, Lens]) -> dict[str, Prepared]:
    """Let each lens begin, and try it on the first images: what it cannot look at is known before the work."""
    (first,) = ordered(subject.images.subset(range(min(_TRIED, len(subject.images)))), _TRIED, device=_device(subject))
    seen = _seen(subject, first)
    return {name: _prepared(subject, lens, seen) for name, lens in lenses.items()}


def _prepared(subject: Subject, lens: Lens, seen: Seen) -> Prepared:
    gaps = lens.gaps(subject)
    layers = tuple(layer for layer in subject.layers if layer.name not in gaps)
    if not layers:
        return Prepared(lens, (), gaps, None)
    try:
        look = lens.look(subject, layers)
        look(seen)
    except InputError as error:
        return Prepared(lens, (), {**gaps, **{layer.name: str(error) for layer in layers}}, None)
    return Prepared(lens, layers, gaps, look)


def looked(subject: Subject, prepared: Mapping[str, Prepared], description: str, shown: int = 0) -> dict[str, View]:
    """Run the images through the network once, and ask all lenses.

    Args:
        subject: the network and its images.
        prepared: lenses by name.
        description: what the progress bar says.
        shown: images whose maps are wanted, the first ones.

    Raises:
        InputError: a lens cannot look at an image that is not among the first.
    """
    looks = {name: one.look for name, one in prepared.items() if one.look is not None}

    def rows_of(batch: Batch) -> dict[str, Tensor]:
        seen = _seen(subject, batch)
        return {f"{name}/{of}": rows for name, look in looks.items() for of, rows in look(seen).items()}

    size = max(1, min(_MOST, fewer_if_large(subject.images) // 10))
    rows: dict[str, Tensor] = {}
    if looks:
        where = {"accelerator": subject.accelerator, "batch_size": size, "gradients": True}
        rows = sweep(subject.images, rows_of, description=description, **where)
    found = {}
    for name, one in prepared.items():
        own = {of.partition("/")[2]: values for of, values in rows.items() if of.partition("/")[0] == name}
        found[name] = _read(subject, one, own, shown)
    return found


def _read(subject: Subject, one: Prepared, rows: Mapping[str, Tensor], shown: int) -> View:
    """What a lens makes of its rows; gaps where it can make nothing of them, for the other lenses' sake."""
    try:
        readings = one.lens.read(subject, one.layers, rows) if one.layers else {}
        maps = one.lens.maps(subject, one.layers, rows) if one.layers and shown else {}
    except InputError as error:
        return View((), {}, {**one.gaps, **{layer.name: str(error) for layer in one.layers}})
    return View(one.layers, readings, one.gaps, {name: own[:shown].clone() for name, own in maps.items()})


def _seen(subject: Subject, batch: Batch) -> Seen:
    """One pass for all lenses."""
    network, taps_of = subject.network, {layer.name: layer.tap for layer in subject.layers}
    with torch.no_grad(), tap(network, [*taps_of.values(), network.penultimate_tap], copy=True) as taps:
        network(batch.images)
    values = {name: taps[place] for name, place in taps_of.items()}
    return Seen(batch.images, batch.labels, batch.index, values, taps[network.penultimate_tap])


def _device(subject: Subject) -> torch.device:
    return subject.accelerator.device
