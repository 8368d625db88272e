"""Random flips and crops, numbered, for a whole batch at once on its device."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from apps.data.pixels import unit
from priors.errors import InputError, unknown

if TYPE_CHECKING:
    from apps.data.image_set import ImageSet

FILLS = ("black", "mean", "reflect")
"""Words for what a crop's padding holds."""


@dataclass(frozen=True)
class Augmentation:
    """A crop of the padded image, then a horizontal flip: what torchvision's RandomCrop and RandomHorizontalFlip do.

    What happens to an image is one number, its view: `(top * (2 * padding + 1) + left) * 2 + flipped` (without the `*
    2` where nothing is flipped), so that every view can be drawn, named and cached. View 0 of `Augmentation()` is the
    image itself.

    The protocols differ in what the padding is. Padding before normalisation (torchvision's default) makes it black:
    `fill=(0,)`. Padding after normalisation makes it normalised zero, the channel's mean: `fill=mean`. Or it is the
    image mirrored at its edges, whose outermost pixels are not repeated: `fill="reflect"`. See `augmentation_for`.

    Attributes:
        flip: whether half of the images are mirrored left to right.
        padding: pixels added on each side before a window of the original size is cut out; 0 crops nothing.
        fill: the value of the padding in [0, 1], one for all channels or one a channel; or "reflect".
    """

    flip: bool = False
    padding: int = 0
    fill: tuple[float, ...] | Literal["reflect"] = (0.0,)

    def __post_init__(self):
        if self.padding < 0:
            raise InputError(f"crop padding {self.padding} given: a number of pixels >= 0 was expected")
        if self.fill != "reflect" and not (self.fill and all(0 <= value <= 1 for value in self.fill)):
            raise InputError(f"padding value {self.fill} given: values in [0, 1] were expected, one or one a channel")

    @property
    def views(self) -> int:
        """How many views there are of an image: 162 for flip and 4 pixels of padding."""
        return (2 * self.padding + 1) ** 2 * (2 if self.flip else 1)

    def draw(self, count: int, generator: torch.Generator) -> Int64[Tensor, " count"]:
        """`count` views, uniformly at random, on the generator's device."""
        return torch.randint(self.views, (count,), generator=generator, device=generator.device)

    def apply(
        self,
        images: UInt8[Tensor, "batch channels height width"] | Float[Tensor, "batch channels height width"],
        view: Int64[Tensor, " batch"],
    ) -> Float[Tensor, "batch channels height width"]:
        """The given view of each image, as float32 in [0, 1]; uint8 images are divided by 255.

        Index arithmetic and one gather on the images' device, which is not waited for; so a view that does not exist is
        not noticed here.

        Raises:
            InputError: `fill` has values for another number of channels, or images of no more pixels a side than are
                added are to be mirrored.

        Example:
            >>> row = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
            >>> Augmentation(flip=True).apply(row, torch.tensor([1])).flatten().tolist()
            [1.0, 0.20000000298023224, 0.0]
        """
        if not self.padding:
            pixels = unit(images)
            return torch.where(view[:, None, None, None] == 1, pixels.flip(3), pixels) if self.flip else pixels
        batch, channels, height, width = images.shape
        if self.fill == "reflect":
            inside = _mirrored(self.flip, self.padding, height, width, view)
            return unit(images.flatten(2).gather(2, inside[:, None].expand(batch, channels, -1)).view(images.shape))
        edge, (high, wide) = self.padding, (height + 2 * self.padding, width + 2 * self.padding)
        # Bytes are moved as bytes where the padding is one, as black is: a quarter of the memory.
        fill, whole = self._fill(channels), images.dtype == torch.uint8 and not any(self.fill)
        padded = images.new_zeros((batch, channels, high, wide)) if whole else _filled(fill, batch, high, wide, images)
        inside = padded[:, :, edge : edge + height, edge : edge + width]
        inside.copy_(images)
        if images.dtype == torch.uint8 and not whole:
            inside.div_(255)
        window = _windows(self.flip, edge, height, width, view)
        return unit(padded.flatten(2).gather(2, window[:, None].expand(batch, channels, -1)).view(images.shape))

    def _fill(self, channels: int) -> tuple[float, ...]:
        if len(self.fill) not in (1, channels):
            raise InputError(
                f"{len(self.fill)} padding values given for images of {channels} channels: give one, or one a channel"
            )
        return self.fill


