"""How much more of the background than of the object a layer discards (the paper's equation 6)."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from analysis.discarding.grids import Grid
from priors.checks.floats import at_least_float32
from priors.errors import InputError


def information_concentration(
    entropy: Shaped[Tensor, "..."], masks: Shaped[Tensor, "..."] | None
) -> Float[Tensor, " batch"]:
    """Mean entropy of the pixels outside of an object, less that of those inside, in nats a pixel (equation 6).

    Above 0 the layer discards more of the background than of the object. What is common to all pixels of an image
    cancels: its scale, and so the alpha that entropies were found at.

    Args:
        entropy: (batch, channels, rows, columns) or (batch, rows, columns) in nats, by pixel or by cell of a grid, as
            `Discarded.entropy` has it. A pixel belongs to the cell that nearest-neighbour resizing would give it;
            channels are averaged.
        masks: (batch, height, width) truth values, True inside the object: of a mask, or of a box.

    Raises:
        InputError: masks that are no truth values, of another number than the entropies or smaller than their grid, or
            that cover all of an image or nothing, of which there is no such difference; the first is named.
    """
    if not isinstance(entropy, Tensor) or entropy.ndim not in (3, 4) or not entropy.numel():
        given = f"of shape {tuple(entropy.shape)}" if isinstance(entropy, Tensor) else f"a {type(entropy).__name__}"
        raise InputError(f"entropies are {given}: (batch, channels, rows, columns) was expected")
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool or masks.ndim != 3:
        given = f"{masks.dtype} of shape {tuple(masks.shape)}" if isinstance(masks, Tensor) else "missing"
        raise InputError(
            f"masks are {given}: truth values (batch, height, width), True inside the object, were expected, as by "
            "masks > 0.5"
        )
    cells = at_least_float32(entropy, "entropies").double()
    cells = cells.mean(1) if cells.ndim == 4 else cells
    (height, width), (rows, columns) = masks.shape[1:], cells.shape[1:]
    if len(masks) != len(cells) or height < rows or width < columns:
        raise InputError(
            f"masks of shape {tuple(masks.shape)} for entropies of shape {tuple(entropy.shape)}: one mask an image, of "
            "the image's size, was expected"
        )
    masks = masks.to(cells.device)
    inside = masks.sum((1, 2))
    if bool(((inside == 0) | (inside == height * width)).any()):
        number = int(((inside == 0) | (inside == height * width)).nonzero()[0])
        covers = "covers nothing" if int(inside[number]) == 0 else "covers all"
        raise InputError(
            f"the mask of image {number} {covers} of it: concentration compares what is inside with what is outside; "
            "leave the image out"
        )
    pixels = Grid(1, height, width, rows, columns, shared=True).spread(cells[:, None])[:, 0]
    own = torch.where(masks, pixels, 0.0).sum((1, 2)) / inside
    rest = torch.where(masks, 0.0, pixels).sum((1, 2)) / (height * width - inside)
    return (rest - own).to(torch.promote_types(entropy.dtype, torch.float32))
