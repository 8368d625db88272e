"""What draws from each class are taken for: the expected posterior of the classes, class by class."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear, normalize

from priors.errors import InputError, unknown
from priors.vmf.distribution import VonMisesFisher, log_densities

_MOST = 1 << 27
"""Draws a class at most: beyond, a standard error is not worth its time."""


@dataclass(frozen=True)
class ClassPosterior:
    """How classes are confused, by Monte Carlo.

    Attributes:
        table: (classes, classes) float64; row i is E p(j | a) over a ~ q(a | i), and sums to one.
        standard_error: of each entry of the table, (classes, classes) float64.
        samples: draws of the class that took most.
    """

    table: Float[Tensor, "classes classes"]
    standard_error: Float[Tensor, "classes classes"]
    samples: int


@torch.no_grad()
def class_posterior(
    loc: Float[Tensor, "classes m"],
    concentration: Float[Tensor, " classes"],
    class_names: Sequence[str],
    samples: int = 1000,
    generator: torch.Generator | None = None,
    *,
    head: tuple[Float[Tensor, "classes m"], Float[Tensor, " classes"] | None] | None = None,
    norms: Float[Tensor, " classes"] | None = None,
    logits: Literal["prior", "head"] = "prior",
    norm: float | None = None,
    temperature: float = 1.0,
    standard_error: float | None = None,
) -> ClassPosterior:
    """E p(j | a) over a ~ q(a | i), for all classes i and j, by Monte Carlo in float64.

    Equation 7 of "On The Distribution of Penultimate Activations of Classification Networks": p is the softmax
    of the logits z over the temperature. With `logits="prior"`, z_j = log q(a | j), which for one concentration kappa
    is kappa times the cosine between a and the class's direction. With `logits="head"`, they are the classifier's own,
    z = s W a + b, for activations of norm s in the space of the directions, which is that of W and b as well.

    Args:
        loc: unit directions of the classes.
        concentration: kappa of each class.
        class_names: for messages.
        samples: draws a class, at least 2; with a standard error, draws at a time.
        generator: source of the draws; if left out, a fresh one with seed 0, so that the table is always the same.
        head: W and b, for `logits="head"`; b may be None.
        norms: s of each class, for `logits="head"`, where they are known.
        logits: whose they are.
        norm: s of all classes, instead of `norms`.
        temperature: what logits are divided by; more than one brings classes closer.
        standard_error: if given, each class is drawn from until none of its entries has a larger one, at least twice
            its inverse times: what is rarer than draws can show then adds no larger an error.

    Raises:
        InputError: fewer than two samples, other values out of range, `norm` missing or given for nothing, or a
            standard error that 10^8 draws would not reach.
    """
    for name, value in (("norm", norm), ("temperature", temperature), ("standard_error", standard_error)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value}: a positive number was expected")
    if samples < 2:
        raise InputError(f"samples is {samples}: a standard error needs at least 2")
    if logits not in ("prior", "head"):
        raise unknown("logits", logits, ("prior", "head"))
    if logits == "prior" and norm is not None:
        raise InputError("norm is for logits='head': directions alone decide the prior's")
    if logits == "head" and norm is None and norms is None:
        raise InputError("logits='head' are those of activations of one norm: give norm=")
    if generator is None:
        generator = torch.Generator(loc.device).manual_seed(0)
    loc, concentration = loc.double(), concentration.double()
    if head is not None:
        head = tuple(None if part is None else part.double() for part in head)

    def posterior(draws: Tensor, label: int) -> Tensor:
        if logits == "prior":
            found = log_densities(normalize(draws, dim=-1), loc, concentration)
        else:
            found = linear(draws * (norms[label].double() if norm is None else norm), *head)
        return (found / temperature).softmax(-1)

    def drawn(label: int) -> Callable[[], Tensor]:
        one = VonMisesFisher(loc[label], concentration[label])
        return lambda: posterior(one.sample((samples,), generator), label)

    # A class at a time: memory stays small, and the draws do not depend on how much of it there is.
    rows = [_mean(drawn(label), samples, standard_error, name) for label, name in enumerate(class_names)]
    return ClassPosterior(
        torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows]), max(row[2] for row in rows)
    )


def _mean(
    draw: Callable[[], Tensor], samples: int, standard_error: float | None, name: str
) -> tuple[Tensor, Tensor, int]:
    """Mean and its standard error over as many draws as are needed, and their number."""
    variance, mean = torch.var_mean(draw(), 0)
    squares, count = variance * (samples - 1), samples
    while standard_error is not None:
        error = float((squares / (count - 1) / count).sqrt().max())
        if error <= standard_error and count * standard_error >= 2:
            break
        if (needed := count * (error / standard_error) ** 2) > _MOST:
            raise InputError(
                f"a standard error of {standard_error:g} would take about {needed:.1g} draws of class {name!r}: "
                f"{error / (_MOST / count) ** 0.5:.1g} or more was expected"
            )
        variance, other = torch.var_mean(draw(), 0)  # two parts of one sample: Chan, Golub and LeVeque, 1979
        apart, total = other - mean, count + samples
        mean = mean + apart * (samples / total)
        squares = squares + variance * (samples - 1) + apart.square() * (count * samples / total)
        count = total
    return mean, (squares / (count - 1) / count).sqrt(), count
