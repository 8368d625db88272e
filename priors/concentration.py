"""Where a class's concentration comes from: a number, one a class, or a strategy that reads it off the network.

A strategy is one decorated function here; its name is then accepted wherever a concentration is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.errors import InputError, unknown


@dataclass(frozen=True)
class Evidence:
    """What a strategy may look at besides the final layer's weight.

    Attributes:
        activations: penultimate activations (N, m) of images, unnormalised.
        labels: their classes (N,).
        activation_norm: the mean norm of penultimate activations, where it is known already.
    """

    activations: Float[Tensor, "n m"] | None = None
    labels: Int[Tensor, " n"] | None = None
    activation_norm: int | float | None = None


Concentration = int | float | str | Sequence[int] | Sequence[float] | Tensor
Strategy = Callable[[Tensor, Evidence], tuple[Tensor, str]]

STRATEGIES: dict[str, Strategy] = {}


def strategy(function: Strategy) -> Strategy:
    """Make a function the strategy of its name: it gives concentrations (classes,), and how in words."""
    STRATEGIES[function.__name__] = function
    return function


@strategy
def norms(weight: Float[Tensor, "classes m"], evidence: Evidence) -> tuple[Float[Tensor, " classes"], str]:
    """kappa_i = ||w_i|| ||a||, with the mean norm of the activations for ||a|| (Seo, Lee and Kwak 2021, equation 5)."""
    norm = evidence.activation_norm
    if norm is None:
        if evidence.activations is None:
            raise InputError(
                "the concentration 'norms' is ||w_i|| times the mean norm of the activations: give activations (N, m)"
                " or activation_norm"
            )
        _require_activations(evidence.activations, weight.shape[1])
        norm = float(evidence.activations.double().norm(dim=1).mean())
    if not 0 < norm < float("inf"):
        raise InputError(f"the mean norm of the activations is {norm}: a finite positive number was expected")
    return weight.double().norm(dim=1) * norm, f"norms: ||w_i|| times the mean activation norm {norm:.6g}"


def resolve(
    concentration: Concentration,
    weight: Float[Tensor, "classes m"],
    class_names: Sequence[str],
    evidence: Evidence,
) -> tuple[Float[Tensor, " classes"], str]:
    """Concentrations (classes,), float64, and in words how they were chosen.

    Raises:
        InputError: an unknown strategy, or one that lacks what it needs; a concentration that is negative, infinite or
            NaN (with the class's name); neither one for all nor one a class.
    """
    if isinstance(concentration, str):
        if concentration not in STRATEGIES:
            raise unknown("concentration strategy", concentration, STRATEGIES, "or give a number, or one a class")
        values, how = STRATEGIES[concentration](weight, evidence)
    else:
        values = torch.as_tensor(concentration, dtype=torch.float64, device=weight.device).detach()
        if values.numel() == 1 and values.ndim < 2:
            how = f"{values.item():.6g}, given for all classes"
            values = values.reshape(1).expand(len(weight))
        else:
            how = "one a class, given"
    if values.shape != (len(weight),):
        raise InputError(
            f"concentration has shape {tuple(values.shape)}: one number, or one for each of {len(weight)} classes"
        )
    for name, value in zip(class_names, values.tolist(), strict=True):
        if not 0 <= value < float("inf"):
            raise InputError(
                f"the concentration of class {name!r} is {value}: a finite number of at least 0 was expected"
            )
    return values.clone(), how


def _require_activations(activations: Tensor, m: int) -> None:
    if activations.ndim != 2 or activations.shape[1] != m or len(activations) == 0:
        raise InputError(f"activations have shape {tuple(activations.shape)}: (N, {m}) was expected, N at least 1")
    if not bool(activations.isfinite().all()):
        raise InputError("activations have values that are not finite")
