"""The features of a PixelCNN++ pixel by pixel: each is computed once, when it can be.

The stream that sees the rows above a pixel is computed a row at a time, before the row's first pixel. The other one is
computed at each pixel, from a cache of the row above and of the pixel to the left; what the row above adds to its
convolutions is worked out for the whole row at once. Features of half and a quarter of the resolution are due at every
second and fourth pixel of every second and fourth row. All is laid out with channels last, so that a window's row is a
stretch of memory and each convolution at a pixel one matrix product.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from analysis.pixelcnn import LEVELS, GatedLayer, PixelCNN
from analysis.weight_norm import WeightNormConv

Choose = Callable[[int, int, Tensor], Tensor]
"""By row, column and (batch, outputs): the pixels there, (batch, channels) in [0, 1]."""


class Incremental:
    """The caches of a PixelCNN++ for a batch of images, and what fills them.

    Args:
        model: its weights are taken as they are now.
        context: as the model takes it.
        batch: how many images.
    """

    def __init__(self, model: PixelCNN, context: Tensor | None, batch: int):
        channels, self.height, self.width = model.image_shape
        weight = model.final.direction
        self.batch = batch
        new = weight.new_zeros
        self.contexts = [
            None if maps is None else maps.to(weight.dtype).permute(0, 2, 3, 1)
            for maps in model.contexts_of(context, batch)
        ]
        widths = [self.width >> level for level in range(LEVELS)]
        self.images = new(batch, channels, self.height, self.width)
        # The two rows above, in [-1, 1] and with their channel of ones; zeros, also of that, where there is none.
        self.above = new(batch, channels + 1, 2, self.width)
        self.start_down, self.start_above = model.start_down, model.start_above
        self.start_left = _rows(model.start_left)
        self.up_down = [
            [_Down(one, wide, batch) for one in block] for block, wide in zip(model.up_down, widths, strict=True)
        ]
        self.back_down = [
            [_Down(one, wide, batch) for one in block] for block, wide in zip(model.back_down, widths, strict=True)
        ]
        self.up_right = [
            [_Right(one, wide, batch) for one in block] for block, wide in zip(model.up_right, widths, strict=True)
        ]
        self.back_right = [
            [_Right(one, wide, batch) for one in block] for block, wide in zip(model.back_right, widths, strict=True)
        ]
        self.shrink_down = [_ShrinkDown(one, wide, batch) for one, wide in zip(model.shrink_down, widths, strict=False)]
        self.shrink_right = [
            _ShrinkRight(one, wide, batch) for one, wide in zip(model.shrink_right, widths, strict=False)
        ]
        self.grow_down = list(model.grow_down)
        self.grow_right = [_GrowRight(one, wide, batch) for one, wide in zip(model.grow_right, widths, strict=False)]
        # Rows of the first stream that come down from half the resolution, two at a time.
        self.grown = [new(batch, 2, wide, model.filters) for wide in widths[:-1]]
        self.final = model.final.weight[:, :, 0, 0].t().contiguous()
        self.final_bias = model.final.bias

    def run(self, choose: Choose) -> Float[Tensor, "batch channels height width"]:
        """All pixels in reading order, as they are chosen."""
        for row in range(self.height):
            self._begin(row)
            pixel = None
            for column in range(self.width):
                pixel = choose(row, column, self._outputs(row, column, pixel))
                self.images[:, :, row, column] = pixel
            self.above[:, :, 0] = self.above[:, :, 1]
            self.above[:, :-1, 1] = 2 * self.images[:, :, row] - 1
            self.above[:, -1, 1] = 1.0
        return self.images

    def _due(self, position: int) -> int:
        """How many resolutions have a feature at this row or column."""
        return 1 + sum(position % 2**level == 0 for level in range(1, LEVELS))

    def _context(self, level: int, row: int) -> Tensor | None:
        """That of a row, (batch, width or 1, K)."""
        maps = self.contexts[level]
        return None if maps is None else maps[:, row >> level if maps.shape[1] > 1 else 0]

    def _begin(self, row: int) -> None:
        """All of a row that does not depend on its own pixels."""
        if row:
            down = self.start_down(self.above)[:, :, 1].permute(0, 2, 1)
            start = self.start_above(self.above[:, :, 1:])[:, :, 0].permute(0, 2, 1)
        else:
            down = start = self.images.new_zeros(self.batch, self.width, len(self.start_down.bias))
        weights, bias = self.start_left
        left = torch.zeros_like(start)
        pixels = self.above[:, :, 1, :-1].permute(0, 2, 1)
        # The pixel to the left is added when it is there, but for its channel of ones.
        left[:, 1:] = pixels @ weights[0] + bias + weights[1][-1]
        self.start, self.start_here = start + left, weights[1][:-1]
        due = self._due(row)
        kept: list[list[Tensor]] = []
        for level in range(due):
            if level:
                down = self.shrink_down[level - 1].row(down)
                self.shrink_right[level - 1].begin()
            context = self._context(level, row)
            active = _concat_elu(down)
            kept.append([active])
            for first, second in zip(self.up_down[level], self.up_right[level], strict=True):
                down = first.row(down, active, None, context)
                active = _concat_elu(down)
                second.begin(active, context)
                kept[-1].append(active)
            if level == due - 1 and due < LEVELS:
                self.shrink_down[level].remember(down)
        if due == LEVELS:
            kept[-1].pop()
        else:
            down = self.grown[due - 1][:, (row >> due - 1) % 2]
            active = _concat_elu(down)
        for level in reversed(range(due)):
            context = self._context(level, row)
            for first, second in zip(self.back_down[level], self.back_right[level], strict=True):
                down = first.row(down, active, kept[level].pop(), context)
                active = _concat_elu(down)
                second.begin(active, context)
            if level:
                found = self.grow_down[level - 1](down.permute(0, 2, 1)[:, :, None])
                self.grown[level - 1].copy_(found.permute(0, 2, 3, 1))
                down = self.grown[level - 1][:, (row >> level - 1) % 2]
                active = _concat_elu(down)

    def _outputs(self, row: int, column: int, left: Tensor | None) -> Tensor:
        """Parameters of a pixel's distribution, (batch, outputs), given the one to its left."""
        x = self.start[:, column]
        if left is not None:
            x = torch.addmm(x, 2 * left - 1, self.start_here)
        due = min(self._due(row), self._due(column))
        kept: list[list[Tensor]] = []
        for level in range(due):
            at = column >> level
            if level:
                x = self.shrink_right[level - 1].at(at)
            kept.append([])
            for layer in self.up_right[level]:
                x, active = layer.at(at, x, None)
                kept[-1].append(active)
            if level < LEVELS - 1:
                self.shrink_right[level].remember(at, x)
                kept[-1].append(_concat_elu(x))
        for level in reversed(range(due)):
            at = column >> level
            if level < LEVELS - 1:
                x = self.grow_right[level].at((row >> level) % 2, at)
            for layer in self.back_right[level]:
                x, _ = layer.at(at, x, kept[level].pop())
            if level:
                self.grow_right[level - 1].put(at, x)
        return torch.addmm(self.final_bias, F.elu(x), self.final)


