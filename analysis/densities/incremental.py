"""The features of a PixelCNN++ pixel by pixel: each is computed once, when it can be.

The stream that sees the rows above a pixel is computed a row at a time, before the row's first pixel. The other one is
computed at each pixel, from a cache of the row above and of the pixel to the left; what the row above adds to its
convolutions is worked out for the whole row at once. Features of half and a quarter of the resolution are due at every
second and fourth pixel of every second and fourth row. `analysis.densities.incremental_layers` has the layers.

What a row takes from another, or from outside, lies in tensors that are allocated once; the rest is its own. So what
`compute` does for a row can be recorded, and repeated for all rows of its kind and for other images.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from analysis.densities.incremental_layers import (
    Down,
    GrowRight,
    Right,
    ShrinkDown,
    ShrinkRight,
    concat_elu,
    taps,
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
        self.contexts = [None if maps is None else maps.clone() for maps in self._maps(context)]
        self.context_rows = [
            None if maps is None else maps[0] if len(maps) == 1 else maps[0].clone() for maps in self.contexts
        ]
        widths = [self.width >> level for level in range(LEVELS)]
        self.images = new(batch, channels, self.height, self.width)
        self.pixels = new(self.width, batch, channels)
        self.pixel_at = list(self.pixels)
        # The two rows above, in [-1, 1] and with their channel of ones; zeros, also of that, where there is none.
        self.above = new(batch, channels + 1, 2, self.width)
        self.start_down, self.start_above = model.start_down, model.start_above
        ((self.left_above,), (self.left,)), self.left_bias = taps(model.start_left), model.start_left.bias
        self.start = new(self.width, batch, model.filters)
        self.start_at = [(here, here.unsqueeze(1)) for here in self.start]
        self.twice_left = 2 * self.left[:-1]
        # concat_elu of the second stream at a level's end, before it is halved.
        self.last = [new(batch, 1, 2 * model.filters) for _ in widths]
        self.up_down, self.back_down, self.up_right, self.back_right = (
            [[kind(one, wide, batch, new) for one in block] for block, wide in zip(blocks, widths, strict=True)]
            for kind, blocks in (
                (Down, model.up_down),
                (Down, model.back_down),
                (Right, model.up_right),
                (Right, model.back_right),
            )
        )
        self.shrink_down, self.shrink_right, self.grow_right = (
            [kind(one, wide, batch, new) for one, wide in zip(layers, widths, strict=False)]
            for kind, layers in (
                (ShrinkDown, model.shrink_down),
                (ShrinkRight, model.shrink_right),
                (GrowRight, model.grow_right),
            )
        )
        self.grow_down = list(model.grow_down)
        # Rows of the first stream that come down from half the resolution, two at a time.
        self.grown = [new(2, wide, batch, model.filters) for wide in widths[:-1]]

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
            if maps is not None and len(maps) > 1:
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
        self.above[:, :, 0] = self.above[:, :, 1]
        self.above[:, :-1, 1] = 2 * self.pixels.permute(1, 2, 0) - 1
        self.above[:, -1, 1].fill_(1.0)

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
            down = self.start_down(self.above)[:, :, 1].permute(2, 0, 1).contiguous()
            self.start.copy_(self.start_above(self.above[:, :, 1:])[:, :, 0].permute(2, 0, 1))
        else:
            down = torch.zeros_like(self.start)
            self.start.zero_()
        # The pixel to the left is added when it is there: 2 p - 1 of it in [0, 1], and its channel of ones.
        pixels = self.above[:, :, 1, :-1].permute(2, 0, 1)
        self.start[1:] += pixels @ self.left_above + (self.left_bias + self.left[-1] - self.left[:-1].sum(0))
        due = self._due(row)
        kept: list[list[Tensor]] = []
        for level in range(due):
            if level:
                down = self.shrink_down[level - 1].row(down)
                self.shrink_right[level - 1].begin()
            context = self.context_rows[level]
            layers = self.up_down[level]
            # At the lowest resolution the way back begins at once.
            after = self.back_down[level][0].active if level == LEVELS - 1 else None
            kept.append([concat_elu(down, layers[0].active)])
            for first, then, second in zip(layers, [*layers[1:], None], self.up_right[level], strict=True):
                down = first.row(down, None, context)
                kept[-1].append(concat_elu(down, then.active if then else after))
                second.begin(kept[-1][-1], context)
            if level == due - 1 and due < LEVELS:
                self.shrink_down[level].remember(down)
        if due == LEVELS:
            kept[-1].pop()
        else:
            down = self.grown[due - 1][(row >> due - 1) % 2]
            concat_elu(down, self.back_down[due - 1][0].active)
        for level in reversed(range(due)):
            context = self.context_rows[level]
            layers = self.back_down[level]
            for first, then, second in zip(layers, [*layers[1:], None], self.back_right[level], strict=True):
                down = first.row(down, kept[level].pop(), context)
                second.begin(concat_elu(down, then.active if then else None), context)
            if level:
                found = self.grow_down[level - 1](down.permute(1, 2, 0)[:, :, None])
                self.grown[level - 1].copy_(found.permute(2, 3, 0, 1))
                down = self.grown[level - 1][(row >> level - 1) % 2]
                concat_elu(down, self.back_down[level - 1][0].active)

    def _outputs(self, row: int, column: int, left: Tensor | None) -> Tensor:
        """Parameters of a pixel's distribution, (batch, outputs), given the one to its left."""
        start, x = self.start_at[column]
        if left is not None:
            start.addmm_(left, self.twice_left)
        due = min(self._due(row), self._due(column))
        kept: list[list[Tensor]] = []
        for level in range(due):
            at = column >> level
            if level:
                x = self.shrink_right[level - 1].at(at)
            for layer in self.up_right[level]:
                x = layer.at(at, x, None)
            kept.append([layer.active[at] for layer in self.up_right[level]])
            if level < LEVELS - 1:
                self.shrink_right[level].remember(at, x)
                kept[-1].append(concat_elu(x, self.last[level])[:, 0])
        for level in reversed(range(due)):
            at = column >> level
            if level < LEVELS - 1:
                x = self.grow_right[level].at((row >> level) % 2, at)
            for layer in self.back_right[level]:
                x = layer.at(at, x, kept[level].pop())
            if level:
                self.grow_right[level - 1].put(at, x)
        return torch.addmm(self.final_bias, F.elu(x[:, 0]), self.final)
