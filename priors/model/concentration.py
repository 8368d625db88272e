"""Where a class's concentration comes from: a number, one a class, or a strategy that reads it off the network.

A strategy is one decorated function here; its name is then accepted wherever a concentration is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.errors import InputError, unknown
from priors.gauge.evidence import Evidence
from priors.gauge.gauge import Gauge
from priors.model.final_layer import require_directions
from priors.vmf.directions import class_directions, in_parts, require_activations, unit
from priors.vmf.directions import norms as norms_of
from priors.vmf.maximum_likelihood import solve_concentration

Concentration = int | float | str | Sequence[int] | Sequence[float] | Tensor
Strategy = Callable[[Tensor, Evidence, Sequence[str]], tuple[Tensor, str]]

_NAMED = 20
"""Classes that a text names at most."""
STRATEGIES: dict[str, Strategy] = {}


def strategy(function: Strategy) -> Strategy:
    """Make a function the strategy of its name, with dashes: it gives concentrations (classes,), and how in words.

    It is given the rows that have the classes' directions (the final layer's weight, or what another gauge makes of
    it), the evidence in their space, and the classes' names for its messages.
    """
    STRATEGIES[function.__name__.replace("_", "-")] = function
    return function


@strategy
def norms(
    weight: Float[Tensor, "classes m"], evidence: Evidence, class_names: Sequence[str]
) -> tuple[Float[Tensor, " classes"], str]:
    """kappa_i = ||w_i|| ||a||, with the mean norm of the activations for ||a|| (Seo, Lee and Kwak 2021, equation 5)."""
    norm = evidence.activation_norm
    if norm is None:
        if evidence.moments is not None:
            norm = float(evidence.moments.norm.sum() / (evidence.moments.count + evidence.moments.zero).sum())
    if norm is None:
        if evidence.activations is None:
            raise InputError(
                "the concentration 'norms' is ||w_i|| times the mean norm of the activations: give activations (N, m)"
                " or activation_norm"
            )
        require_activations(evidence.activations, weight.shape[1])
        if not bool(evidence.activations.isfinite().all()):
            raise InputError("activations have values that are not finite")
        norm = float(evidence.activations.double().norm(dim=1).mean())
    if not 0 < norm < float("inf"):
        raise InputError(f"the mean norm of the activations is {norm}: a finite positive number was expected")
    return in_parts(_lengths, weight) * norm, f"norms: ||w_i|| times the mean activation norm {norm:.6g}"


@strategy
def mle(
    weight: Float[Tensor, "classes m"], evidence: Evidence, class_names: Sequence[str]
) -> tuple[Float[Tensor, " classes"], str]:
    """Maximum likelihood, each class about its weight's direction: A_m(kappa_i) = mean cosine of its activations."""
    found = _seen("mle", weight, evidence, class_names)
    empty = (found.count == 0).nonzero()
    if len(empty):
        label = int(empty[0])
        why = "activations are all zero" if found.zero[label] else "there are no activations"
        raise InputError(
            f"the concentration 'mle' of class {class_names[label]!r}: {why}; measure on images of every class, or "
            "take mle-pooled, one concentration for all"
        )
    deficit = found.versine / found.count
    for name, value in zip(class_names, deficit.tolist(), strict=True):
        _require_spread(f"'mle' of class {name!r}", value, found.rounding)
    values = solve_concentration((1 - deficit).clamp_min(0), weight.shape[1], deficit=deficit, names=class_names)
    away = [name for name, value in zip(class_names, values.tolist(), strict=True) if value == 0]
    more = f" and {len(away) - _NAMED:,} more" if len(away) > _NAMED else ""
    said = f"; 0 where they point away from it on average: {', '.join(away[:_NAMED])}{more}" if away else ""
    return values, f"mle: maximum likelihood of {found} about their class's direction{said}"


@strategy
def mle_pooled(
    weight: Float[Tensor, "classes m"], evidence: Evidence, class_names: Sequence[str]
) -> tuple[Float[Tensor, " classes"], str]:
    """Maximum likelihood with one concentration for all classes: A_m(kappa) = mean cosine of all activations."""
    found = _seen("mle-pooled", weight, evidence, class_names)
    if not bool(found.count.any()):
        raise InputError("the concentration 'mle-pooled': the activations of all classes are zero")
    deficit = found.versine.sum() / found.count.sum()
    _require_spread("'mle-pooled'", float(deficit), found.rounding)
    value = solve_concentration((1 - deficit).clamp_min(0), weight.shape[1], deficit=deficit)
    said = "; 0 since they point away from it on average" if value == 0 else ""
    how = f"mle-pooled: {float(value):.6g}, maximum likelihood of {found} about their class's direction{said}"
    return value.expand(len(weight)), how


@strategy
def fitted(
    weight: Float[Tensor, "classes m"], evidence: Evidence, class_names: Sequence[str]
) -> tuple[Float[Tensor, " classes"], str]:
    """kappa_i = ||s w_i + c||, the norm of a fitted direction's natural parameter: likeliest with its direction."""
    return in_parts(_lengths, weight), "fitted: ||s w_i + c||, maximum likelihood together with the directions"


_FOR = {"norms": ("weights", "centred"), "fitted": ("fitted",)}
"""By strategy that reads the length of rows, the directions whose rows have one that means something."""


