"""What the shares of all maps say: means beside the masks' own, and what controls say of the measure."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from analysis.jacobians.inside import InsideShare, inside_share
from apps.data.objects import divided
from apps.jacobians.perturbation.found import Judged, judged

_ALL = 1.0
"""Shares are judged like the scores of a benchmark of one part: the whole picture."""


@dataclass(frozen=True)
class Inside:
    """Of one kind of region.

    Attributes:
        region: "mask" or "box".
        used: which pictures it was measured on.
        areas: of all pictures, the part that the region takes.
        values: by map, of the pictures that were used: share inside, (images, 1).
        shares: what these come to, by map.
        judged: the maps, beside random ones, and blurred beside themselves.
    """

    region: str
    used: Bool[Tensor, " n"]
    areas: Float[Tensor, " n"]
    values: Mapping[str, Float[Tensor, "used 1"]]
    shares: Mapping[str, InsideShare]
    judged: list[Judged]


def inside_of(region: str, masks: Bool[Tensor, "n height width"], rows: Mapping[str, Float[Tensor, " n"]]) -> Inside:
    """What was found of one kind of region.

    Args:
        region: "mask" or "box".
        masks: of all pictures.
        rows: by map, the share inside of each picture.
    """
    used, areas = divided(masks), masks.double().mean((1, 2))
    values = {name: own[used][:, None] for name, own in rows.items()}
    shares = {name: inside_share(own[:, 0], areas[used]) for name, own in values.items()}
    return Inside(region, used, areas, values, shares, judged((_ALL,), values))
