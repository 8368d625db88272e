"""Exact, reparameterised samples of the spherical Cauchy law: a uniform direction, moved by a Moebius transformation.

Seen from -mu by stereographic projection, the transformation scales the plane by sigma = exp(-b). For a Gaussian draw
g with component x along mu and g_perp across it, the uniform direction g/|g| is projected to a point at the distance
|g_perp| / (|g| + x), so that the sample's angle theta has tan(theta/2) = sigma |g_perp| / (|g| + x). In atanh w, w its
cosine, that is a shift by b, whose derivative in the concentration k is 1 / (n + 2k) for every draw.

There is no table, no rejection, no special function, and nothing that cancels at either end.
"""

import torch
from torch import Tensor

from priors.vmf.cosine import Cosine


def moved(m: int, x: Tensor, across: Tensor, k: Tensor, differentiate: bool) -> Cosine:
    """A law for `priors.vmf.transport.rsample`.

    Args:
        m: the ambient dimension.
        x: the draw's component along the mean direction.
        across: the length of the rest; its sign, which it has on the circle, does not matter.
        k: concentrations.
        differentiate: whether the slope is wanted.
    """
    # x and the rest have lengths of about 1 and sqrt(n): neither square overflows, and the ratio is bounded below.
    across = across.abs().clamp_min(1e-15)
    reach = x.abs() + torch.hypot(x, across)
    stretch = k * (2 / (m - 1)) + 1
    distance = torch.where(x < 0, reach / across, across / reach)
    square = distance.square() / stretch
    scale = (1 + square).reciprocal()
    sine = 2 * square.sqrt() * scale
    return Cosine((1 - square) * scale, sine, (stretch * (m - 1)).reciprocal() if differentiate else None)
