"""Which ring each frequency of a feature map is on."""

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.spectra.frequencies import half_plane


def ring_matrix(height: int, width: int) -> Float[Tensor, "rings frequencies"]:
    """Which ring each entry of `torch.fft.rfft2` is on, and how often it counts: a product with it sums over rings.

    A ring holds the frequencies of one length, rounded, in cycles over the shorter side, as in `analysis.spectra`,
    which takes no maps below 5x5. Frequency 0 is the first ring, and the corners are on the last: square maps of 8, 16
    and 32 pixels have 7, 12 and 24.

    Example:
        >>> ring_matrix(8, 8).shape, int(ring_matrix(8, 8).sum())
        (torch.Size([7, 40]), 64)
    """
    plane = half_plane((height, width))
    # Sides of unlike lengths may leave a length without a frequency: a ring of none is none.
    numbers = torch.unique(plane.ring.flatten(), return_inverse=True)[1]
    matrix = torch.zeros(int(numbers.max()) + 1, len(numbers))
    matrix[numbers, torch.arange(len(numbers))] = plane.weight.flatten().float()
    return matrix
