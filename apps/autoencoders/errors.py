"""How far reconstructions are from images."""

import torch
from torch import Tensor

from analysis.discarding.auto_encoder import AutoEncoder
from apps.data.image_set import ImageSet
from apps.training.task import Sweep

ERROR, PSNR = "mean squared error", "PSNR"
"""Of each image over its values, which are in [0, 1], as the decoder gives them, also outside of these bounds; and
10 log10(1 / that), in dB."""
SHOWN = 10
"""Images that are drawn with their reconstructions."""


def errors(model: AutoEncoder, sweep: Sweep, images: ImageSet) -> dict[str, Tensor]:
    """`ERROR` and `PSNR` of each image, in double precision."""

    def of(batch) -> dict[str, Tensor]:
        return {ERROR: (model(batch.images).float() - batch.images).square().flatten(1).mean(1).double()}

    found = sweep(images, of, channels_last=True)[ERROR]
    tiny = torch.finfo(torch.float32).eps ** 2  # an error of nothing but rounding
    return {ERROR: found, PSNR: -10 * found.clamp(min=tiny).log10()}


def rebuilt(model: AutoEncoder, sweep: Sweep, images: ImageSet) -> tuple[Tensor, Tensor]:
    """The first images of a set in [0, 1], and what is made of them; at most `SHOWN`."""
    some = images.subset(range(min(SHOWN, len(images))))
    rows = sweep(some, lambda batch: {"images": batch.images, "rebuilt": model(batch.images).float()})
    return rows["images"], rows["rebuilt"].clamp(0, 1)
