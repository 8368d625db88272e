"""How much of its input a representation keeps when its units are binned: the entropy of the bins, in nats.

Appendix B of Nash, Kushman and Williams (Inverting supervised representations with autoregressive neural density
models, 2019), equation 12, after Shwartz-Ziv and Tishby (Opening the black box of deep neural networks via information,
2017). Binned activations b(h(x)) are a function of x, so that I(x; b) = H(b): with p(x) = 1/N, the entropy of the cells
(one bin a unit) that N images fall into.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.inversion.rows import require_positive, rows_of
from priors.errors import InputError, unknown

BINS = 30
"""A unit, as Shwartz-Ziv and Tishby have for tanh, between -1 and 1."""

_VALUES = 2**22
"""Activations that are binned at once."""


@dataclass(frozen=True)
class Binned:
    """I(x; b) for x one of N images at random.

    Attributes:
        images: N.
        units: of h.
        how: the bins, in words.
        mutual_information: nats; on average over draws of the images at most I(x; h) of all images there are.
        cells: that hold an image.
        alone: images with a cell of their own.
        outside: values beyond the ends given, counted into the first and last bin.
        occupied: (units,) bins of each unit that hold an image; 1 where the bins tell no values apart.
    """

    images: int
    units: int
    how: str
    mutual_information: float
    cells: int
    alone: int
    outside: int
    occupied: Int[Tensor, " units"]

    caveat: ClassVar[str] = (
        "never above log N, and log N once every image has a cell of its own, as many units soon give it; depends on"
        " the bins, most where activations have no upper end, and the network does not work with binned values"
    )

    @property
    def ceiling(self) -> float:
        """log N, in nats."""
        return math.log(self.images)

    @property
    def saturated(self) -> bool:
        """Whether every image has a cell of its own, so that the value is log N whatever else the network does."""
        return self.alone == self.images


def binned(
    activations: Float[Tensor, "images *features"],
    bins: int = BINS,
    *,
    span: Literal["layer", "unit"] | tuple[float, float] = "layer",
) -> Binned:
    """Bin each unit's values into so many bins of equal width. A bin has its lower end; the last has both.

    Activations without an upper end, as ReLU's, have another largest one in every sample and network. Values found with
    bins "layer" or "unit" then differ by the bins too: to compare, give ends or take `binned_by_width`.

    Args:
        activations: a row an image, flattened here; computed with in float64, on their device.
        bins: how many a unit.
        span: what they divide: "layer", from the least to the largest activation of the layer; "unit", of each unit by
            itself; or two ends, such as (-1, 1) for tanh, beyond which values go into the first and last bin.

    Raises:
        InputError: fewer than two images, no units, values that are not finite, no bins, or ends that are none.

    Example:
        >>> found = binned(torch.tensor([[0.0, 0.1], [0.0, 0.2], [1.0, 0.9], [0.9, 0.2]]), 2)
        >>> found.cells, found.alone, found.occupied.tolist(), round(found.mutual_information, 4)
        (3, 2, [2, 2], 1.0397)
    """
    if bins < 1:
        raise InputError(f"bins is {bins}: 1 or more was expected")
    if isinstance(span, str) and span not in ("layer", "unit"):
        raise unknown("span", span, ("layer", "unit"), "or give two ends")
    h = rows_of(activations)
    low, high = (ends.double() for ends in (h.amin(0), h.amax(0)))
    outside = 0
    if span == "unit":
        between = "each unit's least and largest activation"
    elif span == "layer":
        low, high = low.min().expand_as(low), high.max().expand_as(high)
        between = f"{float(low[0]):.4g} and {float(high[0]):.4g}, the layer's least and largest activation"
    else:
        first, last = (float(end) for end in span)
        if not (math.isfinite(first) and math.isfinite(last) and first < last):
            raise InputError(f"span is {span}: two finite ends were expected, the lower first")
        outside = sum(int(((values < first) | (values > last)).sum()) for _, values in _columns(h))
        low, high = torch.full_like(low, first), torch.full_like(high, last)
        between = f"{first:.4g} and {last:.4g}"
    width = torch.where(high > low, high - low, 1)  # values that are all the same go into the first bin

    def place(values: Tensor, units: slice) -> Tensor:
        return ((values - low[units]) / width[units] * bins).floor_().clamp_(0, bins - 1)

    return _binned(h, place, f"{bins} bins a unit between {between}", outside)


def binned_by_width(activations: Float[Tensor, "images *features"], width: float) -> Binned:
    """Bin each unit's values into [k width, (k + 1) width) for whole k: as many bins as they take, without ends.

    Args:
        activations: a row an image, flattened here; computed with in float64, on their device.
        width: of a bin, in units of the activation.

    Raises:
        InputError: fewer than two images, no units, values that are not finite, or a width that is not above 0.
    """
    require_positive("width", width)
    return _binned(rows_of(activations), lambda values, _: (values / width).floor_(), f"bins of width {width:g}", 0)


def _binned(h: Tensor, place: Callable[[Tensor, slice], Tensor], how: str, outside: int) -> Binned:
    """The entropy of cells, which some units at a time tell apart; `place` gives the bins of values of those units."""
    images, units = h.shape
    cell = torch.zeros(images, dtype=torch.long, device=h.device)
    occupied = []
    for columns, values in _columns(h):
        bins = place(values, columns)
        occupied.append(1 + (bins.sort(0).values.diff(dim=0) != 0).sum(0))
        if int(cell.max()) < images - 1:
            cell = torch.cat([cell[:, None], bins], 1).unique(dim=0, return_inverse=True)[1]
    counts = cell.bincount()
    return Binned(
        images=images,
        units=units,
        how=how,
        mutual_information=math.log(images) - float(counts.double().xlogy(counts).sum()) / images,
        cells=len(counts),
        alone=int((counts == 1).sum()),
        outside=outside,
        occupied=torch.cat(occupied),
    )


def _columns(h: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Some units at a time, and their values in float64."""
    step = max(1, _VALUES // len(h))
    for start in range(0, h.shape[1], step):
        columns = slice(start, start + step)
        yield columns, h[:, columns].double()
