"""Where the frequencies of a map lie: their lengths, their rings, and how often each stands in the full plane."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64, Int, Shaped
from torch import Tensor

from priors.errors import InputError

SMALLEST = 5
"""Pixels on the shorter side of a map that has a spectrum."""


@dataclass(frozen=True)
class HalfPlane:
    """The frequencies of `torch.fft.rfft2`, the half that real maps have, of maps of any size.

    Attributes:
        square: (height, half) |k|^2, with k in cycles per pixel.
        weight: (height, half) how often each stands in the full plane: twice, but for the columns of frequency 0 and,
            where the width is even, of Nyquist's.
        radius: (height, half) |k| in cycles over the shorter side, and a little more, so that rounding puts none below
            a whole number or a half that it is.
        ring: (height, half) the whole number nearest to that; halves go up.
    """

    square: Float64[Tensor, "height half"]
    weight: Float64[Tensor, "height half"]
    radius: Float64[Tensor, "height half"]
    ring: Int[Tensor, "height half"]


def half_plane(shape: tuple[int, int]) -> HalfPlane:
    """The frequencies of maps of (height, width) pixels, on the CPU.

    Example:
        >>> half_plane((1, 4)).weight, half_plane((1, 4)).square.sqrt()
        (tensor([[1., 2., 1.]], dtype=torch.float64), tensor([[0.0000, 0.2500, 0.5000]], dtype=torch.float64))
    """
    height, width = shape
    y, x = torch.fft.fftfreq(height, dtype=torch.float64), torch.fft.rfftfreq(width, dtype=torch.float64)
    square = y[:, None].square() + x.square()
    once = torch.zeros(len(x), dtype=torch.bool)
    once[0] = True
    once[-1] |= width % 2 == 0
    weight = torch.where(once, 1.0, 2.0).double().expand(height, -1)
    radius = square.sqrt() * min(shape) + 1e-9
    return HalfPlane(square, weight, radius, (radius + 0.5).floor().long())


@dataclass(frozen=True)
class FrequencyGrid:
    """The half plane that a real map's transform has (`torch.fft.rfft2`), flattened, and its rings.

    A frequency's length is in cycles per pixel, whatever the size. Ring r holds the lengths nearest to r/n, n being the
    shorter side: of a square map, the whole numbers of cycles per map. A longer side only adds frequencies between.
    Groups are finer rings, which lie in rings: sums over them say how images differ.

    Attributes:
        shape: (height, width) of the map, padded.
        length: (frequencies,) |k| in cycles per pixel; the first is 0.
        weight: (frequencies,) how often each stands in the full plane: twice, but for the columns of frequency 0 and,
            where the width is even, of Nyquist's.
        group: (frequencies,) the group of each; the first has one to itself.
        ring: (groups,) the ring of each; 0 is left out of spectra.
        count: (groups,) frequencies of the full plane.
        log_length: (groups,) their mean log |k|; 0 for the first.
    """

    shape: tuple[int, int]
    length: Float64[Tensor, " frequencies"]
    weight: Float64[Tensor, " frequencies"]
    group: Int[Tensor, " frequencies"]
    ring: Int[Tensor, " groups"]
    count: Float64[Tensor, " groups"]
    log_length: Float64[Tensor, " groups"]

    @property
    def side(self) -> int:
        """The shorter one, in pixels."""
        return min(self.shape)

    @cached_property
    def rings(self) -> int:
        """How many there are, up to the corner, ring 0 among them."""
        return int(self.ring.max()) + 1

    def over_rings(self, values: Float64[Tensor, "groups *more"]) -> Float64[Tensor, "rings *more"]:
        """Sum values of groups over those of each ring, from ring 1."""
        total = values.new_zeros(self.rings, *values.shape[1:])
        return total.index_add_(0, self.ring, values)[1:]

    def over_groups(self, values: Shaped[Tensor, "n frequencies"]) -> Float64[Tensor, "groups n"]:
        """Sum values over the frequencies that each group has in the full plane, in float64."""
        weighted = (values.double() * self.weight).T
        return weighted.new_zeros(len(self.ring), len(values)).index_add_(0, self.group, weighted)


def frequency_grid(shape: tuple[int, int], device: torch.device | str | None = None) -> FrequencyGrid:
    """The frequencies of maps of a size.

    Raises:
        InputError: fewer than 5 pixels on a side.

    Example:
        >>> grid = frequency_grid((8, 8))
        >>> grid.over_rings(grid.count)[:4].tolist(), int(grid.count.sum())
        ([8.0, 12.0, 16.0, 22.0], 64)
    """
    height, width = shape
    if min(shape) < SMALLEST:
        raise InputError(
            f"maps of {height}x{width} pixels have too few frequencies for a spectrum: {SMALLEST}x{SMALLEST} or more"
            " was expected"
        )
    plane = half_plane((height, width))
    length, weight, radius, ring = (
        one.flatten() for one in (plane.square.sqrt(), plane.weight, plane.radius, plane.ring)
    )
    finer = 16 if min(shape) <= 48 else 4  # groups a ring: enough that in small maps hardly any holds two lengths
    label = (ring * 2 * finer + (radius * finer).floor().long() - ring * finer + finer) + 1
    label[0] = 0
    groups, group = label.unique(return_inverse=True)
    log_length = length.log()
    log_length[0] = 0
    count = torch.zeros(len(groups), dtype=torch.float64).index_add_(0, group, weight)
    mean = torch.zeros_like(count).index_add_(0, group, weight * log_length) / count
    own = torch.zeros(len(groups), dtype=torch.long).scatter_(0, group, ring)
    tensors = (length, weight, group, own, count, mean)
    return FrequencyGrid((height, width), *(one.to(device) for one in tensors))
