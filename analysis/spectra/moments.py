"""What a sweep over images keeps of their maps' spectra: sums over images, and never the maps.

All of it is in float64 on one device, and adding a batch does not wait for that device. It grows with the size of a
map, and neither with its channels nor with the images.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from analysis.spectra.convention import GREY, KAISER_BETA, SPECTRUM_CONVENTIONS, SpectrumConvention
from analysis.spectra.frequencies import FrequencyGrid, frequency_grid
from priors.checks.floats import at_least_float32
from priors.errors import InputError

_VALUES = 2**24
"""Of padded maps that are transformed at once, unless one image has more."""


@dataclass(frozen=True)
class SpectrumMoments:
    """First and second moments of spectra, over images.

    Attributes:
        convention: how each image's spectrum is measured.
        shape: (height, width) of maps, in pixels.
        grid: the frequencies.
        taper: (height, width) the window, with squares that sum to 1.
        images: so far.
        channels: of each map; 0 before the first.
        power: (frequencies,) sum over images of the mean power over channels, |FFT|^2 / sum of the window's squares.
        total: (groups,) sum over images of each group's sum of the convention's quantity.
        square: (groups, groups) sum over images of the products of those.

    Example:
        >>> moments = SpectrumMoments.none((8, 8)).add(torch.rand(20, 3, 8, 8, generator=torch.manual_seed(0)))
        >>> moments.images, moments.channels, len(moments.power)
        (20, 3, 40)
    """

    convention: SpectrumConvention
    shape: tuple[int, int]
    grid: FrequencyGrid
    taper: Float[Tensor, "height width"]
    images: int
    channels: int
    power: Float64[Tensor, " frequencies"]
    total: Float64[Tensor, " groups"]
    square: Float64[Tensor, "groups groups"]

    @classmethod
    def none(
        cls,
        shape: tuple[int, int],
        convention: SpectrumConvention = SPECTRUM_CONVENTIONS["power"],
        device: torch.device | str | None = None,
    ) -> "SpectrumMoments":
        """Those of no images.

        Args:
            shape: (height, width) of the maps to come.
            convention: how their spectra are measured.
            device: where.

        Raises:
            InputError: fewer than 5 pixels on a side.
        """
        height, width = shape
        frequency_grid((height, width))  # a map is not made large enough by padding
        grid = frequency_grid((height * convention.padding, width * convention.padding), device)
        y, x = (_window(convention.window, size).to(device) for size in (height, width))
        total = torch.zeros_like(grid.count)
        power = torch.zeros_like(grid.length)
        square = total.new_zeros(len(total), len(total))
        return cls(convention, (height, width), grid, y[:, None] * x, 0, 0, power, total, square)

    def add(self, maps: Shaped[Tensor, "*shape"]) -> "SpectrumMoments":
        """These and a batch more; values that are not finite are found when a spectrum is read.

        Args:
            maps: (n, channels, height, width) of any floating type, on the device of these; in float32, or float64 if
                they are, they are transformed.

        Raises:
            InputError: a vector an image, another size or number of channels, or no floating-point numbers.
        """
        maps = self._checked(maps)
        power, total, square = self.power, self.total, self.square
        for chunk in _chunks(maps, self.convention.padding**2):
            found = self._powers(chunk)
            power = power + found.mean(1).double().sum(0)
            groups = self.grid.over_groups(self._quantity(found).mean(1))
            if self.convention.scaled:
                groups = self._scaled(groups)
            total = total + groups.sum(1)
            square = square.addmm(groups, groups.T)
        more = {"power": power, "total": total, "square": square}
        return replace(self, images=self.images + len(maps), channels=maps.shape[1], **more)

    def merge(self, other: "SpectrumMoments") -> "SpectrumMoments":
        """These and those of other images, as another process has them.

        Raises:
            InputError: another convention, another size, or another number of channels.
        """
        if (self.convention, self.shape) != (other.convention, other.shape) or (
            self.images and other.images and self.channels != other.channels
        ):
            raise InputError("spectra are added to others of the same convention, size and number of channels alone")
        sums = {name: getattr(self, name) + getattr(other, name) for name in ("images", "power", "total", "square")}
        return replace(self, channels=max(self.channels, other.channels), **sums)

    def finite(self) -> "SpectrumMoments":
        """These, once they are seen to be of images, and finite.

        Raises:
            InputError: no images, or values among them that are not finite.
        """
        if not self.images:
            raise InputError("there is no spectrum of no images: add maps first")
        if not bool(self.power.isfinite().all() & self.total.isfinite().all()):
            raise InputError("the maps have values that are not finite (NaN or infinite): they have no spectrum")
        return self

    def _checked(self, maps: Tensor) -> Tensor:
        if maps.ndim != 4:
            vector = ": a vector an image has no spectrum" if maps.ndim == 2 else ""
            raise InputError(
                f"maps have shape {tuple(maps.shape)}{vector}; (images, channels, height, width) was expected"
            )
        if tuple(maps.shape[2:]) != self.shape or (self.channels and maps.shape[1] != self.channels):
            height, width = self.shape
            raise InputError(
                f"maps have shape {tuple(maps.shape)}, and those so far {self.channels or 'any'} channels of"
                f" {height}x{width} pixels: one spectrum is of maps of one size"
            )
        return at_least_float32(maps.detach(), "maps")

    def _powers(self, maps: Tensor) -> Tensor:
        """|FFT|^2 of each map at the frequencies of the half plane: (n, channels, frequencies)."""
        convention = self.convention
        maps = _mixed(maps, convention.channels)
        if convention.demean is True:
            maps = maps - maps[..., :1, :1]  # a constant map is zero then, free of the mean's rounding
            maps -= maps.mean((-2, -1), keepdim=True)
        elif convention.demean is not False:
            maps = maps - convention.demean
        maps = maps * (self.taper / convention.scale).to(maps.dtype)
        found = torch.fft.rfft2(maps, s=self.grid.shape)
        return found.real.square().add_(found.imag.square()).flatten(2)

    def _quantity(self, power: Tensor) -> Tensor:
        if self.convention.quantity == "power":
            return power
        if self.convention.quantity == "amplitude":
            return power.sqrt()
        # What is below a map's own rounding is taken for that; a constant map, whose transform is 0, for the least.
        floor = power.amax(-1, keepdim=True).double() * torch.finfo(power.dtype).eps ** 2
        return power.double().maximum(floor.clamp_min(torch.finfo(torch.float32).tiny)).log()

    def _scaled(self, groups: Tensor) -> Tensor:
        """Groups' sums with each image's mean over rings between 0 and 1; 0 where they are all one."""
        means = self.grid.over_rings(groups) / self.grid.over_rings(self.grid.count)[:, None]
        low, high = means.amin(0), means.amax(0)
        span = torch.where(high > low, high - low, 1.0)
        return (groups - low * self.grid.count[:, None]) / span


def _window(kind: str, size: int) -> Tensor:
    """One side of a window, with squares that sum to 1."""
    made = {
        "none": lambda: torch.ones(size, dtype=torch.float64),
        "hann": lambda: torch.hann_window(size, periodic=True, dtype=torch.float64),
        "kaiser": lambda: torch.kaiser_window(size, periodic=False, beta=KAISER_BETA, dtype=torch.float64),
    }[kind]()
    return made / made.square().sum().sqrt()


def _mixed(maps: Tensor, channels: str | tuple[float, ...]) -> Tensor:
    """Maps of which a spectrum is taken: all channels, or one map of all."""
    if channels == "mean" or (channels == "grey" and maps.shape[1] == 1):
        return maps
    weights, which = (GREY, "grey") if channels == "grey" else (channels, "the convention")
    if len(weights) != maps.shape[1]:
        raise InputError(
            f"maps have {maps.shape[1]} channels, and {which} has weights"
            f" for {len(weights)}: channels='mean' takes any number"
        )
    return torch.stack([weight * one for weight, one in zip(weights, maps.unbind(1), strict=True)]).sum(0)[:, None]


def _chunks(maps: Tensor, factor: int) -> Iterator[Tensor]:
    each = max(1, _VALUES // max(1, maps[:1].numel() * factor))
    return (maps[start : start + each] for start in range(0, len(maps), each))
