"""What the final layer of a classifier says of each class: a row a class."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from priors.vmf import bessel


@dataclass(frozen=True)
class ClassSummary:
    """What the prior says of one class.

    Attributes:
        name: the class.
        norm: ||w_i||, the norm of its weight.
        concentration: kappa_i.
        mean_resultant_length: A_m(kappa_i), the expected cosine between a draw and the class's direction.
        nearest: the other class whose direction is closest.
        cosine: the cosine between the two directions.
    """

    name: str
    norm: float
    concentration: float
    mean_resultant_length: float
    nearest: str
    cosine: float


def class_table(
    loc: Float[Tensor, "classes m"],
    norm: Float[Tensor, " classes"],
    concentration: Float[Tensor, " classes"],
    class_names: Sequence[str],
) -> tuple[ClassSummary, ...]:
    """A summary of each class, in the classes' order.

    Args:
        loc: the classes' unit directions.
        norm: of the final layer's weights.
        concentration: kappa of each class.
        class_names: one a class.
    """
    classes, m = loc.shape
    loc = loc.double()
    concentration = concentration.double()
    lengths = bessel.mean_resultant_length(m, concentration)
    cosines, nearest = [], []
    for first in range(0, classes, 1024):
        cosine = loc[first : first + 1024] @ loc.T
        cosine.diagonal(first).fill_(-float("inf"))
        best = cosine.max(dim=1)
        cosines += best.values.tolist()
        nearest += [class_names[number] for number in best.indices.tolist()]
    columns = (class_names, norm.tolist(), concentration.tolist(), lengths.tolist(), nearest, cosines)
    return tuple(ClassSummary(*row) for row in zip(*columns, strict=True))
