"""The layers of a PixelCNN++ as they are computed row by row, or pixel by pixel, from what was computed before.

Rows are (columns, batch, channels): whatever is a stretch of columns is a matrix of (columns x batch, channels), so
that a convolution along a row is one matrix product for each column of its window, added up in place; and what belongs
to a pixel is a matrix of (batch, channels). A pixel takes many small operations, for which a view costs as much as the
operation itself: so all tensors that a pixel's operations read and write are allocated once, and their views made once.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from analysis.densities.streams import GatedLayer
from analysis.densities.weight_norm import WeightNormConv

New = Callable[..., Tensor]
"""By a shape: zeros which stay where they are, and are zeros again for other images."""
_MANY = 2**14
"""Numbers from which arithmetic takes longer than it takes to begin it."""


def taps(layer: WeightNormConv) -> list[list[Tensor]]:
    """Matrices (inputs, outputs) of a convolution's window, by row and column."""
    weight = layer.weight
    return [
        [weight[:, :, row, column].t().contiguous() for column in range(weight.shape[3])]
        for row in range(weight.shape[2])
    ]


def flat(row: Tensor) -> Tensor:
    """(columns, batch, channels) as (columns x batch, channels)."""
    return row.reshape(-1, row.shape[-1])


def add_products(into: Tensor, *pairs: tuple[Tensor, Tensor]) -> Tensor:
    """A sum and matrix products, in the memory of the first product; the sum may be a bias."""
    (rows, weight), *others = pairs
    found = torch.addmm(into, rows, weight)
    for rows, weight in others:
        found.addmm_(rows, weight)
    return found


def concat_elu(x: Tensor, out: Tensor | None = None) -> Tensor:
    """elu([x, -x]) along the last axis and without gradients; `analysis.densities.streams` has it along the second.

    (..., channels) to (..., 2 channels), in memory that is there or new one.
    """
    if out is None:
        out = x.new_empty(*x.shape[:-1], 2 * x.shape[-1])
    if x.numel() < _MANY or x.device.type != "cpu":  # a GPU takes as long to begin as to compute
        torch.cat([x, -x], -1, out=out)
        return F.elu_(out)
    # Both halves are the larger of themselves and exp(-|x|) - 1: half as many exponentials as elu takes.
    below = x.abs().neg_().exp_().sub_(1)
    halves = out.unflatten(-1, (2, -1))
    halves[..., 0, :].copy_(x)
    torch.neg(x, out=halves[..., 1, :])
    return torch.maximum(halves, below.unsqueeze(-2), out=halves).flatten(-2)


def _added_gate(x: Tensor, found: Tensor) -> Tensor:
    """x + a sigmoid(b), for found = [a, b], which is used up."""
    value, gate = found.chunk(2, -1)
    return torch.addcmul(x, value, gate.sigmoid_())


class Down:
    """A gated layer of the stream that is computed in rows.

    Attributes:
        active: (columns, batch, 2 filters), where concat_elu of the input has to be.
    """

    def __init__(self, layer: GatedLayer, width: int, batch: int, new: New):
        channels = layer.first.direction.shape[1]
        self.first_bias, self.second_bias = layer.first.bias, layer.second.bias
        self.beside = None
        if layer.beside is not None:
            self.beside = layer.beside.weight[:, :, 0, 0].t()
            self.first_bias = self.first_bias + layer.beside.bias
        self.context = None if layer.context is None else layer.context.weight[:, :, 0, 0].t()
        # The row above and this one, each with a column of zeros on both sides.
        self.first_rows, self.second_rows = ([new(width + 2, batch, channels) for _ in range(2)] for _ in range(2))
        self.active, self.active2 = self.first_rows[1][1:-1], self.second_rows[1][1:-1]
        self.first, self.second = (
            [
                (flat(buffer[column : column + width]), weight)
                for buffer, own in zip(rows, taps(convolution), strict=True)
                for column, weight in enumerate(own)
            ]
            for rows, convolution in ((self.first_rows, layer.first), (self.second_rows, layer.second))
        )

    def row(self, x: Tensor, skip: Tensor | None, context: Tensor | None) -> Tensor:
        """A row of the output, when concat_elu of x stands in `active`."""
        found = add_products(self.first_bias, *self.first)
        if skip is not None:
            found.addmm_(flat(skip), self.beside)
        concat_elu(found.view(*x.shape), self.active2)
        found = add_products(self.second_bias, *self.second).view(*x.shape[:2], -1)
        if self.context is not None:
            found.add_(context @ self.context)
        for above, here in (self.first_rows, self.second_rows):
            above.copy_(here)
        return _added_gate(x, found)


