"""The features of a PixelCNN++ pixel by pixel: each is computed once, when it can be.

The stream that sees the rows above a pixel is computed a row at a time, before the row's first pixel, together with
what the row adds to the one below it. The other one is computed at each pixel, from a cache of the row above and of the
pixel to the left; what the row above adds to its convolutions is worked out for the whole row at once. Features of half
and a quarter of the resolution are due at every second and fourth pixel of every second and fourth row.
`analysis.densities.incremental_layers` has the layers.

What a row takes from another, or from outside, lies in tensors that are allocated once; the rest is its own. So what
`compute` does for a row can be recorded, and repeated for all rows of its kind and for other images.
"""

from collections.abc import Callable
from functools import partial
from itertools import repeat

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from analysis.densities.incremental_layers import (
    ConcatElu,
    Down,
    GrowDown,
    GrowRight,
    Right,
    Rows,
    ShrinkDown,
    ShrinkRight,
    Step,
    flat,
    run,
    taps,
    windows,
)
from analysis.densities.streams import LEVELS, Streams
from priors.checks.floats import require_digits

Choose = Callable[[int, int, Tensor], Tensor]
"""By row, column and (batch, outputs): the pixels there, (batch, channels) in [0, 1]."""
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

    @torch.no_grad()
    def __init__(self, model: Streams, context: Tensor | None, batch: int):
        require_digits(model, "this density")
        channels, self.height, self.width = model.image_shape
        weight = model.final.direction
        self.batch, self.contexts_of = batch, model.contexts_of
        self.final, self.final_bias = model.final.weight[:, :, 0, 0].t().contiguous(), model.final.bias
        caches: list[Tensor] = []

        def new(*shape: int) -> Tensor:
            caches.append(weight.new_zeros(*shape))
            return caches[-1]

        self.caches = caches
        # Contexts by level, (height or 1, width or 1, batch, K), and of the row that is due.
        self.contexts = [
            None if maps is None else maps.clone(memory_format=torch.contiguous_format) for maps in self._maps(context)
        ]
        self.context_rows = [
            None if maps is None else maps[0].clone() if _varies(maps) else maps[0] for maps in self.contexts
        ]
        widths = [self.width >> level for level in range(LEVELS)]
        self.images = new(batch, channels, self.height, self.width)
        self.pixels = new(self.width, batch, channels)
        self.pixel_at = list(self.pixels)
        # The two rows above between zeros, in [-1, 1] and with their channel of ones; zeros where there is no row.
        self.above = new(2, self.width + 2, batch, channels + 1)
        self.start = new(self.width, batch, model.filters)
        self.start_at = self.start.unbind()
        self.concat_elu = ConcatElu(weight, new)
        self.rows = [
            Rows((wide, batch, model.filters), new, self.concat_elu, row, _varies(maps))
            for wide, row, maps in zip(widths, self.context_rows, self.contexts, strict=True)
        ]
        # By level: layers of both streams on both ways, and what each way begins with.
        self.up_down, self.back_down, self.up_right, self.back_right = [], [], [], []
        self.begin_up, self.begin_back = [], []
        for level, rows in enumerate(self.rows):
            up, back = model.up_down[level], model.back_down[level]
            kept = [rows.active() for _ in range(len(up) + 1)]
            # At the lowest resolution the way back begins at once.
            active = kept.pop() if level == LEVELS - 1 else rows.active()
            after = [*kept[1:], active][: len(up)]
            self.begin_up.append(self.concat_elu.steps(rows.down, kept[0][1:-1]))
            self.begin_back.append(self.concat_elu.steps(rows.down, active[1:-1]))
            self.up_down.append([Down(*one, None) for one in zip(up, repeat(rows), kept, after)])
            self.up_right.append([Right(*one) for one in zip(model.up_right[level], repeat(rows), after)])
            self.back_down.append(
                [Down(one, rows, active, active, skip) for one, skip in zip(back, kept[::-1], strict=True)]
            )
            self.back_right.append([Right(one, rows, active) for one in model.back_right[level]])
        # concat_elu of the second stream at a level's end, before it is halved.
        self.last = [new(batch, 2 * model.filters) for _ in widths]
        self.shrink_down, self.shrink_right, self.grow_down, self.grow_right = (
            [kind(one, wide, batch, new) for one, wide in zip(layers, widths, strict=False)]
            for kind, layers in (
                (ShrinkDown, model.shrink_down),
                (ShrinkRight, model.shrink_right),
                (GrowDown, model.grow_down),
                (GrowRight, model.grow_right),
            )
        )
        down = self.rows[0].down
        ((left_above,), (left,)), self.twice_left = taps(model.start_left), 2 * taps(model.start_left)[1, 0, :-1]
        self.begin = [
            partial(down.copy_, model.start_down.bias),
            *(
                step
                for one, weights in zip(self.above, taps(model.start_down), strict=True)
                for step in windows(down, one, weights)
            ),
            partial(self.start.copy_, model.start_above.bias),
            *windows(self.start, self.above[1], taps(model.start_above)[0]),
            partial(flat(self.start[1:]).addmm_, flat(self.above[1, 1:-2]), left_above),
        ]
        # The pixel to the left is added when it is there: 2 p - 1 of it in [0, 1], and its channel of ones.
        self.left_bias = model.start_left.bias + left[-1] - left[:-1].sum(0)
        # By level, whether it is in an odd row, and column.
        self.up_steps = [[self._up(level, at) for at in range(wide)] for level, wide in enumerate(widths)]
        self.back_steps = [
            [[self._back(level, odd, at) for at in range(wide)] for odd in range(2 if level < LEVELS - 1 else 1)]
            for level, wide in enumerate(widths)
        ]

    def bytes(self) -> int:
        """What the caches and the contexts take."""
        maps = (maps for maps in self.contexts if maps is not None)
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.caches, *maps))

    @torch.no_grad()
    def reset(self, context: Tensor | None) -> None:
        """Begin other images, given another context of the same shape."""
        for cache in self.caches:
            cache.zero_()
        for maps, other in zip(self.contexts, self._maps(context), strict=True):
            if maps is not None:
                maps.copy_(other)
        for rows in self.rows:
            run(rows.given)

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
            if _varies(maps):
                self.context_rows[level].copy_(maps[row >> level])

    def compute(self, row: int, choose: Callable[[int, Tensor], Tensor]) -> None:
        """The pixels of the row that was entered, as they are chosen by column and (batch, outputs).

        The same is done for all rows of one `kind`, to the same tensors but for those that live within the row.
        """
        self._begin(row)
        pixel = None
        for column in range(self.width):
            pixel = choose(column, self._outputs(row, column, pixel))
            self.pixel_at[column].copy_(pixel)
        self.above[0] = self.above[1]
        self.above[1, 1:-1, :, :-1] = 2 * self.pixels - 1
        self.above[1, 1:-1, :, -1] = 1.0

    def leave(self, row: int) -> None:
        """Put the pixels into the images."""
        self.images[:, :, row] = self.pixels.permute(1, 2, 0)

    def _maps(self, context: Tensor | None) -> list[Tensor | None]:
        """A context by level, (height or 1, width or 1, batch, K)."""
        return [
            None if maps is None else maps.to(self.final.dtype).permute(2, 3, 0, 1)
            for maps in self.contexts_of(context, self.batch)
        ]

    def _due(self, position: int) -> int:
        """How many resolutions have a feature at this row or column."""
        return 1 + sum(position % 2**level == 0 for level in range(1, LEVELS))

    def _begin(self, row: int) -> None:
        """All of a row that does not depend on its own pixels."""
        if row:
            run(self.begin)
        else:
            self.rows[0].down.zero_()
            self.start.zero_()
        self.start[1:] += self.left_bias
        due = self._due(row)
        for level, rows in enumerate(self.rows[:due]):
            if level:
                rows.down.copy_(self.shrink_down[level - 1].row(self.rows[level - 1].down))
                self.shrink_right[level - 1].begin()
            run(self.begin_up[level])
            self._layers(self.up_down[level], self.up_right[level], row, level)
            if level == due - 1 and due < LEVELS:
                self.shrink_down[level].remember(rows.down)
        for level in reversed(range(due)):
            rows = self.rows[level]
            if level < LEVELS - 1:
                rows.down.copy_(self.grow_down[level].rows[(row >> level) % 2])
                run(self.begin_back[level])
            self._layers(self.back_down[level], self.back_right[level], row, level)
            if level:
                self.grow_down[level - 1].put(rows.down)

    def _layers(self, down: list[Down], right: list[Right], row: int, level: int) -> None:
        """A block of layers of the first stream, and what they add to the second one.

        A last row adds nothing to rows below it; where others of its kind do, it may, and nobody reads it.
        """
        above, below = row > 0, row + 2**level < self.height
        for first, second in zip(down, right, strict=True):
            first.row(above, below)
            second.begin(above)

    def _outputs(self, row: int, column: int, left: Tensor | None) -> Tensor:
        """Parameters of a pixel's distribution, (batch, outputs), given the one to its left."""
        if left is not None:
            self.start_at[column].addmm_(left, self.twice_left)
        due = min(self._due(row), self._due(column))
        for level in range(due):
            run(self.up_steps[level][column >> level])
        for level in reversed(range(due)):
            run(self.back_steps[level][(row >> level) % 2 if level < LEVELS - 1 else 0][column >> level])
        return torch.addmm(self.final_bias, F.elu(self.back_right[0][-1].out), self.final)

    def _up(self, level: int, at: int) -> list[Step]:
        """A level's pixel on the way down, and what is kept of it."""
        steps = self.shrink_right[level - 1].steps(at) if level else []
        x, layers = self.shrink_right[level - 1].out[at] if level else self.start_at[at], self.up_right[level]
        for layer in layers:
            out = self.shrink_right[level].slots[at] if layer is layers[-1] and level < LEVELS - 1 else layer.out
            steps += layer.steps(at, x, None, out)
            x = out
        return steps + self.concat_elu.steps(x, self.last[level]) if level < LEVELS - 1 else steps

    def _back(self, level: int, odd: int, at: int) -> list[Step]:
        """The same pixel on the way back."""
        kept = [layer.active[at] for layer in self.up_right[level]]
        x, steps = self.up_right[level][-1].out, []
        if level < LEVELS - 1:
            kept.append(self.last[level])
            x = self.grow_right[level].slots[odd][at]
        for layer in self.back_right[level]:
            steps += layer.steps(at, x, kept.pop(), layer.out)
            x = layer.out
        return steps + self.grow_right[level - 1].steps(at, x) if level else steps


def _varies(maps: Tensor | None) -> bool:
    """Whether a context is another one in each row."""
    return maps is not None and len(maps) > 1