def augmentation_for(
    images: "ImageSet",
    *,
    flip: bool = False,
    padding: int = 0,
    fill: str | Sequence[float] = "black",
) -> Augmentation | None:
    """The augmentation of a training set by its protocol's words; None where nothing is asked for.

    Args:
        images: the training set; its channel means are taken for `fill="mean"`.
        flip: whether half of the images are mirrored left to right.
        padding: pixels added on each side before cropping to the original size.
        fill: "black" (0, padding before normalisation), "mean" (normalised zero, padding after it), "reflect" (the
            image mirrored at its edges), or values in [0, 1].

    Raises:
        InputError: a value is out of range, `fill` is another word, or images are too small to be mirrored.
    """
    if not flip and not padding:
        return None
    if isinstance(fill, str):
        if fill not in FILLS:
            raise unknown("padding value", fill, FILLS)
        if fill == "reflect":
            _check_mirrored(padding, *images.image_shape[1:])
            return Augmentation(flip, padding, "reflect") if padding else Augmentation(flip)
        from apps.data.image_set import channel_statistics

        fill = (0.0,) if fill == "black" else channel_statistics(images)[0]
    return Augmentation(flip, padding, tuple(fill))


def _filled(fill: tuple[float, ...], batch: int, high: int, wide: int, images: Tensor) -> Tensor:
    """Float32 images full of the padding's value."""
    shape = (batch, images.shape[1], high, wide)
    if len(fill) == 1:
        return torch.full(shape, fill[0], dtype=torch.float32, device=images.device)
    return _on(fill, images.device).view(1, -1, 1, 1).expand(shape).contiguous()


@lru_cache(maxsize=16)
def _on(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Constants on a device, copied there once: a copy in every step would be waited for."""
    return torch.tensor(values, dtype=torch.float32, device=device)


@lru_cache(maxsize=16)
def _offsets(flip: bool, padding: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where a view's window begins in a padded image laid out in one row, and the steps from there to its pixels.

    Returns:
        start: (views,), the position of the window's first pixel.
        steps: (2 or 1, height * width), the steps to the pixels in their order, plain and mirrored.
    """
    span, wide = 2 * padding + 1, width + 2 * padding
    corner = torch.arange(span)[:, None] * wide + torch.arange(span)
    start = corner.flatten().repeat_interleave(2 if flip else 1)
    columns = torch.arange(width)
    rows = torch.arange(height)[:, None] * wide
    steps = torch.stack([(rows + columns).flatten(), (rows + columns.flip(0)).flatten()][: 2 if flip else 1])
    return start.to(device), steps.to(device)


def _check_mirrored(padding: int, height: int, width: int) -> None:
    """Refuse to mirror more pixels at an edge than there are beyond the outermost one."""
    if padding >= min(height, width):
        raise InputError(
            f"padding by {padding} mirrored pixels given for images of {height}x{width}: they need {padding + 1} a "
            "side; choose another padding value, such as black"
        )


@lru_cache(maxsize=16)
def _mirrors(padding: int, side: int, device: torch.device) -> Tensor:
    """(2 * padding + 1, side): for each place that a window may begin at along a side, the pixels it is made of."""
    offset = torch.arange(2 * padding + 1)[:, None] - padding + torch.arange(side)
    last = side - 1
    return (last - (last - offset.abs()).abs()).to(device)


def _mirrored(flip: bool, padding: int, height: int, width: int, view: Tensor) -> Tensor:
    """(batch, height * width): the positions in the image itself that a view with mirrored edges is made of."""
    _check_mirrored(padding, height, width)
    place, span = (view.div(2, rounding_mode="floor") if flip else view), 2 * padding + 1
    rows = _mirrors(padding, height, view.device).index_select(0, place.div(span, rounding_mode="floor"))
    columns = _mirrors(padding, width, view.device).index_select(0, place.remainder(span))
    if flip:
        columns = torch.where(view.remainder(2)[:, None] == 1, columns.flip(1), columns)
    return (rows[:, :, None] * width + columns[:, None]).flatten(1)


def _windows(flip: bool, padding: int, height: int, width: int, view: Tensor) -> Tensor:
    """(batch, height * width): the positions in the padded image that a view is made of."""
    start, steps = _offsets(flip, padding, height, width, view.device)
    mirrored = view.remainder(2) if flip else torch.zeros_like(view)
    return steps.index_select(0, mirrored).add_(start.index_select(0, view)[:, None])


def view_number(top: int, left: int, flipped: bool, augmentation: Augmentation) -> int:
    """The number of the view whose window starts at (`top`, `left`) of the padded image.

    Example:
        >>> view_number(8, 8, True, Augmentation(flip=True, padding=4))
        161
    """
    span = 2 * augmentation.padding + 1
    if not (0 <= top < span and 0 <= left < span) or (flipped and not augmentation.flip):
        raise InputError(f"no view starts at ({top}, {left}){' mirrored' if flipped else ''} in {augmentation}")
    position = top * span + left
    return position * 2 + int(flipped) if augmentation.flip else position
