"""The layers of a PixelCNN++ as they are computed row by row, or pixel by pixel, from what was computed before.

Rows are (columns, batch, channels): whatever is a stretch of columns is a matrix of (columns x batch, channels), so
that a convolution along a row is one matrix product for each column of its window, added up in place; and what belongs
to a pixel is a matrix of (batch, channels). A pixel takes many small operations, for which a view costs as much as the
operation itself: so all tensors that a pixel's operations read and write are allocated once, and the operations are
bound to them once. A `Step` is one such operation.
"""

from collections.abc import Callable
from functools import partial
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.densities.streams import GatedLayer
from analysis.densities.weight_norm import WeightNormConv

New = Callable[..., Tensor]
"""By a shape: zeros which stay where they are, and are zeros again for other images."""
Step = Callable[[], object]
"""An operation on tensors that stay where they are."""
_MANY = 2**14
"""Numbers from which arithmetic takes longer than it takes to begin it."""


def run(*parts: list[Step]) -> None:
    """Take all steps."""
    for steps in parts:
        for step in steps:
            step()


def taps(layer: WeightNormConv) -> Tensor:
    """Matrices (inputs, outputs) of a convolution's window, by row and column."""
    return layer.weight.permute(2, 3, 1, 0).contiguous()


def pixel(layer: WeightNormConv | nn.Conv2d) -> Tensor:
    """The matrix (inputs, outputs) of a convolution of single pixels."""
    return layer.weight[:, :, 0, 0].t()


def flat(row: Tensor) -> Tensor:
    """(columns, batch, channels) as (columns x batch, channels), in the same memory."""
    return row.view(-1, row.shape[-1])


def add_products(into: Tensor, *pairs: tuple[Tensor, Tensor]) -> Tensor:
    """A sum and matrix products, in the memory of the first product; the sum may be a bias."""
    (rows, weight), *others = pairs
    found = torch.addmm(into, rows, weight)
    for rows, weight in others:
        found.addmm_(rows, weight)
    return found


def windows(into: Tensor, row: Tensor, weights: Tensor) -> list[Step]:
    """Adds a convolution's products along a row to a row of its outputs.

    Args:
        into: (columns, batch, outputs).
        row: (1 + columns + 1, batch, inputs), the first and the last of zeros.
        weights: by column of the window, the second of which is the output's: (2 or 3, inputs, outputs).
    """
    (columns, batch, _), inputs = into.shape, row.shape[-1]
    if batch == 1:  # to copy the windows, as addmm_ does with rows that overlap, takes less than more products
        size = columns, len(weights) * inputs
        return [partial(flat(into).addmm_, row.as_strided(size, (inputs, 1)), weights.flatten(0, 1))]
    own = row[1:-1]
    # Zeros beside the row are not multiplied.
    pairs = [(into, own, weights[1]), (into[1:], own[:-1], weights[0])]
    if len(weights) == 3:
        pairs.append((into[:-1], own[1:], weights[2]))
    return [partial(flat(one).addmm_, flat(rows), weight) for one, rows, weight in pairs]


class ConcatElu:
    """elu([x, -x]) along the last axis, without gradients; `analysis.densities.streams` has it along the second.

    Args:
        like: a tensor of the type and the device of what it is taken of.
        new: where what it needs is allocated.
    """

    def __init__(self, like: Tensor, new: New):
        self.signs = like.new_tensor([[1.0], [-1.0]])
        self.device, self.new = like.device.type, new
        self.below: dict[torch.Size, Tensor] = {}

    def steps(self, x: Tensor, out: Tensor) -> list[Step]:
        """From (..., channels) to (..., 2 channels)."""
        wide, halves = x.unsqueeze(-2), out.unflatten(-1, (2, -1))
        both = partial(torch.mul, wide, self.signs, out=halves)
        if x.numel() < _MANY or self.device != "cpu":  # a GPU takes as long to begin as to compute
            return [both, partial(F.elu_, out)]
        # Both halves are the larger of themselves and exp(-|x|) - 1: half as many exponentials as elu takes, and by
        # powers of two, which take half the time.
        if wide.shape not in self.below:
            self.below[wide.shape] = self.new(*wide.shape)
        below = self.below[wide.shape]
        return [
            partial(torch.abs, wide, out=below),
            partial(below.mul_, -1 / log(2)),
            below.exp2_,
            partial(below.sub_, 1),
            both,
            partial(torch.maximum, halves, below, out=halves),
        ]


