"""Negatives of contrastive terms: training images of other classes."""

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from priors.errors import InputError


class OtherClasses(nn.Module):
    """Draws images of other classes than an image's own, uniformly, on the device that it is on and without waiting.

    Args:
        labels: of all training images, in their order.
        classes: how many there are; a label is less.

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

    def __init__(self, labels: Int64[Tensor, " images"], classes: int):
        super().__init__()
        size = torch.bincount(labels, minlength=classes)
        self.most = len(labels) - int(size.max()) if len(labels) else 0
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
            count: how many a row; no more than `most` without replacement.
            generator: of the draws, on any device (from another one they are copied); None: torch's own.
            replacement: whether a row may have an image twice. Without, a random number for every image is sorted.
            part: which part of a larger batch these labels are; its numbers are drawn as a whole, so that it matters
                not how it is cut.
            parts: how many there are, all of one size.
        """
        size, begin = self.size[labels, None], self.begin[labels, None]
        source = labels.device if generator is None else generator.device
        own = slice(part * len(labels), (part + 1) * len(labels))
        if replacement:
            # 62 random bits modulo the number of images: no image is more probable than another by 1e-12 of that.
            bits = torch.randint(2**62, (parts * len(labels), count), generator=generator, device=source)[own]
            drawn = bits.to(labels.device) % (len(self.order) - size)
            return self.order[drawn + (drawn >= begin) * size]
        shape = parts * len(labels), len(self.order)
        keys = torch.rand(shape, generator=generator, device=source, dtype=torch.float64)[own]
        place = torch.arange(len(self.order), device=labels.device)
        theirs = (place >= begin) & (place < begin + size)
        keys = keys.to(labels.device).masked_fill(theirs, 2.0)
        return self.order[keys.topk(count, dim=1, largest=False, sorted=False).indices]
