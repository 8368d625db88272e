"""The noise of an image has a scale of its own in each cell of a grid: which pixels and channels a cell holds."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from priors.errors import InputError, shown


@dataclass(frozen=True)
class Grid:
    """Cells that share a scale of noise. A pixel belongs to the cell that nearest-neighbour resizing would give it.

    Attributes:
        channels: of the images.
        height: of the images, in pixels.
        width: of the images, in pixels.
        rows: of cells, at most `height`.
        columns: of cells, at most `width`.
        shared: whether all channels of a pixel are in one cell.
    """

    channels: int
    height: int
    width: int
    rows: int
    columns: int
    shared: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image's cells: (1, rows, columns) if channels share theirs, else (channels, rows, columns)."""
        return 1 if self.shared else self.channels, self.rows, self.columns

    @property
    def values(self) -> int:
        """How many values an image has: channels times pixels."""
        return self.channels * self.height * self.width

    def counts(self, device: torch.device | str | None = None) -> Float64[Tensor, "c rows columns"]:
        """How many values of an image each cell holds."""
        down, across = (
            torch.bincount(_cell_of(size, cells, None), minlength=cells).double()
            for size, cells in ((self.height, self.rows), (self.width, self.columns))
        )
        each = down[:, None] * across * (self.channels if self.shared else 1)
        return each.expand(self.shape).to(device)

    def summed(self, values: Float[Tensor, "*batch channels height width"]) -> Float64[Tensor, "*batch c rows columns"]:
        """Sums over each cell, in double precision."""
        values = values.double()
        if self.shared:
            values = values.sum(-3, keepdim=True)
        if self.rows != self.height:
            values = _members(self.height, self.rows, values.device) @ values
        if self.columns != self.width:
            values = values @ _members(self.width, self.columns, values.device).T
        return values

    def spread(self, cells: Float[Tensor, "*batch c rows columns"]) -> Float[Tensor, "*batch channels height width"]:
        """What each cell holds, at each of its values."""
        if self.rows != self.height:
            cells = cells.index_select(-2, _cell_of(self.height, self.rows, cells.device))
        if self.columns != self.width:
            cells = cells.index_select(-1, _cell_of(self.width, self.columns, cells.device))
        return cells.expand(*cells.shape[:-3], self.channels, self.height, self.width)


def grid_of(image_shape: Sequence[int], grid: int | Sequence[int] | None, shared: bool) -> Grid:
    """The grid that is asked for, of images of (channels, height, width).

    Args:
        image_shape: of one image.
        grid: cells along each side, one number or (rows, columns); None: a cell a pixel.
        shared: whether channels share theirs.

    Raises:
        InputError: images that are smaller than the grid, or no such grid.
    """
    channels, height, width = image_shape
    sizes = (height, width) if grid is None else tuple(grid) if isinstance(grid, Sequence) else (grid, grid)
    if len(sizes) != 2 or not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in sizes):
        raise InputError(f"grid is {shown(grid)}: cells a side, such as 16 or (8, 16), or None for all, expected")
    if sizes[0] > height or sizes[1] > width:
        raise InputError(
            f"images of {height}x{width} pixels are smaller than the grid of {sizes[0]}x{sizes[1]} cells: give a "
            "smaller grid=, or grid=None for a cell a pixel"
        )
    return Grid(channels, height, width, *sizes, shared)


def _cell_of(size: int, cells: int, device: torch.device | None) -> Tensor:
    """The number of each pixel's cell along one side, made where it is wanted: a copy would be waited for."""
    return torch.arange(size, device=device) * cells // size


def _members(size: int, cells: int, device: torch.device) -> Float64[Tensor, "cells size"]:
    """1 where a pixel is in a cell."""
    own = _cell_of(size, cells, device)
    return (torch.arange(cells, device=device)[:, None] == own).double()
