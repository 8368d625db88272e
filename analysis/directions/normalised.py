"""Are directions enough to classify: top-1 accuracy with activations and weights normalised.

Section 2.3 and table 1 of Seo, Lee and Kwak (On the distribution of penultimate activations of classification networks,
2021). Their logits are w_i.a, without a bias (equations 1 and 2). There the norm of an activation changes no ranking;
that of a weight does, and so does a bias b_i. To normalise is here

    a  ->  s a / ||a||,        s the mean norm of the activations,
    w  ->  t w / ||w||,        t the mean norm of the classes' weights.

Without a bias every s and t rank alike, so these are the paper's unit vectors. With one they keep the bias as large
beside w_i.a as it was: norms become what the paper takes them for, constants. That is what "bias kept" means; to add
the bias to cosines, s = t = 1, is a variant of its own.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.checks.floats import require_floats
from priors.checks.labels import class_numbers
from priors.errors import InputError

_ROWS = 4096
"""Activations at a time: logits of a large set are never held at once."""

Length = Literal["own", "mean", "unit"]
"""What a vector's norm is brought to: left as it is, the mean of its kind, or 1."""


@dataclass(frozen=True)
class Variant:
    """One way to take the logits, and how often they are right.

    Attributes:
        name: of the variant.
        activations, weights: their norms.
        bias: whether the bias is added.
        correct: images whose class has the largest logit.
        accuracy: the fraction of images that these are.
        drop_rate: change of the accuracy relative to the original's, in per cent; negative where it is lost, as table 1
            has it.
    """

    name: str
    activations: Length
    weights: Length
    bias: bool
    correct: int
    accuracy: float
    drop_rate: float


@dataclass(frozen=True)
class NormalisedAccuracy:
    """Top-1 accuracy by variant; the first is the network as it is.

    Attributes:
        images: how many were classified.
        zero: how many of their activations are zero: these have no direction, and are left as they are.
        activation_norm: mean norm of the activations.
        activation_spread: standard deviation of their norms over that mean; None of one image.
        weight_norm: mean norm of the classes' weights.
        weight_spread: standard deviation of these norms over that mean; 0 where the paper's model is exact; None of
            one class.
        variants: the accuracies.
    """

    images: int
    zero: int
    activation_norm: float
    activation_spread: float | None
    weight_norm: float
    weight_spread: float | None
    variants: tuple[Variant, ...]

    def __getitem__(self, name: str) -> Variant:
        """The variant of that name."""
        return next(variant for variant in self.variants if variant.name == name)


ORIGINAL = "original"
NORMALISED = "both normalised, bias dropped"
"""The paper's: cosines of activations and weights."""
NORMALISED_WITH_BIAS = "both normalised, bias kept"

_WITHOUT_BIAS: tuple[tuple[str, Length, Length], ...] = (
    ("activations normalised", "mean", "own"),
    ("weights normalised", "own", "mean"),
    ("both normalised", "mean", "mean"),
)


