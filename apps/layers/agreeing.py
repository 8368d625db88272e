"""How far each two lenses agree on where information goes, over all networks that both look at."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from analysis.layers.agreement import Agreement, layer_agreement
from apps.layers.lens import Layer, Lens
from apps.layers.looking import View
from priors.errors import InputError


@dataclass(frozen=True)
class Pair:
    """Two lenses.

    Attributes:
        lenses: their names.
        networks: that both look at, at two layers or more.
        steps: by network, the layers before and after.
        changes: whether an image that loses much in a step by one does so by the other; None where it cannot be told.
        places: whether both place an image's loss at the same step; None where it cannot be told.
        without: why not, in a clause; empty where both are there.
    """

    lenses: tuple[str, str]
    networks: tuple[str, ...]
    steps: tuple[tuple[tuple[str, str], ...], ...]
    changes: Agreement | None
    places: Agreement | None
    without: str


def pairs(
    lenses: Mapping[str, Lens], views: Mapping[str, tuple[Sequence[Layer], Mapping[str, View]]], **how: Any
) -> list[Pair]:
    """All pairs of lenses that say how much is left of an image.

    Args:
        lenses: by name.
        views: by network, its layers in order, and what each lens says of them.
        how: level, draws and seed, see `layer_agreement`.
    """
    there = [name for name, lens in lenses.items() if lens.kept and any(_known(own[name]) for _, own in views.values())]
    return [_pair((first, second), lenses, views, how) for first, second in itertools.combinations(there, 2)]


def _known(view: View) -> list[str]:
    """Layers with a value for each image."""
    return [layer.name for layer in view.layers if view.readings[layer.name].each is not None]


def _pair(names: tuple[str, str], lenses: Mapping[str, Lens], views: Mapping, how: Mapping[str, Any]) -> Pair:
    networks, steps, changes = [], [], ([], [])
    for network, (layers, own) in views.items():
        both = [layer.name for layer in layers if all(layer.name in _known(own[name]) for name in names)]
        if len(both) < 2:
            continue
        networks.append(network)
        steps.append(tuple(itertools.pairwise(both)))
        for name, found in zip(names, changes, strict=True):
            found.append(changes_of(lenses[name], layers, own[name], both))
    told, without = {}, []
    for of in ("changes", "places") if networks else ():
        # A network of one step has no other to place a loss at.
        some = [number for number, one in enumerate(steps) if of == "changes" or len(one) > 1]
        first, second = ([found[number] for number in some] for found in changes)
        try:
            told[of] = layer_agreement(first, second, of=of, **how) if some else None
        except InputError as error:
            without.append(f"{of}: {error}")
    if not networks:
        without.append("they have no two layers of a network in common")
    reasons = "; ".join(dict.fromkeys(without))
    return Pair(names, tuple(networks), tuple(steps), told.get("changes"), told.get("places"), reasons)


def changes_of(
    lens: Lens, layers: Sequence[Layer], view: View, names: Sequence[str]
) -> Float64[Tensor, "images steps"]:
    """How much more is left of each image at each of some layers than at the one of them before, by a lens.

    Args:
        lens: whose values they are.
        layers: all of the network, in order.
        view: what the lens says of them.
        names: of two layers or more, in order.
    """
    each = {name: reading.each for name, reading in view.readings.items() if reading.each is not None}
    if lens.of == "layer":
        found = [each[after] - each[before] for before, after in itertools.pairwise(names)]
    else:  # what lies between two layers may be several stretches
        order = [layer.name for layer in layers]
        found = []
        for before, after in itertools.pairwise(names):
            between = order[order.index(before) + 1 : order.index(after) + 1]
            nothing = torch.full_like(each[after], torch.nan)
            found.append(torch.stack([each.get(name, nothing) for name in between]).sum(0))
    return lens.kept * torch.stack(found, 1)
