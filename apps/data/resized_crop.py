"""Random parts of images brought to one size, and flips: numbered, for a whole batch at once on its device."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from torch import Tensor

from apps.data.pixels import unit

_TRIES = 10
"""Parts that are drawn until one lies within the image, as torchvision does."""
NUMBERS = 1 << 62
"""Views that there are."""
DRAWS = 2 * _TRIES + 3
"""Numbers that are made of a view: those of the tries, two of the place, one of the flip."""
_GOLDEN, _FIRST, _SECOND = (value - (1 << 64) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
"""Of SplitMix64 (Steele, Lea and Flood, 2014), as signed numbers of 64 bits."""


@dataclass(frozen=True)
class ResizedCrop:
    """A random part of the image, brought to the image's own size, then a horizontal flip.

    That is what torchvision's RandomResizedCrop (bilinear, with antialiasing) and RandomHorizontalFlip do, by which
    networks for ImageNet are trained. What happens to an image is one number, its view, below 2^62, of which all draws
    are made, so that a training that is resumed and a process that decodes pictures see the same part.

    Attributes:
        flip: whether half of the images are mirrored left to right.
        scale: bounds of the part's area, as shares of the image's.
        ratio: bounds of its width over its height, whose logarithm is uniform.
    """

    flip: bool = False
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def draw(self, count: int, generator: torch.Generator) -> Int64[Tensor, " count"]:
        """`count` views, uniformly at random, on the generator's device."""
        return torch.randint(NUMBERS, (count,), generator=generator, device=generator.device)

    def boxes(self, view: Int64[Tensor, " batch"], height: int, width: int) -> Int64[Tensor, "batch 4"]:
        """The part of each view in an image of `height` x `width`: its top, left, height and width.

        Where no try lies within the image it is the centre, as far as its shape allows.
        """
        drawn = uniform(view, 2 * _TRIES + 2)
        areas = height * width * (self.scale[0] + (self.scale[1] - self.scale[0]) * drawn[:, :_TRIES])
        low, high = map(math.log, self.ratio)
        ratios = (low + (high - low) * drawn[:, _TRIES : 2 * _TRIES]).exp()
        wide, tall = (areas * ratios).sqrt().round(), (areas / ratios).sqrt().round()
        fits = (wide > 0) & (wide <= width) & (tall > 0) & (tall <= height)
        first = fits.to(torch.uint8).argmax(1, keepdim=True)
        tall, wide = tall.gather(1, first)[:, 0], wide.gather(1, first)[:, 0]
        top = ((height - tall + 1) * drawn[:, 2 * _TRIES]).floor()
        left = ((width - wide + 1) * drawn[:, 2 * _TRIES + 1]).floor()
        parts = zip((top, left, tall, wide), self._centre(height, width), strict=True)
        return torch.stack([torch.where(fits.any(1), part, centre) for part, centre in parts], 1).long()

    def box(self, view: int, height: int, width: int) -> tuple[int, int, int, int]:
        """The part of one view, as for `boxes`."""
        return tuple(self.boxes(torch.tensor([view]), height, width)[0].tolist())

    def _centre(self, height: int, width: int) -> tuple[int, int, int, int]:
        low, high = self.ratio
        tall = height if width >= low * height else round(width / low)
        wide = width if width <= high * height else round(height * high)
        return (height - tall) // 2, (width - wide) // 2, tall, wide

    def flipped(self, view: Int64[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Whether each view is mirrored."""
        if not self.flip:
            return torch.zeros_like(view, dtype=torch.bool)
        return uniform(view, 1, start=2 * _TRIES + 2)[:, 0] < 0.5

    def apply(
        self,
        images: UInt8[Tensor, "batch channels height width"] | Float[Tensor, "batch channels height width"],
        view: Int64[Tensor, " batch"],
    ) -> Float[Tensor, "batch channels height width"]:
        """The given view of each image, as float32 in [0, 1]; uint8 images are divided by 255.

        Two products of matrices for all images, on their device, which is not waited for. Nothing is rounded between
        the two, nor to 256 levels at the end.
        """
        height, width = images.shape[2:]
        boxes = self.boxes(view, height, width)
        rows = _weights(boxes[:, 0], boxes[:, 2], height)
        columns = _weights(boxes[:, 1], boxes[:, 3], width)
        if self.flip:
            columns = torch.where(self.flipped(view)[:, None, None], columns.flip(1), columns)
        pixels = unit(images)
        cut = torch.bmm(pixels.flatten(1, 2), columns.transpose(1, 2)).view_as(pixels)
        return torch.matmul(rows[:, None], cut)

    def mirror(
        self,
        images: UInt8[Tensor, "batch channels height width"] | Float[Tensor, "batch channels height width"],
        view: Int64[Tensor, " batch"],
    ) -> Float[Tensor, "batch channels height width"]:
        """What is left to do to images that were cut out and resized as they were decoded."""
        pixels = unit(images)
        return torch.where(self.flipped(view)[:, None, None, None], pixels.flip(3), pixels) if self.flip else pixels


def uniform(view: Int64[Tensor, " batch"], count: int, start: int = 0) -> Float64[Tensor, "batch count"]:
    """Numbers in [0, 1), from number `start` on of the stream that SplitMix64 gives from each view on.

    Products of 64 bits wrap around; the sign is no bit apart, so a shift to the right clears what it shifts in.
    """
    mixed = view[:, None] + torch.arange(start + 1, start + count + 1, device=view.device) * _GOLDEN
    mixed = (mixed ^ _shifted(mixed, 30)) * _FIRST
    mixed = (mixed ^ _shifted(mixed, 27)) * _SECOND
    return _shifted(mixed ^ _shifted(mixed, 31), 11).double() * 2.0**-53


def _shifted(values: Tensor, bits: int) -> Tensor:
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def _weights(start: Tensor, length: Tensor, side: int) -> Tensor:
    """(batch, side, side): what makes `side` new pixels of the `length` pixels from `start` on, of `side` in all.

    Triangles, as wide as a new pixel where that is the wider one; a row sums to 1.
    """
    new = torch.arange(side, device=start.device) + 0.5
    scale = (length / side).to(torch.float32)[:, None, None]
    old = new - start[:, None, None]
    weights = (1 - (old - new[:, None] * scale).abs() / scale.clamp_min(1)).clamp_min(0)
    weights = weights * ((old > 0) & (old < length[:, None, None]))
    return weights / weights.sum(2, keepdim=True)
