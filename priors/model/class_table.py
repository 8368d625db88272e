"""What the final layer of a classifier says of each class: a row a class."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from priors.errors import InputError
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
    only: Sequence[int] | None = None,
) -> tuple[ClassSummary, ...]:
    """A summary of each class, in the classes' order.

    Args:
        loc: the classes' unit directions.
        norm: of the final layer's weights.
        concentration: kappa of each class.
        class_names: one a class.
        only: numbers of the classes that are summarised, in this order, beside all of which the nearest is looked for;
            None: all. Of many thousands each takes its time.

    Raises:
        InputError: a number that is no class's.
    """
    classes, m = loc.shape
    if only is not None and not all(0 <= number < classes for number in only):
        raise InputError(f"only={list(only)}: numbers of {classes} classes were expected, 0 to {classes - 1}")
    chosen = torch.arange(classes) if only is None else torch.tensor(list(only), dtype=torch.int64)
    loc, chosen = loc.double(), chosen.to(loc.device)
    concentration = concentration.double()[chosen]
    lengths = bessel.mean_resultant_length(m, concentration)
    cosines, nearest = [], []
    for numbers in chosen.split(1024):
        cosine = loc[numbers] @ loc.T
        cosine.scatter_(1, numbers[:, None], -float("inf"))
        best = cosine.max(dim=1)
        cosines += best.values.tolist()
        nearest += [class_names[number] for number in best.indices.tolist()]
    names = [class_names[number] for number in chosen.tolist()]
    columns = (names, norm[chosen].tolist(), concentration.tolist(), lengths.tolist(), nearest, cosines)
    return tuple(ClassSummary(*row) for row in zip(*columns, strict=True))
