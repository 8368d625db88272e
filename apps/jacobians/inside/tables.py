"""What is printed of the shares of maps inside masks and boxes, and kept of them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from apps.command.console import counted, paragraph, say, table
from apps.jacobians.inside.found import Inside
from apps.jacobians.perturbation.tables import print_controls

_BETTER = 1
"""More inside is better."""


def print_inside(model: str, found: Inside, empty: Mapping[str, Tensor], sigma: float) -> None:
    """A row a map, and whether the measure can be believed.

    Args:
        model: as it was given.
        found: of one kind of region.
        empty: by map, which pictures' maps are 0 everywhere.
        sigma: by which maps were blurred, in pixels.
    """
    images = counted(int(found.used.sum()), "picture")
    area = next(iter(found.shares.values())).area
    table(
        f"{model}: share of each map's mass inside the {found.region}, which takes {area:.2%} of {images} on average",
        ("map", "inside", "+-", "less area", "+-", "over area", "+-", "by blurring", "+-"),
        [
            (
                one.name,
                *_pair(share.share, share.standard_error, ".4f"),
                *_pair(share.excess, share.excess_error, "+.4f"),
                *_pair(share.ratio, share.ratio_error, ".3f"),
                *(("-", "-") if one.by_blur is None else _pair(one.by_blur.value, one.by_blur.standard_error, "+.4f")),
            )
            for one in found.judged
            for share in (found.shares[one.name],)
        ],
        f"higher is better; an even map has the area inside, 1 over area; +-: standard errors over {images}, of "
        f"differences and ratios in pairs; by blurring: what a Gaussian of {sigma:.3g} pixels adds",
    )
    if none := [f"{name} on {int((rows & found.used).sum())}" for name, rows in empty.items() if bool(rows.any())]:
        paragraph(f"Maps that are 0 everywhere count as even ones: {', '.join(none)} of {images}.")
    print_controls(found.judged, found.values, _BETTER, images, blurred=True)
    say()


def told(found: Sequence[Inside], names: Sequence[str], empty: Mapping[str, Tensor], sigma: float) -> dict[str, Any]:
    """The same for a file of numbers, by kind of region.

    Args:
        found: all kinds.
        names: of the pictures.
        empty: by map, which pictures' maps are 0 everywhere.
        sigma: by which maps were blurred, in pixels.
    """
    return {one.region: _told(one, names, empty) | {"blur": sigma} for one in found}


def _told(found: Inside, names: Sequence[str], empty: Mapping[str, Tensor]) -> dict[str, Any]:
    used = found.used.tolist()
    maps = {}
    for one in found.judged:
        share = found.shares[one.name]
        own = {
            "inside": share.share,
            "standard error": share.standard_error,
            "less area": share.excess,
            "less area, standard error": share.excess_error,
            "over area": share.ratio,
            "over area, standard error": share.ratio_error,
            "0 everywhere": int((empty[one.name] & found.used).sum()),
        }
        if one.by_blur is not None:
            own |= {"by blurring": one.by_blur.value, "by blurring, standard error": one.by_blur.standard_error}
        own = {key: value if math.isfinite(value) else None for key, value in own.items()}
        maps[one.name] = own | {"by picture": found.values[one.name][:, 0].tolist()}
    return {
        "pictures": [name for name, there in zip(names, used, strict=True) if there],
        "left out": [name for name, there in zip(names, used, strict=True) if not there],
        "areas": found.areas[found.used].tolist(),
        "area": float(found.areas[found.used].mean()),
        "maps": maps,
    }


def _pair(value: float, error: float, form: str) -> tuple[str, str]:
    return format(value, form), "-" if math.isnan(error) else format(error, form.lstrip("+"))
