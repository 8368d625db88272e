"""Squared Euclidean distances between many vectors: a block at a time, and right for near pairs as well.

||a - b||^2 = ||a||^2 + ||b||^2 - 2 a.b is one matrix product, but loses digits where a and b are close. Such pairs are
taken again from their difference, so that every distance is as good, relative to itself, as float64 differences are.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from analysis.inversion.rows import row_blocks

_NEAR = 1e-3
"""Pairs whose squared distance is at most this part of ||a||^2 + ||b||^2 are taken from their difference."""
_VALUES = 2**22
"""Of such differences at once."""


def mean_vector(vectors: Float[Tensor, "n units"]) -> Float64[Tensor, " units"]:
    """Mean of the rows, without a copy of them all in float64."""
    total = torch.zeros(vectors.shape[1], dtype=torch.float64, device=vectors.device)
    for rows in row_blocks(vectors):
        total += vectors[rows].double().sum(0)
    return total / len(vectors)


def squared_distances(
    left: Float64[Tensor, "n units"], right: Float64[Tensor, "m units"], centre: Float64[Tensor, " units"]
) -> Float64[Tensor, "n m"]:
    """||a - b||^2 of every a in `left` and b in `right`; exactly 0 where they are equal.

    The product is taken of a - centre and b - centre: the result is the same for any centre, and quickest for one that
    makes these small, such as the mean.

    Example:
        >>> zero = torch.zeros(2).double()
        >>> squared_distances(zero[None], torch.tensor([[3.0, 4.0], [0.0, 0.0]]).double(), zero)
        tensor([[25.,  0.]], dtype=torch.float64)
    """
    a, b = left - centre, right - centre
    sums = a.square().sum(1)[:, None] + b.square().sum(1)
    squared = torch.addmm(sums, a, b.T, alpha=-2)
    first, second = (squared <= _NEAR * sums).nonzero(as_tuple=True)
    step = max(1, _VALUES // left.shape[1])
    for start in range(0, len(first), step):
        i, j = first[start : start + step], second[start : start + step]
        squared[i, j] = (left[i] - right[j]).square_().sum(1)
    return squared


def pair_blocks(vectors: Float[Tensor, "n units"]) -> Iterator[tuple[slice, slice, Float64[Tensor, "rows columns"]]]:
    """Squared distances of all pairs: blocks on and above the diagonal, as the rows, the columns and the block."""
    mean = mean_vector(vectors)
    for rows in row_blocks(vectors):
        left = vectors[rows].double()
        for columns in row_blocks(vectors):
            if columns.start >= rows.start:
                yield rows, columns, squared_distances(left, vectors[columns].double(), mean)
