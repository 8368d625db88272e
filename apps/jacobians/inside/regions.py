"""Where the objects of the pictures are, and what share of a map lies there."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from analysis.jacobians.inside import mass_inside
from apps.command.console import counted, say
from apps.data.objects import divided
from apps.data.regions import regions_of
from apps.jacobians.settings import SaliencySettings
from apps.jacobians.shown import Shown
from priors.errors import InputError

_NAMED = 4
"""Pictures that a line names."""


def regions(config: SaliencySettings, there: Shown) -> dict[str, Bool[Tensor, "n size size"]]:
    """Where the objects of the images are by what says so, "mask" or "box"; nothing where neither is asked for.

    A picture of which a mask takes all, or nothing once the centre is cut out, counts for nothing; that is said.

    Args:
        config: of the command.
        there: the images.

    Raises:
        InputError: masks or boxes that are not there or do not fit, or of which none can be used.
    """
    found = regions_of(config.objects, there.images, config.pictures, config.sizes.resize)
    for region, masks in found.items():
        used = divided(masks)
        if not bool(used.any()):
            raise InputError(f"every {region} takes all or nothing of its picture: there is nothing to compare")
        if names := _names([str(path) for path in config.pictures] or there.names, ~used):
            say(f"The {region} takes all or nothing of {names}, of what is cut out of the centre: left out there.")
    return found


def shares(
    maps: Float[Tensor, "batch height width"], masks: Bool[Tensor, "batch height width"]
) -> Float[Tensor, " batch"]:
    """The share of each map's mass inside; NaN where a mask takes all or nothing.

    A map of zeros says nothing of where the object is: it counts as one that is even everywhere.
    """
    used = divided(masks)
    found = torch.full((len(maps),), torch.nan, dtype=torch.float64, device=maps.device)
    own = torch.where(empty(maps)[:, None, None], torch.ones_like(maps), maps)
    found[used] = mass_inside(own[used], masks[used])
    return found


def empty(maps: Float[Tensor, "batch height width"]) -> Bool[Tensor, " batch"]:
    """Which maps are 0 everywhere."""
    return ~maps.flatten(1).any(1)


def _names(pictures: Sequence[str], which: Bool[Tensor, " n"]) -> str:
    names = [pictures[number] for number in which.nonzero()[:, 0].tolist()]
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])} and {counted(len(names) - _NAMED, 'more picture')}"
