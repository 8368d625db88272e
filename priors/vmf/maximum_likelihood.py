"""The concentration whose mean resultant length is a given one: the inverse of A_m, which maximum likelihood asks for.

The likelihood of directions about a mean direction mu depends on them through their mean cosine with mu alone, and is
largest where A_m(kappa) equals it (for a free mu, where it equals the length of their mean).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from priors.checks.floats import require_floats
from priors.errors import InputError
from priors.vmf import bessel

_STEPS = 30
"""Newton's method takes at most 7 from the start below for any dimension; more says that something is wrong."""
_SETTLED = 1e-14


def solve_concentration(
    resultant: Float[Tensor, "*batch"] | float,
    dim: int,
    *,
    deficit: Float[Tensor, "*batch"] | float | None = None,
    names: Sequence[str] | None = None,
) -> Float[Tensor, "*batch"]:
    """Concentrations kappa, float64, with A_m(kappa) = R.

    Newton's method in float64 from kappa = R (m - R^2) / (1 - R^2) (Banerjee et al. 2005), kept between the bounds that
    those of Amos (1974) on A_m imply. A_m is concave, so that it converges from below after one step. R = 0 gives 0.

    Near R = 1, kappa is about (m - 1) / (2 (1 - R)): the rounding of R alone, 1.1e-16, moves it by a relative
    2e-16 kappa / (m - 1). Give 1 - R where it is known more closely than that; for unit vectors, 1 - cos is half their
    squared distance. With it kappa is good to about 1e-14 from 1e-300 to 1e140.

    Args:
        resultant: mean resultant lengths R, in [0, 1).
        dim: m, of the space around the sphere, at least 2.
        deficit: 1 - R; looked at instead of R where R is above 1/2. On the device of R where both are tensors; a
            number is taken there.
        names: whose each is, for messages.

    Raises:
        InputError: an R outside [0, 1), or one so close to 1 that its concentration is not found; it is named.

    Example:
        >>> solve_concentration(torch.tensor([0.0, 0.9026]), 5)
        tensor([ 0.0000, 19.9933], dtype=torch.float64)
    """
    if dim < 2:
        raise InputError(f"directions in {dim} dimensions: at least 2 were expected")
    # In float64, so that a number does not become float32 first.
    tensors = [given for given in (resultant, deficit) if isinstance(given, Tensor)]
    for given in tensors:
        require_floats(given, "mean resultant lengths")
    device = tensors[0].device if tensors else None
    resultant = torch.as_tensor(resultant, dtype=torch.float64, device=device)
    deficit = 1 - resultant if deficit is None else torch.as_tensor(deficit, dtype=torch.float64, device=device)
    resultant, deficit = torch.broadcast_tensors(resultant, deficit)
    shape = resultant.shape
    resultant, deficit = resultant.reshape(-1), deficit.reshape(-1)
    _require(
        (resultant >= 0) & (resultant <= 1) & (deficit >= 0), resultant, names, ": a number in [0, 1) was expected"
    )
    _require(deficit > 0, resultant, names, ": its directions are all the same, their concentration is infinite")

    square = deficit * (1 + resultant)  # 1 - R^2
    low, high = _bounds(resultant, square, dim)
    kappa = (resultant * (dim - resultant * resultant) / square).clamp(low, high)
    settled = torch.zeros_like(kappa, dtype=torch.bool)
    for _ in range(_STEPS):
        missing = torch.where(
            resultant > 0.5,
            bessel.mean_resultant_deficit(dim, kappa) - deficit,
            resultant - bessel.mean_resultant_length(dim, kappa),
        )
        after = (kappa + missing / bessel.mean_resultant_slope(dim, kappa)).clamp(low, high)
        settled = (after - kappa).abs() <= _SETTLED * after
        kappa = after
        if bool(settled.all()):
            break
    found = settled & kappa.isfinite()
    _require(found, deficit, names, ": it does not converge", "the concentration of {} for 1 - R = {:.6g}")
    return kappa.reshape(shape)


def _bounds(resultant: Tensor, square: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds on kappa.

    k / (a + sqrt(k^2 + b^2)) is below A_m(k) for (a, b) = ((m - 1) / 2, (m + 1) / 2) and above it for
    (m / 2 - 1, m / 2 + 1) (Amos 1974); both are inverted in closed form.
    """
    lower, upper = (
        resultant / square * (a + torch.sqrt((resultant * a).square() + square * (b * b)))
        for a, b in ((0.5 * m - 1, 0.5 * m + 1), (0.5 * (m - 1), 0.5 * (m + 1)))
    )
    return lower, upper


def _require(
    fine: Tensor,
    values: Tensor,
    names: Sequence[str] | None,
    said: str,
    what: str = "the mean resultant length of {} is {:.6g}",
) -> None:
    if bool(fine.all()):
        return
    number = int((~fine).nonzero()[0])
    whose = f"class {names[number]!r}" if names is not None else f"entry {number}"
    raise InputError(what.format(whose, float(values[number])) + said)