def require_strategy(name: str, directions: str = "weights") -> None:
    """Make sure that there is a strategy of that name, for those directions.

    Raises:
        InputError: there is none (the nearest is offered), or it is for others.
    """
    if name not in STRATEGIES:
        raise unknown("concentration strategy", name, STRATEGIES, "or give a number, or one a class")
    if directions not in _FOR.get(name, (directions,)):
        raise InputError(
            f"the concentration {name!r} is for {' or '.join(_FOR[name])} directions, not for {directions}: take mle, "
            "or give numbers"
        )


def resolve(
    concentration: Concentration,
    weight: Float[Tensor, "classes m"],
    class_names: Sequence[str],
    evidence: Evidence,
    directions: str = "weights",
) -> tuple[Float[Tensor, " classes"], str]:
    """Concentrations (classes,), float64, and in words how they were chosen.

    Args:
        concentration: one number, one a class, or a strategy.
        weight: rows along the classes' directions; of fitted directions, their natural parameters.
        class_names: one a class.
        evidence: in the space of the rows.
        directions: what the rows are, by the names of `priors.gauge.gauge`.

    Raises:
        InputError: an unknown strategy, or one that lacks what it needs or is for other directions; a concentration
            that is negative, infinite or NaN (with the class's name); neither one for all nor one a class.
    """
    if isinstance(concentration, str):
        require_strategy(concentration, directions)
        values, how = STRATEGIES[concentration](weight, evidence, class_names)
    else:
        values = torch.as_tensor(concentration, dtype=torch.float64, device=weight.device).detach()
        if values.numel() == 1 and values.ndim < 2:
            how = f"{values.item():.6g}, given for all classes"
            values = values.reshape(1).expand(len(weight))
        else:
            how = "one a class, given"
    if values.shape != (len(weight),):
        raise InputError(
            f"concentration has shape {tuple(values.shape)}: one number, or one for each of {len(weight)} classes, was "
            "expected"
        )
    for name, value in zip(class_names, values.tolist(), strict=True):
        if not 0 <= value < float("inf"):
            raise InputError(
                f"the concentration of class {name!r} is {value}: a finite number of at least 0 was expected"
            )
    return values.clone(), how


def resolve_in(
    gauge: Gauge,
    weight: Float[Tensor, "classes m"],
    concentration: Concentration,
    class_names: Sequence[str],
    evidence: Evidence,
) -> tuple[Float[Tensor, " classes"], str]:
    """As `resolve`, of a final layer's weight in a gauge, whose rows are not kept: they are twice its memory.

    Args:
        gauge: of the directions.
        weight: the final layer's.
        concentration: as there.
        class_names: one a class.
        evidence: in the space of the gauge.

    Raises:
        InputError: as there, or a class without a direction.
    """
    rows = gauge.stored_rows(weight)
    require_directions(rows, gauge.said, class_names)
    return resolve(concentration, rows, class_names, evidence, gauge.directions)


@dataclass(frozen=True)
class _Seen:
    """Activations seen from their classes' directions: sums over each class of 1 - cos, and the numbers of them."""

    versine: Float[Tensor, " classes"]
    count: Int[Tensor, " classes"]
    zero: Int[Tensor, " classes"]
    rounding: float

    def __str__(self) -> str:
        zero = int(self.zero.sum())
        left_out = f" ({zero:,} zero ones left out)" if zero else ""
        return f"{int(self.count.sum()):,} activations{left_out}"


def _seen(name: str, rows: Tensor, evidence: Evidence, class_names: Sequence[str]) -> _Seen:
    """By the activations where there are any, which give 1 - cos without cancellation; else by their moments."""
    if evidence.activations is not None and evidence.labels is not None:
        found = class_directions(evidence.activations, evidence.labels, rows, class_names)
        sums = torch.zeros_like(found.resultant).index_add_(0, found.labels, found.versine)
        return _Seen(sums, found.count, found.zero, torch.finfo(evidence.activations.dtype).eps ** 2)
    what = f"the concentration {name!r} is"
    moments = evidence.of_directions(*rows.shape, class_names, what)
    cosines = in_parts(_along, rows, moments.total)
    count, zero = (part.to(rows.device) for part in (moments.count, moments.zero))
    return _Seen((count - cosines).clamp_min(0), count, zero, 4 * torch.finfo(torch.float64).eps)


def _along(rows: Tensor, total: Tensor) -> Tensor:
    """How far each class's sum of unit vectors reaches along its row."""
    return (total.to(rows.device) * unit(rows.double())).sum(1)


def _lengths(rows: Tensor) -> Tensor:
    return norms_of(rows.double())


def _require_spread(which: str, deficit: float, rounding: float) -> None:
    """Refuse activations that differ from the weight's direction by no more than the rounding of their numbers.

    The likelihood grows without end there; what would be found is the inverse of that rounding, such as 1e33.

    Args:
        which: concentration, for the message.
        deficit: 1 - mean cosine.
        rounding: what it is where all lie along the weight.
    """
    if deficit <= rounding:
        raise InputError(
            f"the concentration {which}: all its activations lie along its direction, up to rounding, so that the "
            "likelihood has no maximum and the concentration would be infinite; give a number, or take norms"
        )