class Right:
    """A gated layer of the stream that is computed pixel by pixel.

    Of each pixel's activations both products are taken at once: with the weights of its own column, which its output
    takes, and with those of the column to the left, which the next pixel's takes. What rows above and contexts add
    is there by then.

    Attributes:
        out: (batch, 1, filters), the output at the pixel that was computed last.
    """

    def __init__(self, layer: GatedLayer, width: int, batch: int, new: New):
        filters = layer.first.direction.shape[0]
        first, second = taps(layer.first), taps(layer.second)
        beside = layer.beside.weight[:, :, 0, 0].t()
        self.beside, self.skip = beside[: 2 * filters], beside[2 * filters :].contiguous()
        self.context = None if layer.context is None else layer.context.weight[:, :, 0, 0].t()
        self.signs = layer.first.direction.new_tensor([[1.0], [-1.0]])
        # Activations of the row above up to the pixel that is due, and of this one before it; a column of zeros first.
        self.row1, self.row2 = (new(width + 1, batch, 2 * filters) for _ in range(2))
        # What is added to the two convolutions. The last column stands for the pixel after the row; nobody reads it.
        self.base1, self.base2 = new(batch, width + 1, filters), new(batch, width + 1, 2 * filters)
        self.out = new(batch, 1, filters)
        self.active = list(self.row1[1:])
        self.active2 = list(self.row2[1:])
        self.halves, self.halves2 = (
            [one.unflatten(1, (2, filters)) for one in active] for active in (self.active, self.active2)
        )
        columns = range(width)
        self.found = [self.base1[:, column] for column in columns]
        self.found_wide = [one.unsqueeze(1) for one in self.found]
        self.value, self.gate = zip(*((self.base2[:, c : c + 1]).chunk(2, 2) for c in columns), strict=True)
        # By convolution: what is added to, and the row above beside its weights.
        self.bases = [
            (
                base[:, :-1].transpose(0, 1),
                bias,
                [(flat(row[:-1]), weights[0]), (flat(row[1:]), weights[1])],
            )
            for base, bias, row, weights in (
                (self.base1, layer.first.bias + layer.beside.bias, self.row1, first[0]),
                (self.base2, layer.second.bias, self.row2, second[0]),
            )
        ]
        self.first_at = _products(self.base1, self.active, torch.cat(first[1][::-1], 1))
        self.second_at = _products(self.base2, self.active2, torch.cat(second[1][::-1], 1))
        self.alone = batch == 1 and self.out.device.type == "cpu"
        if self.alone:
            self.skip = self.skip.t().contiguous()

    def begin(self, down: Tensor, context: Tensor | None) -> None:
        """What the row above and the other stream's activations add to the row that is due."""
        (base1, bias1, above1), (base2, bias2, above2) = self.bases
        base1.copy_(add_products(bias1, *above1, (flat(down), self.beside)).view(base1.shape))
        found = add_products(bias2, *above2).view(base2.shape)
        if self.context is not None:
            found.add_(context @ self.context)
        base2.copy_(found)

    def at(self, column: int, x: Tensor, skip: Tensor | None) -> Tensor:
        """The output (batch, 1, filters), given the input likewise; `active[column]` is concat_elu of that."""
        torch.mul(x, self.signs, out=self.halves[column])
        F.elu_(self.active[column])
        self.first_at[column]()
        if skip is not None:
            self._add_skip(column, skip)
        torch.mul(self.found_wide[column], self.signs, out=self.halves2[column])
        F.elu_(self.active2[column])
        self.second_at[column]()
        return torch.addcmul(x, self.value[column], self.gate[column].sigmoid_(), out=self.out)

    def _add_skip(self, column: int, skip: Tensor) -> None:
        if self.alone:
            self.found[column][0].addmv_(self.skip, skip[0])
        else:
            self.found[column].addmm_(skip, self.skip)