class Rows:
    """What the layers of one resolution share.

    Args:
        shape: (columns, batch, filters).
        new: where everything is allocated.
        concat_elu: the function.
        context: (columns or 1, batch, K), of the row that is due or of all rows; None without one.
        varies: whether it is another one in each row.

    Attributes:
        down: the row of the first stream as it is now, of that shape.
        found1, found2: of that shape and twice as many channels, for what is used up at once.
        given: steps to be taken when the context of all rows is another.
    """

    def __init__(
        self, shape: tuple[int, int, int], new: New, concat_elu: ConcatElu, context: Tensor | None, varies: bool
    ):
        self.shape, self.new, self.context, self.varies, self.concat_elu = shape, new, context, varies, concat_elu
        self.down, self.found1, self.found2 = new(*shape), new(*shape), new(*shape[:2], 2 * shape[2])
        self.active2, self.given = self.active(), []

    def active(self) -> Tensor:
        """A place for concat_elu of a row, between two columns of zeros."""
        width, batch, filters = self.shape
        return self.new(width + 2, batch, 2 * filters)

    def second_bias(self, layer: GatedLayer, into: Tensor) -> tuple[Tensor, list[Step]]:
        """What a layer's second convolution begins with in all rows, and what adds the rest of the context's part."""
        bias = layer.second.bias
        if layer.context is None:
            return bias, []
        context, weight = flat(self.context), pixel(layer.context)
        if self.varies:
            return bias, [partial(flat(into).addmm_, context, weight)]
        found = self.new(*self.context.shape[:2], len(bias))
        self.given.append(partial(torch.addmm, bias, context, weight, out=flat(found)))
        self.given[-1]()
        return found, []


class Down:
    """A gated layer of the stream that is computed in rows.

    Of each row's activations both products are taken at once: what they add to this row and to the one below it.

    Args:
        layer: whose weights it takes.
        rows: of its resolution.
        active: where concat_elu of the input is, as `Rows.active` has it.
        after: where concat_elu of the output goes to, likewise; it may be the same.
        skip: what lies beside it, likewise.
    """

    def __init__(self, layer: GatedLayer, rows: Rows, active: Tensor, after: Tensor, skip: Tensor | None):
        (width, batch, filters), first, second = rows.shape, taps(layer.first), taps(layer.second)
        # What the row above adds to the two convolutions, and biases.
        found, found2 = rows.new(*rows.shape), rows.new(width, batch, 2 * filters)
        bias = layer.first.bias if layer.beside is None else layer.first.bias + layer.beside.bias
        bias2, varying = rows.second_bias(layer, found2)
        self.begin1, self.begin2 = [partial(found.copy_, bias)], [partial(found2.copy_, bias2)]
        self.own = windows(found, active, first[1])
        if skip is not None:
            self.own.append(partial(flat(found).addmm_, flat(skip[1:-1]), pixel(layer.beside)))
        self.own += rows.concat_elu.steps(found, rows.active2[1:-1])
        self.next1, self.next2 = windows(found, active, first[0]), windows(found2, rows.active2, second[0])
        value, gate = found2.chunk(2, 2)
        self.own2 = [
            *varying,
            *windows(found2, rows.active2, second[1]),
            gate.sigmoid_,
            partial(rows.down.addcmul_, value, gate),
        ]
        self.after = rows.concat_elu.steps(rows.down, after[1:-1])

    def row(self, above: bool, below: bool) -> None:
        """From `Rows.down` to itself; whether there is a row above, and one below."""
        if not above:
            run(self.begin1, self.begin2)
        run(self.own)
        if below:
            run(self.begin1, self.next1)
        run(self.own2)
        if below:
            run(self.begin2, self.next2)
        run(self.after)


class Right:
    """A gated layer of the stream that is computed pixel by pixel.

    Of each pixel's activations both products are taken at once: with the weights of its own column, which its output
    takes, and with those of the column to the left, which the next pixel's takes. What rows above and contexts add
    is there by then.

    Args:
        layer: whose weights it takes.
        rows: of its resolution.
        down: where concat_elu of the first stream is, which lies beside it, as `Rows.active` has it.

    Attributes:
        active: by column, where concat_elu of the input is.
        out: (batch, filters), the output at the pixel that was computed last.
    """

    def __init__(self, layer: GatedLayer, rows: Rows, down: Tensor):
        (width, batch, filters), new = rows.shape, rows.new
        self.concat_elu = rows.concat_elu
        first, second, beside = taps(layer.first), taps(layer.second), pixel(layer.beside)
        self.skip = beside[2 * filters :].contiguous()
        # Activations of the row above up to the pixel that is due, and of this one before it.
        row1, row2 = rows.active(), rows.active()
        # What is added to the two convolutions. The last column stands for the pixel after the row; nobody reads it.
        base1, base2 = new(batch, width + 1, filters), new(batch, width + 1, 2 * filters)
        self.out = new(batch, filters)
        self.active, self.active2 = row1[1:-1].unbind(), row2[1:-1].unbind()
        self.found, self.found2 = base1.unbind(1), base2.unbind(1)
        self.first_at, self.second_at = _joined(base1, self.active, first[1]), _joined(base2, self.active2, second[1])
        into1, into2 = base1[:, :-1].transpose(0, 1), base2[:, :-1].transpose(0, 1)
        found1, found2 = (into1, into2) if batch == 1 else (rows.found1, rows.found2)
        bias2, varying = rows.second_bias(layer, found2)
        self.begin1 = [
            partial(found1.copy_, layer.first.bias + layer.beside.bias),
            partial(flat(found1).addmm_, flat(down[1:-1]), beside[: 2 * filters]),
        ]
        self.begin2 = [partial(found2.copy_, bias2), *varying]
        self.above1, self.above2 = windows(found1, row1, first[0]), windows(found2, row2, second[0])
        self.end1, self.end2 = [partial(into1.copy_, found1)], [partial(into2.copy_, found2)]
        if batch == 1:
            self.end1, self.end2 = [], []

    def begin(self, above: bool) -> None:
        """What the row above, if there is one, and the other stream's activations add to the row that is due."""
        run(self.begin1, self.above1 if above else [], self.end1)
        run(self.begin2, self.above2 if above else [], self.end2)

    def steps(self, column: int, x: Tensor, skip: Tensor | None, out: Tensor) -> list[Step]:
        """The output (batch, filters), given the input likewise; `active[column]` is concat_elu of that."""
        found, (value, gate) = self.found[column], self.found2[column].chunk(2, 1)
        return [
            *self.concat_elu.steps(x, self.active[column]),
            self.first_at[column],
            *([] if skip is None else [partial(found.addmm_, skip, self.skip)]),
            *self.concat_elu.steps(found, self.active2[column]),
            self.second_at[column],
            gate.sigmoid_,
            partial(torch.addcmul, x, value, gate, out=out),
        ]


