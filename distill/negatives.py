"""Negatives of contrastive terms: training images of other classes."""

import math

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from priors.errors import InputError

_KEYS = 4096
"""Images up to which each gets a random number, however few are drawn."""


class OtherClasses(nn.Module):
    """Draws images of other classes than an image's own, uniformly, on the device that it is on and without waiting.

    Args:
        labels: of all training images, in their order.
        classes: how many there are; a label is less.
        keys: whether draws without replacement sort a random number for every image however many there are, as programs
            did before runs of format 2.

    Attributes:
        most: how many images there are of other classes than the largest.

    Raises:
        InputError: no two classes have images.

    Example:
        >>> others = OtherClasses(torch.tensor([0, 1, 1, 2, 0]), classes=3)
        >>> bool((others.draw(torch.tensor([1]), 100, torch.Generator().manual_seed(0)) != 1).all())
        True
    """

    order: Tensor
    begin: Tensor
    size: Tensor

    def __init__(self, labels: Int64[Tensor, " images"], classes: int, keys: bool = False):
        super().__init__()
        self.keys = keys
        size = torch.bincount(labels, minlength=classes)
        self.most = len(labels) - int(size.max()) if len(labels) else 0
        self._of_some = len(labels) - int(size.min())  # of other classes than the smallest
        if self.most < 1:
            raise InputError(
                f"{len(labels)} training images of {int((size > 0).sum())} class: negatives are drawn from other "
                "classes, so images of two or more are needed"
            )
        # Sorted by class, those of a class are a range that a draw can step over. Not saved: the labels give them.
        self.register_buffer("order", labels.argsort(stable=True), persistent=False)
        self.register_buffer("begin", size.cumsum(0) - size, persistent=False)
        self.register_buffer("size", size, persistent=False)

    def draw(
        self,
        labels: Int64[Tensor, " batch"],
        count: int,
        generator: torch.Generator | None = None,
        *,
        replacement: bool = True,
        part: int = 0,
        parts: int = 1,
    ) -> Int64[Tensor, "batch count"]:
        """Positions of images of other classes, `count` for each label.

        Args:
            labels: classes that are not drawn, one a row.
            count: how many a row.
            generator: of the draws, on any device (from another one they are copied); None: torch's own.
            replacement: whether a row may have an image twice. Without, a random number for every image is sorted where
                a quarter of them or more is drawn; else some more than `count` are drawn with replacement, and
                the first `count` different ones taken: the law is the same, and no table of all images is made. Fewer
                are different in one of 10^12 rows; such a row has some images twice. So has a row that there are fewer
                than `count` images for: all of its draws are with replacement, as in Tian et al. 2020's code.
            part: which part of a larger batch these labels are; its numbers are drawn as a whole, so that it matters
                not how it is cut.
            parts: how many there are, all of one size.
        """
        source = labels.device if generator is None else generator.device
        shape, own = parts * len(labels), slice(part * len(labels), (part + 1) * len(labels))

        def keyed() -> Tensor:
            keys = torch.rand(shape, len(self.order), generator=generator, device=source, dtype=torch.float64)[own]
            return self._least(labels, keys.to(labels.device), count)

        def numbered(drawn: int) -> Tensor:
            # 62 random bits modulo the number of images: no image is more probable than another by 1e-12 of that.
            bits = torch.randint(2**62, (shape, drawn), generator=generator, device=source)[own]
            return bits.to(labels.device) % (len(self.order) - self.size[labels, None])

        if replacement:
            return self._places(labels, numbered(count))
        if count > self.most:
            again = self._places(labels, numbered(count))
            enough = len(self.order) - self.size[labels, None] >= count
            return torch.where(enough, keyed(), again) if count <= self._of_some else again
        if self.keys or self.most <= max(4 * count, _KEYS):
            return keyed()
        return self._places(labels, first_different(numbered(enough_for(count, self.most)), count))

    def _least(self, labels: Tensor, keys: Tensor, count: int) -> Tensor:
        """The images of other classes whose keys are the least, a row each."""
        begin, size = self.begin[labels, None], self.size[labels, None]
        place = torch.arange(len(self.order), device=labels.device)
        keys = keys.masked_fill((place >= begin) & (place < begin + size), 2.0)
        return self.order[keys.topk(count, dim=1, largest=False, sorted=False).indices]

    def _places(self, labels: Tensor, numbers: Tensor) -> Tensor:
        """The images of other classes with these numbers among them, a row each."""
        begin, size = self.begin[labels, None], self.size[labels, None]
        return self.order[numbers + (numbers >= begin) * size]


def enough_for(count: int, images: int) -> int:
    """How many draws with replacement have `count` different images among them, but for one time in 10^12.

    By the mean and the variance of the number of different ones, eight deviations off, and 24 more for where they are
    too few to be normal.

    Args:
        count: at most a quarter of the images.
        images: to draw from, at least.
    """
    wanted = -images * math.log1p(-count / images)
    left = math.exp(-wanted / images)
    variance = images * left * (1 - (1 + wanted / images) * left)
    return math.ceil(wanted + 8 * math.sqrt(max(variance, 0)) / left) + 24


def first_different(drawn: Int64[Tensor, "batch draws"], count: int) -> Int64[Tensor, "batch count"]:
    """The first `count` different numbers of each row, by one sort; where there are fewer, others come again.

    Example:
        >>> first_different(torch.tensor([[3, 1, 3, 0, 1, 2]]), 3)
        tensor([[3, 1, 0]])
    """
    ordered, place = drawn.sort(dim=1, stable=True)  # of equal ones, the first that was drawn comes first
    again = torch.zeros_like(ordered, dtype=torch.bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    new = torch.ones_like(again).scatter_(1, place, ~again)
    rank = new.cumsum(1) - 1
    there = torch.where(new & (rank < count), rank, count)  # what is not wanted goes into a column that is dropped
    kept = torch.cat([drawn[:, :count], drawn[:, :1]], 1)
    return kept.scatter_(1, there, drawn)[:, :count]