def _concat_elu(x: Tensor) -> Tensor:
    return F.elu(torch.cat([x, -x], -1))


def _rows(layer: WeightNormConv) -> tuple[list[Tensor], Tensor]:
    """The rows of a convolution's window as matrices of (columns x inputs, outputs), and its bias."""
    weight = layer.weight
    return [weight[:, :, row].permute(2, 1, 0).flatten(0, 1).contiguous() for row in range(weight.shape[2])], layer.bias


def _windows(row: Tensor, size: int, step: int = 1) -> Tensor:
    """Windows of neighbouring columns of a (batch, columns, channels) row, each flattened."""
    batch, columns, channels = row.shape
    shape = batch, (columns - size) // step + 1, size * channels
    return row.as_strided(shape, (row.stride(0), step * channels, 1), row.storage_offset())


class _Down:
    """A gated layer of the stream that is computed in rows."""

    def __init__(self, layer: GatedLayer, width: int, batch: int):
        new, filters = layer.first.direction.new_zeros, layer.first.direction.shape[0]
        rows, bias = _rows(layer.first)
        self.first, self.first_bias = torch.cat(rows), bias
        rows, self.second_bias = _rows(layer.second)
        self.second = torch.cat(rows)
        self.beside = None
        if layer.beside is not None:
            self.beside = layer.beside.weight[:, :, 0, 0].t()
            self.first_bias = bias + layer.beside.bias
        self.context = None if layer.context is None else layer.context.weight[:, :, 0, 0].t()
        # The row above and this one, each with a column of zeros on both sides.
        self.inner = [new(batch, width + 2, 2 * filters) for _ in range(4)]

    def row(self, x: Tensor, active: Tensor, skip: Tensor | None, context: Tensor | None) -> Tensor:
        above, here, above_second, second = self.inner
        here[:, 1:-1] = active
        found = torch.cat([_windows(above, 3), _windows(here, 3)], -1) @ self.first + self.first_bias
        if skip is not None:
            found = found + skip @ self.beside
        second[:, 1:-1] = _concat_elu(found)
        found = torch.cat([_windows(above_second, 3), _windows(second, 3)], -1) @ self.second + self.second_bias
        if self.context is not None:
            found = found + context @ self.context
        above.copy_(here)
        above_second.copy_(second)
        return x + F.glu(found, -1)