def normalised_accuracy(
    activations: Float[Tensor, "n m"],
    labels: Int[Tensor, " n"],
    weight: Float[Tensor, "classes m"],
    bias: Float[Tensor, " classes"] | None = None,
) -> NormalisedAccuracy:
    """Classify by a final linear layer as it is, and with norms taken out.

    A head without a bias has no variants that keep it; those that drop it keep their names.

    Args:
        activations: penultimate ones, unnormalised, of any floating-point type. Logits are computed in float32, or in
            float64 where these are.
        labels: their classes, of any type of whole numbers.
        weight: the final layer's, one row a class.
        bias: the final layer's.

    Raises:
        InputError: nothing to classify, shapes that do not fit, labels out of range, values that are not finite, a
            class whose weight is zero, or no activation that is not.

    Example:
        >>> weight = torch.tensor([[1.0, 0.0], [0.0, 4.0]])
        >>> found = normalised_accuracy(torch.tensor([[2.0, 1.0], [1.0, 2.0]]), torch.tensor([0, 1]), weight)
        >>> found["original"].accuracy, found["both normalised, bias dropped"].accuracy
        (0.5, 1.0)
    """
    labels = _require(activations, labels, weight, bias)
    dtype = torch.promote_types(activations.dtype, torch.float32)
    long, wide = activations.double().norm(dim=1), weight.double().norm(dim=1)
    zero = int((long == 0).sum())
    if zero == len(long):
        raise InputError(f"all {zero} activations are zero: they have no direction, the network is dead")
    if bool((wide == 0).any()):
        raise InputError(f"the weight of class {int((wide == 0).nonzero()[0])} is zero: it has no direction")
    divisor = torch.where(long > 0, long, 1)
    rescaled = {
        "own": (torch.ones_like(long), torch.ones_like(wide)),
        "mean": (long.mean() / divisor, wide.mean() / wide),
        "unit": (1 / divisor, 1 / wide),
    }
    variants: list[Variant] = []
    for name, of_activations, of_weights, kept in _variants(bias is not None):
        correct = _correct(
            activations,
            labels,
            rescaled[of_activations][0].to(dtype),
            (rescaled[of_weights][1].unsqueeze(1) * weight).to(dtype),
            bias.to(dtype) if kept and bias is not None else None,
        )
        first = variants[0].correct if variants else correct
        change = 100 * (correct / first - 1) if first else 0.0
        variants.append(Variant(name, of_activations, of_weights, kept, correct, correct / len(labels), change))
    return NormalisedAccuracy(
        images=len(labels),
        zero=zero,
        activation_norm=float(long.mean()),
        activation_spread=_spread(long),
        weight_norm=float(wide.mean()),
        weight_spread=_spread(wide),
        variants=tuple(variants),
    )


def _spread(norms: Tensor) -> float | None:
    """Standard deviation of norms over their mean, where there are several."""
    return float(norms.std(correction=0) / norms.mean()) if len(norms) > 1 else None


def _variants(biased: bool) -> list[tuple[str, Length, Length, bool]]:
    """Name, norms of activations and weights, and whether the bias is added."""
    found: list[tuple[str, Length, Length, bool]] = [(ORIGINAL, "own", "own", biased)]
    if biased:
        found.append(("bias dropped", "own", "own", False))
    for name, activations, weights in _WITHOUT_BIAS:
        if biased:
            found.append((f"{name}, bias kept", activations, weights, True))
        found.append((f"{name}, bias dropped", activations, weights, False))
    if biased:
        found.append(("both of unit length, bias kept", "unit", "unit", True))
    return found


def _correct(activations: Tensor, labels: Tensor, factors: Tensor, weight: Tensor, bias: Tensor | None) -> int:
    """How many labels have the largest logit."""
    correct = 0
    for rows in range(0, len(labels), _ROWS):
        part = slice(rows, rows + _ROWS)
        scaled = activations[part].to(factors.dtype) * factors[part].unsqueeze(1)
        logits = torch.nn.functional.linear(scaled, weight, bias)
        correct += int((logits.argmax(1) == labels[part]).sum())
    return correct


def _require(activations: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The labels in int64, where all that is given fits."""
    classes, m = weight.shape
    if activations.shape[1] != m or len(activations) == 0:
        raise InputError(f"activations have shape {tuple(activations.shape)}: (N, {m}) was expected, N at least 1")
    labels = class_numbers(labels, len(activations), classes)
    if bias is not None and len(bias) != classes:
        raise InputError(f"the bias has {len(bias)} values: {classes} were expected, one a class")
    for what, values in (("activations", activations), ("weights", weight), ("biases", bias)):
        if values is None:
            continue
        require_floats(values, what)
        if not bool(values.isfinite().all()):
            raise InputError(f"{what} have values that are not finite")
    return labels