def _products(base: Tensor, active: list[Tensor], weight: Tensor) -> list[Callable[[], Tensor]]:
    """By column: adds the product of its activations to two neighbouring columns."""
    (batch, _, channels), outputs = base.shape, weight.shape[1]
    # The first half of the outputs belongs to the column itself, the second to the one after it.
    into = [base.as_strided((batch, outputs), (base.stride(0), 1), column * channels) for column in range(len(active))]
    if batch > 1 or base.device.type != "cpu":
        return [partial(one.addmm_, rows, weight) for one, rows in zip(into, active, strict=True)]
    weight = weight.t().contiguous()  # products with a vector read their rows
    return [partial(one[0].addmv_, weight, rows[0]) for one, rows in zip(into, active, strict=True)]


class ShrinkDown:
    """Halves the rows of the first stream."""

    def __init__(self, layer: WeightNormConv, width: int, batch: int, new: New):
        self.weights, self.bias, self.width = taps(layer), layer.bias, width
        self.rows = [new(width + 2, batch, layer.direction.shape[1]) for _ in range(2)]

    def remember(self, x: Tensor) -> None:
        """Keep a row for the one below it."""
        self.rows[0][1:-1] = x

    def row(self, x: Tensor) -> Tensor:
        """Of half the columns, from the row that was kept and this one."""
        self.rows[1][1:-1] = x
        pairs = [
            (flat(buffer[column : column + self.width : 2]), weight)
            for buffer, own in zip(self.rows, self.weights, strict=True)
            for column, weight in enumerate(own)
        ]
        return add_products(self.bias, *pairs).view(self.width // 2, x.shape[1], -1)


class ShrinkRight:
    """Halves the other stream, at every second pixel of every second row."""

    def __init__(self, layer: WeightNormConv, width: int, batch: int, new: New):
        (self.above, self.here), self.bias = taps(layer), layer.bias
        self.row = new(width + 1, batch, layer.direction.shape[1])
        self.slots = [one.unsqueeze(1) for one in self.row[1:]]

    def begin(self) -> None:
        """What the row above adds to the row that is due."""
        pairs = [(flat(self.row[column:-1:2]), weight) for column, weight in enumerate(self.above)]
        self.base = add_products(self.bias, *pairs).view(-1, self.row.shape[1], self.row.shape[2])

    def remember(self, column: int, x: Tensor) -> None:
        """Keep the (batch, 1, filters) of a pixel."""
        self.slots[column].copy_(x)

    def at(self, column: int) -> Tensor:
        """(batch, 1, filters)."""
        pairs = zip((self.row[2 * column], self.row[2 * column + 1]), self.here, strict=True)
        return add_products(self.base[column], *pairs).unsqueeze(1)


class GrowRight:
    """Doubles the other stream: four pixels from one."""

    def __init__(self, layer: WeightNormConv, width: int, batch: int, new: New):
        weight = layer.weight  # (inputs, outputs, 2, 2)
        self.weight = weight.permute(0, 2, 3, 1).flatten(1).contiguous()
        self.bias = layer.bias.repeat(4)
        self.rows = new(2, width, batch, weight.shape[1])
        self.slots = [[one.unsqueeze(1) for one in row] for row in self.rows]

    def put(self, column: int, x: Tensor) -> None:
        """The four pixels of one, given as (batch, 1, filters)."""
        found = torch.addmm(self.bias, x[:, 0], self.weight)
        self.rows[:, 2 * column : 2 * column + 2] = found.view(len(x), 2, 2, -1).permute(1, 2, 0, 3)

    def at(self, row: int, column: int) -> Tensor:
        """(batch, 1, filters)."""
        return self.slots[row][column]
