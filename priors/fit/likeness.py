"""How alike the directions of two priors are, whatever the rotation between the spaces they are in."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from priors.errors import InputError
from priors.vmf.directions import unit


@dataclass(frozen=True)
class Likeness:
    """How the cosines between one prior's directions go with those between another's.

    Attributes:
        correlation: Pearson's, over the pairs of classes; rotations, and more dimensions for one of them, leave it.
        p: how often classes that are matched at random correlate as much or more, by `permutations` of them.
        pairs: how many there are.
        permutations: of the test.
    """

    correlation: float
    p: float
    pairs: int
    permutations: int


def likeness(
    ours: Float[Tensor, "classes m"],
    theirs: Float[Tensor, "others n"],
    permutations: int = 999,
    generator: torch.Generator | None = None,
) -> Likeness:
    """Mantel's test of two sets of directions (Mantel 1967, "The detection of disease clustering").

    Pairs of classes are not independent, since each class is in many: the test permutes the classes of one of the two.

    Args:
        ours: directions of any length, one a class.
        theirs: likewise, of the same classes in the same order.
        permutations: of classes, at random.
        generator: of them.

    Raises:
        InputError: other numbers of classes, fewer than three, or cosines that are all the same.
    """
    if len(ours) != len(theirs) or len(ours) < 3:
        raise InputError(f"directions of {len(ours)} and {len(theirs)} classes: expected as many, and three or more")
    row, column = torch.triu_indices(len(ours), len(ours), 1).unbind()
    one, other = (_gram(directions) for directions in (ours, theirs))
    fixed = _standard(other[row, column])

    def correlation(order: Tensor) -> float:
        return float(_standard(one[order[row], order[column]]) @ fixed)

    found = correlation(torch.arange(len(ours)))
    chance = [correlation(torch.randperm(len(ours), generator=generator)) for _ in range(permutations)]
    as_much = sum(value >= found - 1e-12 for value in chance)
    return Likeness(found, (1 + as_much) / (1 + permutations), len(row), permutations)


def _gram(directions: Tensor) -> Tensor:
    rows = unit(directions.detach().cpu().double())
    return rows @ rows.T


def _standard(cosines: Tensor) -> Tensor:
    """Less their mean, of length 1."""
    apart = cosines - cosines.mean()
    length = apart.norm()
    if not length > 1e-9:
        raise InputError("the cosines between the directions of all classes are the same: nothing goes with them")
    return apart / length
