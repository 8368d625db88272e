"""How much of a saliency map lies on the object: the share of its mass inside a mask, and what that is worth."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from analysis.jacobians.curves import with_error
from priors.checks.floats import at_least_float32, require_floats
from priors.errors import InputError

_NAMED = 5
"""Rows that a message names."""


@dataclass(frozen=True)
class InsideShare:
    """What the maps of a method have inside, as means over images, beside what the masks themselves take.

    Attributes:
        share: of a map's mass that is inside, in [0, 1].
        standard_error: of that, over images; like all errors here NaN of one image.
        area: the masks' share of the image.
        excess: share less area: 0 for maps that are even everywhere.
        excess_error: of that, image by image in pairs.
        ratio: share over area, both means: 1 for even maps.
        ratio_error: of that, in pairs, by linearisation.
        images: how many.
    """

    share: float
    standard_error: float
    area: float
    excess: float
    excess_error: float
    ratio: float
    ratio_error: float
    images: int


def mass_inside(maps: Shaped[Tensor, "..."], masks: Shaped[Tensor, "..."]) -> Float[Tensor, " batch"]:
    """The share of each map's mass that lies inside its mask.

    A map that is even everywhere has the mask's own share of the image inside.

    Args:
        maps: salience of each pixel, (batch, height, width), at least 0 and finite.
        masks: of the same shape, true inside the object.

    Returns:
        In [0, 1] and double precision.

    Raises:
        InputError: masks that are not true and false, or of another shape than the maps; masks that cover all or
            nothing, of which a share says nothing; maps with values below 0 or not finite, or without any mass: the
            rows are named.

    Example:
        >>> maps = torch.tensor([[[3.0, 1.0], [0.0, 0.0]]])
        >>> mass_inside(maps, torch.tensor([[[True, False], [True, False]]])).tolist()
        [0.75]
    """
    require_floats(maps, "maps")
    if masks.dtype != torch.bool:
        raise InputError(f"masks are {masks.dtype}: true inside the object and false outside was expected")
    if maps.ndim != 3 or not all(maps.shape[1:]) or masks.shape != maps.shape:
        raise InputError(
            f"maps of shape {tuple(maps.shape)} with masks of shape {tuple(masks.shape)}: (batch, height, width) was "
            "expected of both, one mask a map and of its size"
        )
    maps, masks = at_least_float32(maps, "maps").double().flatten(1), masks.flatten(1)
    _refuse(masks.all(1), "masks cover all of the image", "there is no outside to compare with")
    _refuse(~masks.any(1), "masks cover nothing", "there is no inside")
    _refuse(~((maps >= 0) & maps.isfinite()).all(1), "maps have values below 0 or not finite", "they are no masses")
    mass = maps.sum(1)
    _refuse(mass == 0, "maps are 0 everywhere", "they have no mass to share out")
    return (maps * masks).sum(1) / mass


def inside_share(shares: Shaped[Tensor, "..."], areas: Shaped[Tensor, "..."]) -> InsideShare:
    """What shares of `mass_inside` come to, beside the masks' own.

    Args:
        shares: of the maps of one method, one an image.
        areas: share of the image that each mask takes, above 0.

    Raises:
        InputError: no images, not as many areas, or values that are not finite.

    Example:
        >>> found = inside_share(torch.tensor([0.6, 0.8]), torch.tensor([0.2, 0.5]))
        >>> round(found.share, 3), round(found.excess, 3), round(found.excess_error, 3), round(found.ratio, 3)
        (0.7, 0.35, 0.05, 2.0)
    """
    shares, areas = (at_least_float32(one, "shares").double().cpu() for one in (shares, areas))
    if shares.ndim != 1 or not len(shares) or areas.shape != shares.shape:
        raise InputError(
            f"shares of shape {tuple(shares.shape)} and areas of shape {tuple(areas.shape)}: one an image was expected"
        )
    if not bool((shares.isfinite() & areas.isfinite() & (areas > 0)).all()):
        raise InputError("shares and areas must be finite, and areas above 0")
    share, area, excess = with_error(shares), float(areas.mean()), with_error(shares - areas)
    ratio = share.value / area
    return InsideShare(
        share=share.value,
        standard_error=share.standard_error,
        area=area,
        excess=excess.value,
        excess_error=excess.standard_error,
        ratio=ratio,
        ratio_error=with_error(shares - ratio * areas).standard_error / area,
        images=len(shares),
    )


def _refuse(rows: Tensor, what: str, why: str) -> None:
    if bool(rows.any()):
        found = rows.nonzero()[:, 0].tolist()
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise InputError(f"{what} in rows {', '.join(map(str, found[:_NAMED]))}{more}: {why}; leave these out")