def _joined(base: Tensor, active: tuple[Tensor, ...], weights: Tensor) -> list[Step]:
    """By column: adds the product of its activations to two neighbouring columns."""
    # The first half of the outputs belongs to the column itself, the second to the one after it.
    (batch, _, channels), weight = base.shape, torch.cat([weights[1], weights[0]], 1)
    return [
        partial(base.as_strided((batch, 2 * channels), (base.stride(0), 1), column * channels).addmm_, rows, weight)
        for column, rows in enumerate(active)
    ]


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
            (buffer[column : column + self.width : 2].flatten(0, 1), weight)
            for buffer, own in zip(self.rows, self.weights, strict=True)
            for column, weight in enumerate(own)
        ]
        return add_products(self.bias, *pairs).view(self.width // 2, x.shape[1], -1)


class ShrinkRight:
    """Halves the other stream, at every second pixel of every second row.

    Attributes:
        slots: by column of the row that is halved, where its features have to be.
        out: by column of half the resolution.
    """

    def __init__(self, layer: WeightNormConv, width: int, batch: int, new: New):
        (self.above, self.here), self.bias = taps(layer), layer.bias
        self.row = new(width + 1, batch, layer.direction.shape[1])
        self.base = new(width // 2, batch, layer.direction.shape[0])
        self.slots, self.out = self.row[1:].unbind(), self.base.unbind()

    def begin(self) -> None:
        """What the row above adds to the row that is due."""
        pairs = [(self.row[column:-1:2].flatten(0, 1), weight) for column, weight in enumerate(self.above)]
        self.base.copy_(add_products(self.bias, *pairs).view(self.base.shape))

    def steps(self, column: int) -> list[Step]:
        """A pixel of `out`."""
        rows = self.row[2 * column], self.row[2 * column + 1]
        return [partial(self.out[column].addmm_, row, weight) for row, weight in zip(rows, self.here, strict=True)]


class GrowDown:
    """Doubles the first stream: two rows from one, of twice the columns.

    Attributes:
        rows: (2, columns, batch, filters), the two.
    """

    def __init__(self, layer: WeightNormConv, width: int, batch: int, new: New):
        weight = layer.weight.permute(0, 2, 3, 1)  # (inputs, 2, 3, outputs)
        self.beside, self.weight = weight[:, :, 0].flatten(1).contiguous(), weight[:, :, 1:].flatten(1).contiguous()
        self.bias = layer.bias.repeat(4)
        self.rows = new(2, width, batch, layer.bias.shape[0])

    def put(self, x: Tensor) -> None:
        """The two rows of one."""
        wide, batch, _ = x.shape
        found = torch.addmm(self.bias, flat(x), self.weight).view(wide, batch, 2, 2, -1)
        # The odd columns are between two.
        found[:-1, :, :, 1] += (x[1:] @ self.beside).unflatten(-1, (2, -1))
        self.rows.unflatten(1, (wide, 2)).copy_(found.permute(2, 0, 3, 1, 4))


class GrowRight:
    """Doubles the other stream: four pixels from one.

    Attributes:
        slots: by row and column, (batch, filters).
    """

    def __init__(self, layer: WeightNormConv, width: int, batch: int, new: New):
        weight = layer.weight  # (inputs, outputs, 2, 2)
        self.weight = weight.permute(0, 2, 3, 1).flatten(1).contiguous()
        self.bias = layer.bias.repeat(4)
        self.rows = new(2, width, batch, weight.shape[1])
        self.found = new(batch, 4 * weight.shape[1])
        self.slots = [row.unbind() for row in self.rows]

    def steps(self, column: int, x: Tensor) -> list[Step]:
        """The four pixels of one, given as (batch, filters)."""
        found = self.found.view(len(x), 2, 2, -1).permute(1, 2, 0, 3)
        return [
            partial(torch.addmm, self.bias, x, self.weight, out=self.found),
            partial(self.rows[:, 2 * column : 2 * column + 2].copy_, found),
        ]
