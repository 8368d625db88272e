"""What draws from each class are taken for: the expected posterior of the classes, class by class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from priors.errors import InputError
from priors.vmf import VonMisesFisher


@dataclass(frozen=True)
class ClassPosterior:
    """How classes are confused, by Monte Carlo.

    Attributes:
        table: (classes, classes) float64; row i is E p(j | a) over a ~ q(a | i), and sums to one.
        standard_error: of each entry of the table, (classes, classes) float64.
        samples: draws a class.
    """

    table: Float[Tensor, "classes classes"]
    standard_error: Float[Tensor, "classes classes"]
    samples: int


@torch.no_grad()
def monte_carlo_posterior(
    distributions: Sequence[VonMisesFisher],
    posterior: Callable[[Tensor], Tensor],
    samples: int,
    generator: torch.Generator | None = None,
) -> ClassPosterior:
    """Average a posterior over draws from each class.

    Args:
        distributions: one a class, in float64.
        posterior: maps draws (samples, m) to class probabilities (samples, classes).
        samples: draws a class, at least 2.
        generator: source of the draws.

    Raises:
        InputError: fewer than two samples.
    """
    if samples < 2:
        raise InputError(f"samples is {samples}: a standard error needs at least 2")
    # A class at a time: memory stays small, and the draws do not depend on how much of it there is.
    moments = [
        torch.std_mean(posterior(distribution.sample((samples,), generator)), dim=0) for distribution in distributions
    ]
    error, table = (torch.stack(rows) for rows in zip(*moments, strict=True))
    return ClassPosterior(table, error / samples**0.5, samples)
