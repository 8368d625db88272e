"""The features of a PixelCNN++ pixel by pixel: each is computed once, when it can be.

The stream that sees the rows above a pixel is computed a row at a time, before the row's first pixel. The other one is
computed at each pixel, from a cache of the row above and of the pixel to the left; what the row above adds to its
convolutions is worked out for the whole row at once. Features of half and a quarter of the resolution are due at every
second and fourth pixel of every second and fourth row. All is laid out with channels last, so that a window's row is a
stretch of memory and each convolution at a pixel one matrix product.

What a row takes from another, or from outside, lies in tensors that are allocated once; the rest is its own. So what
`compute` does for a row can be recorded, and repeated for all rows of its kind and for other images.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from analysis.densities.streams import LEVELS, GatedLayer, Streams
from analysis.densities.weight_norm import WeightNormConv
from priors.checks.floats import require_digits

Choose = Callable[[int, int, Tensor], Tensor]
"""By row, column and (batch, outputs): the pixels there, (batch, channels) in [0, 1]."""
New = Callable[..., Tensor]
"""By a shape: zeros of it for each image, which stay where they are and are zeros again for other images."""
_PERIOD = 2 ** (LEVELS - 1)
"""Rows after which the features that are due are the same again."""


def kind(row: int) -> int:
    """The first row in which all is done that is done in this one: 0, or 1 ... 4."""
    return (row - 1) % _PERIOD + 1 if row else 0


class Incremental:
    """The caches of a PixelCNN++ for a batch of images, and what fills them.

    Args:
        model: its weights are taken as they are now.
        context: as the model takes it.
        batch: how many images.

    Raises:
        InputError: weights of half precision, or a context that is not the model's.
    """

    def __init__(self, model: Streams, context: Tensor | None, batch: int):
        require_digits(model, "this density")
        channels, self.height, self.width = model.image_shape
        weight = model.final.direction
        self.batch, self.contexts_of = batch, model.contexts_of
        self.final, self.final_bias = model.final.weight[:, :, 0, 0].t().contiguous(), model.final.bias
        caches: list[Tensor] = []

        def new(*shape: int) -> Tensor:
            caches.append(weight.new_zeros(batch, *shape))
            return caches[-1]

        self.caches = caches
        # Contexts by level, (batch, height or 1, width or 1, K), and of the row that is due.
        self.contexts = [None if maps is None else maps.clone() for maps in self._maps(context)]
        self.context_rows = [
            None if maps is None else maps[:, 0] if maps.shape[1] == 1 else maps[:, 0].clone() for maps in self.contexts
        ]
        widths = [self.width >> level for level in range(LEVELS)]
        self.images = new(channels, self.height, self.width)
        self.pixels = new(channels, self.width)
        # The two rows above, in [-1, 1] and with their channel of ones; zeros, also of that, where there is none.
        self.above = new(channels + 1, 2, self.width)
        self.start_down, self.start_above = model.start_down, model.start_above
        self.start_left = _rows(model.start_left)
        self.up_down = [
            [_Down(one, wide, new) for one in block] for block, wide in zip(model.up_down, widths, strict=True)
        ]
        self.back_down = [
            [_Down(one, wide, new) for one in block] for block, wide in zip(model.back_down, widths, strict=True)
        ]
        self.up_right = [
            [_Right(one, wide, new) for one in block] for block, wide in zip(model.up_right, widths, strict=True)
        ]
        self.back_right = [
            [_Right(one, wide, new) for one in block] for block, wide in zip(model.back_right, widths, strict=True)
        ]
        self.shrink_down = [_ShrinkDown(one, wide, new) for one, wide in zip(model.shrink_down, widths, strict=False)]
        self.shrink_right = [
            _ShrinkRight(one, wide, new) for one, wide in zip(model.shrink_right, widths, strict=False)
        ]
        self.grow_down = list(model.grow_down)
        self.grow_right = [_GrowRight(one, wide, new) for one, wide in zip(model.grow_right, widths, strict=False)]
        # Rows of the first stream that come down from half the resolution, two at a time.
        self.grown = [new(2, wide, model.filters) for wide in widths[:-1]]

    def bytes(self) -> int:
        """What the caches and the contexts take."""
        maps = (maps for maps in self.contexts if maps is not None)
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.caches, *maps))

    def reset(self, context: Tensor | None) -> None:
        """Begin other images, given another context of the same shape."""
        for cache in self.caches:
            cache.zero_()
        for maps, other in zip(self.contexts, self._maps(context), strict=True):
            if maps is not None:
                maps.copy_(other)

    def run(self, choose: Choose) -> Float[Tensor, "batch channels height width"]:
        """All pixels in reading order, as they are chosen."""
        for row in range(self.height):
            self.enter(row)
            self.compute(row, partial(choose, row))
            self.leave(row)
        return self.images

    def enter(self, row: int) -> None:
        """Bring up what a row takes from outside."""
        for level in range(self._due(row)):
            maps = self.contexts[level]
            if maps is not None and maps.shape[1] > 1:
                self.context_rows[level].copy_(maps[:, row >> level])

    def compute(self, row: int, choose: Callable[[int, Tensor], Tensor]) -> None:
        """The pixels of the row that was entered, as they are chosen by column and (batch, outputs).

        The same is done for all rows of one `kind`, to the same tensors but for those that live within the row.
        """
        self._begin(row)
        pixel = None
        for column in range(self.width):
            pixel = choose(column, self._outputs(row, column, pixel))
            self.pixels[:, :, column] = pixel
        self.above[:, :, 0] = self.above[:, :, 1]
        self.above[:, :-1, 1] = 2 * self.pixels - 1
        self.above[:, -1, 1].fill_(1.0)

    def leave(self, row: int) -> None:
        """Put the pixels into the images."""
        self.images[:, :, row] = self.pixels

    def _maps(self, context: Tensor | None) -> list[Tensor | None]:
        """A context by level, with channels last."""
        return [
            None if maps is None else maps.to(self.final.dtype).permute(0, 2, 3, 1)
            for maps in self.contexts_of(context, self.batch)
        ]

    def _due(self, position: int) -> int:
        """How many resolutions have a feature at this row or column."""
        return 1 + sum(position % 2**level == 0 for level in range(1, LEVELS))

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
            context = self.context_rows[level]
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
            context = self.context_rows[level]
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

    def __init__(self, layer: GatedLayer, width: int, new: New):
        filters = layer.first.direction.shape[0]
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
        self.inner = [new(width + 2, 2 * filters) for _ in range(4)]

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

    def __init__(self, layer: GatedLayer, width: int, new: New):
        filters = layer.first.direction.shape[0]
        (self.first_above, self.first), bias = _rows(layer.first)
        (self.second_above, self.second), self.second_bias = _rows(layer.second)
        beside = layer.beside.weight[:, :, 0, 0].t()
        self.beside, self.skip = beside[: 2 * filters], beside[2 * filters :].contiguous()
        self.first_bias = bias + layer.beside.bias
        self.context = None if layer.context is None else layer.context.weight[:, :, 0, 0].t()
        # The row above up to the pixel that is due, and this one before it; a column of zeros on the left.
        self.row1, self.row2 = new(width + 1, 2 * filters), new(width + 1, 2 * filters)
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

    def __init__(self, layer: WeightNormConv, width: int, new: New):
        rows, self.bias = _rows(layer)
        self.weight = torch.cat(rows)
        self.above = new(width + 2, layer.direction.shape[1])

    def remember(self, x: Tensor) -> None:
        self.above[:, 1:-1] = x

    def row(self, x: Tensor) -> Tensor:
        both = torch.cat([_windows(self.above, 3, 2), _windows(F.pad(x, (0, 0, 1, 1)), 3, 2)], -1)
        return both @ self.weight + self.bias


class _ShrinkRight:
    """Halves the other stream, at every second pixel of every second row."""

    def __init__(self, layer: WeightNormConv, width: int, new: New):
        (self.weight_above, self.weight), self.bias = _rows(layer)
        self.row = new(width + 1, layer.direction.shape[1])

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

    def __init__(self, layer: WeightNormConv, width: int, new: New):
        weight = layer.weight  # (inputs, outputs, 2, 2)
        self.weight = weight.permute(0, 2, 3, 1).flatten(1).contiguous()
        self.bias = layer.bias.repeat(4)
        self.rows = new(2, width, weight.shape[1])

    def put(self, column: int, x: Tensor) -> None:
        found = torch.addmm(self.bias, x, self.weight)
        self.rows[:, :, 2 * column : 2 * column + 2] = found.view(len(x), 2, 2, -1)

    def at(self, row: int, column: int) -> Tensor:
        return self.rows[:, row, column]
