"""The function from images to features that is looked into: checked, in passes that fit into memory."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn
from torch.utils import _pytree as trees
from torch.utils._python_dispatch import TorchDispatchMode

from analysis.jacobians.controls import normal_draws
from priors.checks.floats import PIXELS, own_dtype, require_digits
from priors.errors import InputError, shown
from priors.reading.dry_pass import constant_parameters, without_autocast

Function = Callable[[Tensor], Tensor]
"""From images (batch, channels, height, width) to features (batch, ...), each image for itself."""

_PASSES = 3
"""How many times the bytes of all results a pass takes, with what is kept for the way back."""
_PER_DRAW = 96
"""Bytes that drawing a normal number takes on the way: bits of two counters, mixed, as whole numbers of 64 bits."""
_ALONE = 0.02
"""How far, of their length, features of an image may differ beside other images: by rounding, of few digits too."""


@dataclass(frozen=True)
class Features:
    """A function, and the images that it is looked into at.

    Attributes:
        function: from images to features.
        images: in float32 or float64, off any graph.
        index: of each image, which its random numbers hang on.
        deviation: the unit of noise, in pixel values; (channels, 1, 1).
        size: values of the features of one image.
        bytes: that the results of a pass take, for an image.
    """

    function: Function
    images: Float[Tensor, "batch channels height width"]
    index: Int64[Tensor, " batch"]
    deviation: Float[Tensor, "channels 1 1"]
    size: int
    bytes: int

    def __call__(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch size"]:
        """Features of images, flat."""
        return self.function(images).flatten(1)

    def rows(self, some: slice) -> "Features":
        """Of some of the images."""
        return Features(self.function, self.images[some], self.index[some], self.deviation, self.size, self.bytes)

    def bytes_of_a_pass(self, draws: int) -> int:
        """That an image takes, there and back, with as many normal numbers drawn."""
        return _PASSES * self.bytes + _PER_DRAW * draws

    def chunks(self, memory: int, *, draws: int, kept: int = 0, passes: int = 1) -> Iterator[slice]:
        """Images that are worked on at a time.

        Args:
            memory: bytes that they may take about.
            draws: normal numbers that are drawn for an image in one pass.
            kept: bytes that are kept for an image meanwhile.
            passes: how many copies of an image a pass is of, where that fits.
        """
        each = self.bytes_of_a_pass(draws) * passes + kept
        size = max(1, memory // max(1, each))
        for start in range(0, len(self.images), size):
            yield slice(start, min(start + size, len(self.images)))

    def normal(self, seed: int, purpose: int, step: int, *shape: int) -> Float[Tensor, "batch ..."]:
        """Standard normal numbers for each image, which hang on its index alone, in the images' type.

        Args:
            seed: the user's.
            purpose: what they are for: each has numbers of its own.
            step: the number of the draw.
            shape: for one image.
        """
        return normal_draws((seed << 32) + (purpose << 28) + step, self.index, *shape).to(self.images.dtype)


@contextmanager
def looked_into(
    function: Function,
    images: Shaped[Tensor, "..."],
    index: Shaped[Tensor, "..."] | Sequence[int] | None = None,
    deviation: int | float | Sequence[int | float] | Shaped[Tensor, "..."] | None = None,
) -> Iterator[Features]:
    """Check what is given, and look at the first image alone; autocast and inference mode are off meanwhile.

    Args:
        function: from images to features.
        images: (batch, channels, height, width).
        index: of the images, whole numbers of at least 0; None: 0 and up.
        deviation: the unit of noise, one number or one a channel; None: 1, pixel values as they are.

    Raises:
        InputError: what cannot be looked into, in one line.
    """
    network = function if isinstance(function, nn.Module) else None
    _check_images(images)
    if network is not None:
        require_digits(network, "the network")
    with (
        torch.inference_mode(False),
        without_autocast(images.device),
        constant_parameters(network) if network else nullcontext(),
    ):
        images = images.clone() if images.is_inference() else images.detach()
        images = images.to((own_dtype(network) if network else None) or images.dtype)
        unit = _deviation(deviation, images)
        numbers = image_numbers(index, images)
        size, taken = _alone(function, images)
        yield Features(function, images, numbers, unit, size, taken)


def require_count(what: str, given: object, least: int = 1) -> None:
    """Make sure that a number of draws or steps is one.

    Raises:
        InputError: it is no whole number, or below `least`.
    """
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise InputError(f"{what} is {shown(given)}: a whole number of at least {least} was expected")


def require_positive(what: str, given: object) -> None:
    """Make sure that a number is above 0 and finite.

    Raises:
        InputError: it is not.
    """
    if isinstance(given, bool) or not isinstance(given, int | float) or not (given > 0 and math.isfinite(given)):
        raise InputError(f"{what} is {shown(given)}: a number above 0 was expected")


def _check_images(images: object) -> None:
    if not isinstance(images, Tensor):
        raise InputError(f"images are {shown(images)}: one tensor (batch, channels, height, width) was expected")
    if images.dtype not in (torch.float32, torch.float64):
        raise InputError(f"images are {images.dtype}: {PIXELS}, in float32 or float64")
    if images.ndim != 4 or not images.numel():
        raise InputError(f"images are of shape {tuple(images.shape)}: (batch, channels, height, width) was expected")
    if not bool(images.isfinite().all()):
        raise InputError("images have values that are not finite")


def image_numbers(
    given: Shaped[Tensor, "..."] | Sequence[int] | None, images: Float[Tensor, "batch ..."]
) -> Int64[Tensor, " batch"]:
    """Numbers of images, which what is drawn for them hangs on.

    Args:
        given: whole numbers of at least 0; None: 0 and up.
        images: or what a network makes of them, a row an image.

    Raises:
        InputError: no whole numbers, or not one for each image.
    """
    if given is None:
        return torch.arange(len(images), device=images.device)
    index = torch.as_tensor(given, device=images.device)
    if index.is_floating_point() or index.dtype == torch.bool or index.shape != (len(images),):
        raise InputError(
            f"index is {index.dtype} of shape {tuple(index.shape)}: a whole number for each of {len(images)} images "
            "was expected"
        )
    return index.long().clone()


def _deviation(given: object, images: Tensor) -> Tensor:
    """One a channel, for pictures (..., channels, height, width)."""
    own = torch.as_tensor(1.0 if given is None else given).to(images).reshape(-1, 1, 1)
    if len(own) not in (1, images.shape[1]) or not bool((own.isfinite() & (own > 0)).all()):
        raise InputError(
            f"deviation is {own.flatten().tolist()}: a number above 0, or one for each of {images.shape[1]} channels, "
            "was expected"
        )
    return own.expand(images.shape[1], 1, 1)


def _alone(function: Function, images: Tensor) -> tuple[int, int]:
    """Size of the features of one image, and bytes of all that is made on the way to them.

    Beside a second image the first has to have the same features: a layer in training mode shows there.
    """
    with torch.enable_grad(), _Made() as made:
        first = function(images[:1].clone().requires_grad_())
    if not isinstance(first, Tensor) or first.ndim < 1 or len(first) != 1 or not first.is_floating_point():
        raise InputError(f"the function gives {shown(first)} of one image: features (1, ...) were expected")
    if first.dtype not in (torch.float32, torch.float64):
        raise InputError(f"the function gives {first.dtype}: float32 or float64 was expected, as by .float()")
    if not first.numel():
        raise InputError(f"the function gives features of shape {tuple(first.shape)}: there is nothing in them")
    if not first.requires_grad:
        raise InputError(
            "the features do not depend on the images, as far as torch sees: a function that torch can differentiate "
            "was expected, without no_grad() and detach()"
        )
    with torch.no_grad():
        both = function(images[:2] if len(images) > 1 else images[:1].expand(2, *images.shape[1:]))
        if both.shape != (2, *first.shape[1:]):
            raise InputError(
                f"the function gives {tuple(both.shape)} of two images and {tuple(first.shape)} of one: a row an image "
                "was expected"
            )
        off = (both[:1] - first).norm() / first.norm().clamp_min(torch.finfo(first.dtype).tiny)
        if bool(off > _ALONE):
            raise InputError(
                f"the features of an image change by {float(off):.2g} of their length beside another image, or from "
                "call to call: a network in evaluation mode was expected"
            )
    return first[0].numel(), made.bytes + images[0].nbytes


class _Made(TorchDispatchMode):
    """Counts the bytes of what operations give, views aside."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        results = operation(*args, **(kwargs or {}))
        given = {one.untyped_storage()._cdata for one in trees.tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        for one in trees.tree_leaves(results):
            if isinstance(one, Tensor) and one.untyped_storage()._cdata not in given:
                self.bytes += one.nbytes
        return results
