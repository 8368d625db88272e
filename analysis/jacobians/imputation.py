"""Fill in removed pixels from those around them (ROAD's noisy linear imputation), for many images at once."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional

from priors.checks.floats import at_least_float32
from priors.errors import InputError

NOISE = 0.01
"""Standard deviation of the noise in the published code, where pixels are in [0, 1]."""
DIRECT, DIAGONAL = 1 / 6, 1 / 12
"""Weight of a neighbour beside or above a pixel, and of one across its corner; all eight weigh 1."""
_CHECKED_EVERY = 8
"""Iterations after which a device is asked how far they are."""
_MOST = 4000
"""Iterations: many more than any image of some hundred pixels took."""
_CLOSE = 20
"""Roundings of the values, relative to which a solution is close enough."""


def imputed(
    images: Shaped[Tensor, "..."],
    removed: Shaped[Tensor, "..."],
    noise: Shaped[Tensor, "..."] | None = None,
) -> Float[Tensor, "batch channels height width"]:
    """Images with the pixels that were removed filled in by those around them, and noise added there.

    It is the noisy linear imputation of Rong et al. 2022 ("A Consistent and Efficient Evaluation Strategy for
    Attribution Methods"). Each removed pixel is the weighted mean of its eight neighbours, of which some may be removed
    too: `DIRECT` is a sixth, `DIAGONAL` a twelfth, and at an edge of the image the weights of those that there are sum
    to 1. These equations of all removed pixels are solved jointly, so that what is left of the image goes on smoothly
    into a hole; by black pixels a network could see the hole's outline, and with it what was salient.

    The equations are symmetric and positive definite. They are solved by conjugate gradients, for all images and
    channels together, preconditioned by sums over ever wider parts of the holes (Bramble, Pasciak and Xu 1990): with
    90 % of 224x224 pixels gone it takes some 100 iterations, and without that 500.

    Args:
        images: (batch, channels, height, width).
        removed: (batch, height, width), true where a pixel was removed; none of an image's channels is used there.
        noise: added to what is filled in, in the shape of the images; in the paper normal, by `NOISE` times a standard
            one. It is there so that a network cannot tell smoothness. Unset: none.

    Raises:
        InputError: other shapes or types, an image with all of its pixels removed, or equations that were not solved,
            as with values that are not finite.

    Example:
        >>> image, hole = torch.arange(9.0).view(1, 1, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool)
        >>> hole[0, 1, 1] = True
        >>> round(float(imputed(image * ~hole, hole)[0, 0, 1, 1]), 4)
        4.0
    """
    images = at_least_float32(images, "images")
    if images.ndim != 4 or removed.dtype != torch.bool or removed.shape != (len(images), *images.shape[2:]):
        raise InputError(
            f"images of shape {tuple(images.shape)} with {removed.dtype} of shape {tuple(removed.shape)} for what was "
            "removed: (batch, channels, height, width) and truth values (batch, height, width) were expected"
        )
    if noise is not None and noise.shape != images.shape:
        raise InputError(f"noise has the shape {tuple(noise.shape)}, the images' {tuple(images.shape)} was expected")
    if bool(removed.flatten(1).all(1).any()):
        raise InputError("an image has all of its pixels removed: there is nothing to fill it in by; leave some")
    gone = removed[:, None].to(images.dtype)
    known = torch.where(removed[:, None], 0, images)
    system = _System(gone)
    solution = _solved(system, gone * _around(known))
    found = torch.where(removed[:, None], solution, images)
    return found if noise is None else found + gone * noise.to(images.dtype)


def _around(values: Tensor) -> Tensor:
    """Weighted sums of the eight neighbours within the image.

    The weights with a third in the middle are the product of 1, 2, 1 down and across, over 12. Slices are added here
    and below, not convolved: a GPU may convolve with 10 bits, and a CPU convolves single channels slowly.
    """
    down = 2 * values
    down[..., 1:, :] += values[..., :-1, :]
    down[..., :-1, :] += values[..., 1:, :]
    found = 2 * down
    found[..., 1:] += down[..., :-1]
    found[..., :-1] += down[..., 1:]
    return found.mul_(DIAGONAL).sub_(values, alpha=4 * DIAGONAL)


class _System:
    """The equations of the removed pixels: D x - W x = what is around, each x being 0 elsewhere.

    Args:
        gone: 1 where a pixel was removed, else 0; (batch, 1, height, width).
    """

    def __init__(self, gone: Tensor):
        self.gone = gone
        self.diagonal = gone * _around(torch.ones_like(gone[:1]))
        self.inverse = gone / self.diagonal.clamp_min(DIAGONAL)
        self.coarse = []
        """By level, 1 where a tent over so many pixels lies within a hole: such tents are what errors are summed by."""
        kept = 1 - gone
        while min(kept.shape[2:]) >= 4:
            # What a tent reaches is kept nowhere; beyond the image there is nothing to be kept.
            kept = functional.max_pool2d(kept, 3, stride=2, padding=1)
            self.coarse.append(1 - kept)

    def __call__(self, values: Tensor) -> Tensor:
        """The left side."""
        return self.diagonal * values - self.gone * _around(values)

    def roughly_solved(self, values: Tensor) -> Tensor:
        """The preconditioner: symmetric, positive definite, and near the inverse up to a factor on all scales."""
        found = self.inverse * values
        if not self.coarse:
            return found
        sums, down = values, []
        for _ in self.coarse:
            down.append(sums)
            sums = _gathered(sums)
        down.append(sums)
        # In two dimensions the slope of a tent has the same square, summed, whatever its width.
        up = self.coarse[-1] * down[-1]
        for level in reversed(range(len(self.coarse))):
            up = _spread(up, down[level].shape)
            up = up + (self.coarse[level - 1] * down[level] if level else 0)
        return found + self.gone * up


def _gathered(values: Tensor) -> Tensor:
    """Sums under tents (1/2, 1, 1/2 down and across) at every second pixel."""
    for axis in (2, 3):
        even, odd = _halves(values, axis)
        values = even.clone()
        count = odd.shape[axis]
        values.narrow(axis, 0, count).add_(odd, alpha=0.5)
        rest = even.shape[axis] - 1
        values.narrow(axis, 1, rest).add_(odd.narrow(axis, 0, rest), alpha=0.5)
    return values


def _spread(values: Tensor, shape: torch.Size) -> Tensor:
    """Sums of tents of such heights: the transpose of `_gathered`."""
    for axis in (3, 2):
        size = list(values.shape)
        size[axis] = shape[axis]
        wide = values.new_zeros(size)
        even, odd = _halves(wide, axis)
        even.copy_(values)
        count = odd.shape[axis]
        odd.add_(values.narrow(axis, 0, count), alpha=0.5)
        rest = values.shape[axis] - 1
        odd.narrow(axis, 0, rest).add_(values.narrow(axis, 1, rest), alpha=0.5)
        values = wide
    return values


def _halves(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Every second row or column, from the first and from the second."""
    return (values[..., ::2], values[..., 1::2]) if axis == 3 else (values[..., ::2, :], values[..., 1::2, :])


def _solved(system: _System, right: Tensor) -> Tensor:
    """Solve for every image and channel by conjugate gradients, until all are close."""

    def dot(one: Tensor, other: Tensor) -> Tensor:
        return (one * other).sum((2, 3), keepdim=True)

    tiny = torch.finfo(right.dtype).tiny
    bound = (_CLOSE * torch.finfo(right.dtype).eps) ** 2 * dot(right, right)
    found, rest = torch.zeros_like(right), right
    rough = system.roughly_solved(rest)
    along, before = rough, dot(rest, rough)
    for iteration in range(_MOST):
        if iteration % _CHECKED_EVERY == 0 and bool((dot(rest, rest) <= bound).all()):
            return found
        applied = system(along)
        step = before / dot(along, applied).clamp_min(tiny)
        found, rest = found + step * along, rest - step * applied
        rough = system.roughly_solved(rest)
        after = dot(rest, rough)
        along = rough + after / before.clamp_min(tiny) * along
        before = after
    raise InputError("removed pixels could not be filled in: their equations were not solved; are all pixels finite?")
