"""What a distribution of one pixel's channels is, given what a network says of it, on the grid of 256 levels a channel.

Likelihoods here are of discrete values: an image in [0, 1] has channels k / 255 with k = 0 ... 255.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from priors.checks.draws import require_generator
from priors.checks.floats import at_least_float32
from priors.errors import InputError

LEVELS = 256
_ROUNDING = 2.0**-20
"""How far from the grid values may lie: several float32 roundings of numbers up to 1 (2^-24 each)."""


def levels(images: Float[Tensor, "*shape"], *, check: bool = True) -> Int64[Tensor, "*shape"]:
    """The levels k = 0 ... 255 of values k / 255.

    Args:
        images: float32 or float64, in [0, 1].
        check: look whether the values are such levels, which waits for the device; without it other values give
            levels that mean nothing.

    Raises:
        InputError: another type; when checking, values that are not finite, are not in [0, 1] or are further from the
            grid than float32 rounds.

    Example:
        >>> levels(torch.tensor([0.0, 0.2, 1.0])).tolist()
        [0, 51, 255]
    """
    require_image_type(images)
    rounded = (images * 255).round()
    if check and images.numel():
        _require_grid(images.detach(), rounded.detach() / 255)
    return rounded.long()


def require_image_type(images: Float[Tensor, "*shape"]) -> None:
    """Raise InputError unless images are float32 or float64: half precision has not as many values as there are levels.

    Between 1/2 and 1 those of bfloat16 are a level apart, so that what a density is told would hang on its rounding.
    """
    if images.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"images are {images.dtype}: float32 or float64 in [0, 1] was expected, as by images.float() of other "
            "floats or images.float() / 255 of bytes"
        )


class PixelDistribution(ABC):
    """A distribution over the 256^channels values of one pixel, one for each pixel, by the numbers a network gives it.

    Half precision is computed in float32, also under autocast; float64 stays float64.

    Attributes:
        channels: of the images.
        draws: how many uniform numbers a sampled pixel takes.
    """

    channels: ClassVar[int]
    draws: ClassVar[int]

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many numbers a pixel the network must give."""

    def log_prob(
        self,
        outputs: Float[Tensor, "batch outputs height width"],
        images: Float[Tensor, "batch channels height width"],
        *,
        check: bool = True,
    ) -> Float[Tensor, "batch height width"]:
        """Log-probability of each pixel, of all its channels jointly, in nats.

        Differentiable (once) in what the network gives, not in the images: they are discrete.

        Args:
            outputs: what the network gives.
            images: in [0, 1], on the grid k / 255.
            check: that they are, which waits for the device; without it other values are rounded to the grid, and such
                as have no level there give anything. False where they were checked before, as in training.

        Raises:
            InputError: shapes that do not fit each other or the distribution; images that are not on the grid.
        """
        (batch, given, *size), (_, channels, *_) = outputs.shape, images.shape
        if given != self.outputs or channels != self.channels:
            raise InputError(
                f"{given} outputs a pixel for images of {channels} channels: a {type(self).__name__} takes "
                f"{self.outputs} outputs for images of {self.channels}"
            )
        if images.shape != (batch, channels, *size):
            raise InputError(
                f"outputs of shape {tuple(outputs.shape)} for images of shape {tuple(images.shape)}: images of shape "
                f"{(batch, channels, *size)} were expected"
            )
        with torch.autocast(outputs.device.type, enabled=False):
            return self._log_prob(at_least_float32(outputs, "outputs"), levels(images, check=check))

    def sample(
        self, outputs: Float[Tensor, "batch outputs"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch channels"]:
        """One pixel a row, exactly from the distribution of `log_prob`: values k / 255, float32 (float64 for float64).

        The same generator state gives the same pixels; rows depend on each other only through the stream of draws.

        Args:
            outputs: what the network gives for each pixel.
            generator: of the draws, on the CPU or the outputs' device; None: torch's own of the outputs' device.

        Raises:
            InputError: another number of outputs than the distribution takes, or a generator that is none.
        """
        require_generator(generator)
        uniforms = torch.rand(
            (len(outputs), self.draws),
            generator=generator,
            device=outputs.device if generator is None else generator.device,
            dtype=torch.float64,
        )
        return self.place(outputs, uniforms.to(outputs.device))

    def place(
        self, outputs: Float[Tensor, "batch outputs"], uniforms: Float64[Tensor, "batch draws"]
    ) -> Float[Tensor, "batch channels"]:
        """Pixels by the uniform numbers in [0, 1) they are drawn with: what `sample` does once it has drawn them.

        Nothing in it waits for the device, so that it can be captured in a graph.

        Raises:
            InputError: other numbers of outputs or of draws than the distribution takes.
        """
        if outputs.shape[1] != self.outputs or uniforms.shape[1] != self.draws:
            raise InputError(
                f"{outputs.shape[1]} outputs and {uniforms.shape[1]} draws a pixel: a {type(self).__name__} takes "
                f"{self.outputs} outputs and {self.draws} draws"
            )
        with torch.no_grad(), torch.autocast(outputs.device.type, enabled=False):
            return self.values(at_least_float32(outputs, "outputs"), uniforms)

    def values(self, outputs: Tensor, uniforms: Tensor) -> Tensor:
        """What `place` does, at a third of its time, for who sees to shapes, types, gradients and autocast."""
        return self._place(outputs, uniforms).to(outputs.dtype).div_(255)

    @abstractmethod
    def _log_prob(self, outputs: Tensor, levels: Tensor) -> Tensor:
        """Nats (batch, height, width) of levels (batch, channels, height, width), int64; in the outputs' type."""

    @abstractmethod
    def _place(self, outputs: Tensor, uniforms: Tensor) -> Tensor:
        """Levels (batch, channels), of any type."""


def categorical(logits: Float[Tensor, "batch classes"], uniforms: Float64[Tensor, " batch"]) -> Int64[Tensor, " batch"]:
    """Classes by inverting the cumulated softmax at uniform numbers in [0, 1); none of probability zero.

    The sums are in float64, so that the ends of hundreds of small probabilities are not rounded away. The last class is
    what logits come to that are not numbers.

    Example:
        >>> thirds = torch.zeros(4, 3)
        >>> categorical(thirds, torch.tensor([0.0, 0.3, 0.4, 0.9], dtype=torch.float64)).tolist()
        [0, 0, 1, 2]
    """
    ends = logits.softmax(1, dtype=torch.float64).cumsum(1)
    found = torch.searchsorted(ends, uniforms.unsqueeze(1) * ends[:, -1:], right=True)
    return found.squeeze(1).clamp_(max=logits.shape[1] - 1)


def _require_grid(images: Tensor, nearest: Tensor) -> None:
    low, high, distance = torch.stack([*images.aminmax(), (images - nearest).abs().max()]).tolist()
    if not abs(low) + abs(high) < float("inf"):
        raise InputError("images have values that are not finite: values k / 255 were expected, k = 0 ... 255")
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise InputError(
            f"images have values between {low:.6g} and {high:.6g}: values k / 255 in [0, 1] were expected; "
            "divide bytes by 255, and undo any normalisation"
        )
    if distance > _ROUNDING:
        raise InputError(
            f"images have values up to {distance:.2g} away from the grid k / 255, and the likelihood is of discrete "
            "values, k = 0 ... 255: quantise them first, by (images * 255).round() / 255"
        )
