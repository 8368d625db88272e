"""Differentiable augmentation of what a discriminator sees, real or generated (Zhao et al. 2020, arXiv 2006.10738).

Each policy draws afresh for every image. Real and fake images are treated alike and gradients pass through, so that
the generator learns the images and not their augmentation.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from priors.errors import unknown


def augment(
    images: Float[Tensor, "batch channels height width"],
    policies: tuple[str, ...],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch channels height width"]:
    """The images after each policy in turn.

    Args:
        images: in [-1, 1].
        policies: names in `POLICIES`.
        generator: of the draws.

    Raises:
        InputError: an unknown policy.
    """
    for name in policies:
        if name not in POLICIES:
            raise unknown("augmentation", name, POLICIES)
        images = POLICIES[name](images, generator)
    return images


def colour(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Brightness by an offset in [-.5, .5), saturation by a factor in [0, 2), contrast by one in [.5, 1.5)."""
    offset, saturation, contrast = _uniform(images, 3, generator).unbind()
    images = images + (offset - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def translation(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A shift by whole pixels, up to an eighth of each side, with zeros moving in."""
    height, width = images.shape[2:]
    shifts = [int(side / 8 + 0.5) for side in (height, width)]
    by_row, by_column = (
        torch.randint(2 * shift + 1, (len(images), 1), generator=generator, device=images.device) for shift in shifts
    )
    padded = F.pad(images, (shifts[1], shifts[1], shifts[0], shifts[0]))
    rows = by_row + torch.arange(height, device=images.device)
    columns = by_column + torch.arange(width, device=images.device)
    number = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Zeros in a rectangle of half of each side, which may reach over the edge."""
    keep = []
    for side in images.shape[2:]:
        size = int(side / 2 + 0.5)
        centre = torch.randint(side + 1 - size % 2, (len(images), 1), generator=generator, device=images.device)
        distance = torch.arange(side, device=images.device) - (centre - size // 2)
        keep.append((distance < 0) | (distance >= size))
    return images * (keep[0][:, None, :, None] | keep[1][:, None, None, :])


POLICIES = {"colour": colour, "translation": translation, "cutout": cutout}


def _uniform(images: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Numbers in [0, 1), (count, batch, 1, 1, 1)."""
    return torch.rand((count, len(images), 1, 1, 1), generator=generator, device=images.device, dtype=images.dtype)
