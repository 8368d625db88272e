"""Which picture a seed gives: images of a generator in blocks, each by its class and its number alone."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from apps.models.generator import Generator
from apps.seeds import generator

BLOCK = 64
"""Images that share a stream: which pictures a seed gives must not hang on how many are asked for."""


def draw(
    model: Generator, label: int | None, count: int, seed: int, concentration: float | None = None
) -> Iterator[Tensor]:
    """`count` images of one class (or of an unconditional model), in blocks (at most 64, C, H, W) in [0, 1]."""
    for number in range(-(-count // BLOCK)):
        yield draw_block(model, label, number, seed, concentration)[: count - number * BLOCK]


def draw_block(
    model: Generator, label: int | None, number: int, seed: int, concentration: float | None = None
) -> Tensor:
    """Images 64 * number ... 64 * number + 63 of one class (or of an unconditional model), (64, C, H, W) in [0, 1]."""
    device = next(model.parameters()).device
    labels = torch.full((BLOCK,), label or 0, device=device)
    # Drawn on the CPU, so that a seed gives the same pictures on every device, up to what rounding does.
    stream = generator("cpu", seed, "sample", -1 if label is None else label, number)
    with torch.inference_mode():
        return model.generate(labels, stream, concentration)


def draw_all(
    model: Generator, labels: Sequence[int] | None, n: int, seed: int, concentration: float | None = None
) -> Tensor:
    """Rows of images (labels, n, C, H, W); of an unconditional model about a square, at least 10 columns wide."""
    if labels is not None:
        return torch.stack([torch.cat(list(draw(model, label, n, seed, concentration))) for label in labels]).clone()
    images = torch.cat(list(draw(model, None, n, seed, concentration)))
    columns = min(n, max(10, math.isqrt(n - 1) + 1))
    blank = images.new_ones((-n % columns, *images.shape[1:]))
    return torch.cat([images, blank]).unflatten(0, (-1, columns)).clone()