class _Right:
    """A gated layer of the stream that is computed pixel by pixel."""

    def __init__(self, layer: GatedLayer, width: int, batch: int):
        new, filters = layer.first.direction.new_zeros, layer.first.direction.shape[0]
        (self.first_above, self.first), bias = _rows(layer.first)
        (self.second_above, self.second), self.second_bias = _rows(layer.second)
        beside = layer.beside.weight[:, :, 0, 0].t()
        self.beside, self.skip = beside[: 2 * filters], beside[2 * filters :].contiguous()
        self.first_bias = bias + layer.beside.bias
        self.context = None if layer.context is None else layer.context.weight[:, :, 0, 0].t()
        # The row above up to the pixel that is due, and this one before it; a column of zeros on the left.
        self.row1, self.row2 = new(batch, width + 1, 2 * filters), new(batch, width + 1, 2 * filters)
        self.filters = filters

    def begin(self, down: Tensor, context: Tensor | None) -> None:
        self.base1 = _windows(self.row1, 2) @ self.first_above + self.first_bias + down @ self.beside
        self.base2 = _windows(self.row2, 2) @ self.second_above + self.second_bias
        if self.context is not None:
            self.base2 = self.base2 + context @ self.context

    def at(self, column: int, x: Tensor, skip: Tensor | None) -> tuple[Tensor, Tensor]:
        """The output, and concat_elu of the input."""
        active = self._activate(self.row1, column, x)
        found = torch.addmm(self.base1[:, column], self._pair(self.row1, column), self.first)
        if skip is not None:
            found = torch.addmm(found, skip, self.skip)
        self._activate(self.row2, column, found)
        found = torch.addmm(self.base2[:, column], self._pair(self.row2, column), self.second)
        return x + F.glu(found, 1), active

    def _activate(self, row: Tensor, column: int, x: Tensor) -> Tensor:
        active = row[:, column + 1]
        active[:, : self.filters] = x
        torch.neg(x, out=active[:, self.filters :])
        return F.elu_(active)

    def _pair(self, row: Tensor, column: int) -> Tensor:
        """The columns to the left and due, flattened."""
        batch, _, channels = row.shape
        return row.as_strided((batch, 2 * channels), (row.stride(0), 1), column * channels)


class _ShrinkDown:
    """Halves the rows of the first stream."""

    def __init__(self, layer: WeightNormConv, width: int, batch: int):
        rows, self.bias = _rows(layer)
        self.weight = torch.cat(rows)
        self.above = layer.direction.new_zeros(batch, width + 2, layer.direction.shape[1])

    def remember(self, x: Tensor) -> None:
        self.above[:, 1:-1] = x

    def row(self, x: Tensor) -> Tensor:
        both = torch.cat([_windows(self.above, 3, 2), _windows(F.pad(x, (0, 0, 1, 1)), 3, 2)], -1)
        return both @ self.weight + self.bias


class _ShrinkRight:
    """Halves the other stream, at every second pixel of every second row."""

    def __init__(self, layer: WeightNormConv, width: int, batch: int):
        (self.weight_above, self.weight), self.bias = _rows(layer)
        self.row = layer.direction.new_zeros(batch, width + 1, layer.direction.shape[1])

    def begin(self) -> None:
        self.base = _windows(self.row, 2, 2) @ self.weight_above + self.bias

    def remember(self, column: int, x: Tensor) -> None:
        self.row[:, column + 1] = x

    def at(self, column: int) -> Tensor:
        batch, _, channels = self.row.shape
        pair = self.row.as_strided((batch, 2 * channels), (self.row.stride(0), 1), 2 * column * channels)
        return torch.addmm(self.base[:, column], pair, self.weight)


class _GrowRight:
    """Doubles the other stream: four pixels from one."""

    def __init__(self, layer: WeightNormConv, width: int, batch: int):
        weight = layer.weight  # (inputs, outputs, 2, 2)
        self.weight = weight.permute(0, 2, 3, 1).flatten(1).contiguous()
        self.bias = layer.bias.repeat(4)
        self.rows = weight.new_zeros(batch, 2, width, weight.shape[1])

    def put(self, column: int, x: Tensor) -> None:
        found = torch.addmm(self.bias, x, self.weight)
        self.rows[:, :, 2 * column : 2 * column + 2] = found.view(len(x), 2, 2, -1)

    def at(self, row: int, column: int) -> Tensor:
        return self.rows[:, row, column]
