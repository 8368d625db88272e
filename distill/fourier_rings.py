"""Frequencies of the half of a Fourier transform that real maps have: how often each counts, and its ring."""

import torch
from jaxtyping import Float
from torch import Tensor


def half_plane_weights(height: int, width: int) -> Float[Tensor, "height half"]:
    """How often each entry of `torch.fft.rfft2` stands in the full transform: twice, but for its own mirror columns.

    These are the column of frequency 0 and, where the width is even, that of its half.

    Example:
        >>> half_plane_weights(1, 4)
        tensor([[1., 2., 1.]])
    """
    weights = torch.full((height, width // 2 + 1), 2.0)
    weights[:, 0] = 1.0
    if width % 2 == 0:
        weights[:, -1] = 1.0
    return weights


def ring_matrix(height: int, width: int) -> Float[Tensor, "frequencies rings"]:
    """Which ring each entry of `torch.fft.rfft2` is on, and how often it counts: a product with it sums over rings.

    A ring holds the frequencies of one length, rounded, in cycles over the shorter side, as in `analysis.spectra`,
    which takes no maps below 5x5. Frequency 0 is the first ring, and the corners are on the last: square maps of 8, 16
    and 32 pixels have 7, 12 and 24.

    Example:
        >>> ring_matrix(8, 8).shape, int(ring_matrix(8, 8).sum())
        (torch.Size([40, 7]), 64)
    """
    rows, columns = torch.fft.fftfreq(height).double(), torch.fft.rfftfreq(width).double()
    length = (rows[:, None].square() + columns.square()).sqrt() * min(height, width)
    numbers = (length + 0.5 + 1e-6).floor().long().flatten()  # halves go up, whatever rounding does to them
    # Sides of unlike lengths may leave a length without a frequency: a ring of none is none.
    numbers = torch.unique(numbers, return_inverse=True)[1]
    matrix = torch.zeros(len(numbers), int(numbers.max()) + 1)
    matrix[torch.arange(len(numbers)), numbers] = half_plane_weights(height, width).flatten()
    return matrix
