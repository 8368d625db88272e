"""Another domain for a whole batch at once on its device: colours altered at random, or fewer pixels."""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from math import floor
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from apps.data.image_set import ImageSet
from apps.seeds import generator
from priors.errors import InputError, unknown

KINDS = ("photometric", "downsample")
"""The kinds of shift, as `parse_shift` takes them."""
ORDERS = tuple(permutations(range(3)))
"""The orders of brightness (0), contrast (1) and saturation (2); an order's number is its place in here."""

_EXPECTED = "photometric:STRENGTH (0 to 1), downsample:RATE (above 0, at most 1) or downsample:RATE:small"
_CHUNK = 1024


@dataclass(frozen=True)
class Shift:
    """What is done to a student's images that its teacher's never saw (section 4.1.4 of the paper); before any crop.

    `photometric` multiplies brightness, contrast and saturation by a factor each, uniform in [1 - amount, 1 + amount],
    in an order that is drawn as well: torchvision's ColorJitter(amount, amount, amount). Everything is drawn for each
    image anew, and is four numbers: the factors in the order named, and the number of their order in `ORDERS`.

    `downsample` keeps every so-manyth pixel, `floor(amount * side)` a side, and repeats them up to the original size
    unless `small`: torchvision's resize with NEAREST, there and back. Nothing is random in it.

    Both are what torchvision makes of float tensors. A pipeline of pictures rounds to bytes after every operation (up
    to half a level each), takes the weights of grey to other digits, and picks the nearest pixel from centres, not
    corners (at a rate of .5 the odd ones instead of the even ones); none of that is done here.

    Attributes:
        kind: what is done.
        amount: the strength of a photometric shift, 0 to 1, where 0 leaves images as they are; the rate of a
            downsampling, above 0 and at most 1, where 1 does.
        small: whether downsampled images stay small.
    """

    kind: Literal["photometric", "downsample"]
    amount: float
    small: bool = False

    def __post_init__(self):
        if self.kind not in KINDS:
            raise unknown("shift", self.kind, KINDS)
        if self.kind == "photometric" and not 0 <= self.amount <= 1:
            raise InputError(f"photometric shift of strength {self.amount} given: a number from 0 to 1 was expected")
        if self.kind == "downsample" and not 0 < self.amount <= 1:
            raise InputError(f"downsampling by {self.amount} given: a rate above 0 and at most 1 was expected")
        if self.kind == "photometric" and self.small:
            raise InputError("a photometric shift keeps every pixel: `small` is for downsampling")

    def __str__(self) -> str:
        """What `parse_shift` makes this of.

        Example:
            >>> str(Shift("downsample", 0.5, small=True))
            'downsample:0.5:small'
        """
        return f"{self.kind}:{str(self.amount).removesuffix('.0')}{':small' if self.small else ''}"

    @property
    def identity(self) -> bool:
        """Whether images stay exactly as they are."""
        return self.amount == (0 if self.kind == "photometric" else 1)

    @property
    def drawn(self) -> int:
        """How many numbers are drawn for an image: 4, or 0 where nothing is random."""
        return 4 if self.kind == "photometric" and not self.identity else 0

    def image_shape(self, given: tuple[int, int, int]) -> tuple[int, int, int]:
        """(channels, height, width) of what becomes of images of such a shape.

        Raises:
            InputError: images of that shape cannot be shifted so: neither grey nor RGB, or no pixel would be left.
        """
        channels, height, width = given
        if self.kind == "photometric":
            if channels not in (1, 3) and not self.identity:
                raise InputError(f"images of {channels} channels for a photometric shift: give grey (1) or RGB (3)")
            return given
        small = _downsampled(height, width, self.amount)
        if not all(small):
            raise InputError(f"images of {height}x{width} pixels downsampled by {self.amount}: none would be left")
        return (channels, *small) if self.small else given

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "count drawn"]:
        """The numbers of `count` images, on the generator's device: factors and order, or none.

        Row i depends on the state of the generator and on i alone, so the first rows of many are those of few. Where
        several processes, or runs on other devices, are to see the same, draw for all on the CPU and take slices.
        """
        if not self.drawn:
            return torch.empty((count, 0), device=generator.device)
        uniform = torch.rand((count, 4), generator=generator, device=generator.device)
        factors = uniform[:, :3].mul(2 * self.amount).add(1 - self.amount)
        number = uniform[:, 3:].mul(len(ORDERS)).floor().clamp(max=len(ORDERS) - 1)
        return torch.cat([factors, number], 1)

    def apply(
        self,
        images: UInt8[Tensor, "batch channels height width"] | Float[Tensor, "batch channels height width"],
        draws: Float[Tensor, "batch drawn"],
    ) -> Float[Tensor, "batch channels high wide"]:
        """The images shifted, as float32 in [0, 1]; uint8 images are divided by 255.

        Each image by itself, on the images' device, which is not waited for;
        `apps.data.augment.Augmentation.apply` takes what comes out. The images given are not changed.

        Args:
            images: bytes, or floats in [0, 1].
            draws: rows of what `draw` gives, on the images' device.

        Raises:
            InputError: images of this shape cannot be shifted so, see `image_shape`.

        Example:
            >>> row = torch.tensor([0, 51, 255, 102], dtype=torch.uint8).reshape(1, 1, 1, 4).expand(1, 1, 2, 4)
            >>> Shift("downsample", 0.5).apply(row, torch.empty(1, 0))[0, 0, 0].tolist()
            [0.0, 0.0, 1.0, 1.0]
        """
        batch, channels, height, width = images.shape
        shape = self.image_shape((channels, height, width))
        if self.identity:
            return _unit(images)
        if self.kind == "photometric":
            return _photometric(_unit(images), draws)
        # Bytes are moved as bytes, there and back in one gather.
        source = _sources(height, width, self.amount, self.small, images.device).expand(batch, channels, -1)
        return _unit(images.flatten(2).gather(2, source).view(batch, *shape))


def parse_shift(text: str) -> Shift:
    """The shift that a word on the command line means.

    Raises:
        InputError: it means none; the nearest kind is offered.

    Example:
        >>> parse_shift("photometric:0.4")
        Shift(kind='photometric', amount=0.4, small=False)
    """
    kind, *words = text.split(":")
    if kind not in KINDS:
        raise unknown("shift", kind, KINDS, f"expected {_EXPECTED}")
    if not 1 <= len(words) <= 2:
        raise InputError(f"shift {text!r}: expected {_EXPECTED}")
    try:
        amount = float(words[0])
    except ValueError:
        raise InputError(f"shift {text!r}: {words[0]!r} is not a number; expected {_EXPECTED}") from None
    if words[1:] not in ([], ["small"]):
        raise unknown("option of a shift", words[1], ["small"], f"expected {_EXPECTED}")
    return Shift(kind, amount, small=len(words) == 2)


def shifted_set(images: ImageSet, shift: Shift, seed: int = 0) -> ImageSet:
    """A set shifted once and for all, to test on: what becomes of an image depends on the seed and its position alone.

    So every method is tested on the same images. They are rounded to bytes, once, after the last operation: that keeps
    a set a set (a quarter of the memory of floats, a digest, `sweep` by any number of processes) and moves no pixel by
    more than half a level; downsampled images are exact. Training draws anew and rounds nothing.

    Args:
        images: usually the test images.
        shift: what is done; where it is the identity, the set given is what comes back.
        seed: of the draws.

    Raises:
        InputError: images of this shape cannot be shifted so, or they stay in files.
    """
    if shift.identity:
        return images
    if not images.in_memory:
        raise InputError(
            f"{images.name} ({images.split}) is decoded as it is needed: only sets in memory are shifted for testing"
        )
    shape = shift.image_shape(images.image_shape)
    draws = shift.draw(len(images), generator("cpu", seed, "shifted set"))
    pixels = images.images.new_empty((len(images), *shape))
    for out, some, rows in zip(pixels.split(_CHUNK), images.images.split(_CHUNK), draws.split(_CHUNK), strict=True):
        out.copy_(shift.apply(some, rows.to(some.device)).mul_(255).round_())
    return replace(images, split=f"{images.split} shifted by {shift}", images=pixels)


def _unit(images: Tensor) -> Tensor:
    """Float32 pixels in [0, 1]."""
    return images.to(torch.float32).div_(255) if images.dtype == torch.uint8 else images.to(torch.float32)


def _photometric(pixels: Tensor, draws: Tensor) -> Tensor:
    """Three blends one after the other, each `clamp(f x + (1 - f) y)` with a y of its own.

    y is black for brightness, the mean of the grey image for contrast, the grey image for saturation. Which of them it
    is differs from image to image: the blend is computed for all with the weights of two of them, which may be zero.
    """
    kinds = _orders(pixels.device).index_select(0, draws[:, 3].long())
    factors = draws[:, :3].gather(1, kinds)
    if pixels.shape[1] == 1:
        factors = factors.where(kinds != 2, 1.0)  # there is no colour to saturate
    rest = 1 - factors
    by_mean, by_grey = rest.where(kinds == 1, 0.0), rest.where(kinds == 2, 0.0)
    for turn in range(3):
        factor, of_mean, of_grey = (weights[:, turn, None, None, None] for weights in (factors, by_mean, by_grey))
        grey = _grey(pixels)
        other = torch.addcmul(grey.mean((1, 2, 3), keepdim=True) * of_mean, grey, of_grey)
        pixels = torch.addcmul(other, pixels, factor).clamp_(0, 1)
    return pixels


def _grey(pixels: Tensor) -> Tensor:
    """(batch, 1, height, width): ITU-R 601 luma, with torchvision's digits."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = pixels.split(1, 1)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def _downsampled(height: int, width: int, rate: float) -> tuple[int, int]:
    """Height and width at a rate, rounded down as torch's `interpolate` does."""
    return floor(height * rate), floor(width * rate)


@lru_cache(maxsize=16)
def _sources(height: int, width: int, rate: float, small: bool, device: torch.device) -> Tensor:
    """The position, in an image laid out in one row, that each pixel of the downsampled image is taken from."""
    positions = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
    taken = F.interpolate(positions, _downsampled(height, width, rate), mode="nearest")
    if not small:
        taken = F.interpolate(taken, (height, width), mode="nearest")
    return taken.flatten().long().to(device)


@lru_cache(maxsize=16)
def _orders(device: torch.device) -> Tensor:
    """`ORDERS` on a device, copied there once: a copy in every step would be waited for."""
    return torch.tensor(ORDERS, device=device)
