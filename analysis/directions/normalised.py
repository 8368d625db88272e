"""Are directions enough to classify: top-1 accuracy with activations and weights normalised.

Section 2.3 and table 1 of Seo, Lee and Kwak (On the distribution of penultimate activations of classification networks,
2021). Their logits are w_i.a, without a bias (equations 1 and 2). There the norm of an activation changes no ranking;
that of a weight does, and so does a bias b_i. To normalise is here

    a  ->  s a / ||a||,        s the mean norm of the activations,
    w  ->  t w / ||w||,        t the mean norm of the classes' weights.

Without a bias every s and t rank alike, so these are the paper's unit vectors. With one they keep the bias as large
beside w_i.a as it was: norms become what the paper takes them for, constants. That is what "bias kept" means; to add
the bias to cosines, s = t = 1, is a variant of its own.

Which directions these are is a matter of the gauge (`priors.gauge.gauge`). With v = T (a - a0), r_i = T^-T w_i + c and
b'_i = b_i + w_i . a0 the logits r_i . v + b'_i are those of the network, but for c . v, which all classes share. So in
another gauge norms are taken out of v and r_i, and b'_i is the bias. Of the classes' own mean directions, which no
weight enters, there are no such logits: only cosines are looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from priors.checks.floats import require_floats
from priors.checks.labels import class_numbers
from priors.errors import InputError
from priors.gauge.gauge import Gauge
from priors.gauge.space import Space
from priors.reading.heads import Head

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
        right: which images these are.
    """

    name: str
    activations: Length
    weights: Length
    bias: bool
    correct: int
    accuracy: float
    drop_rate: float
    right: Bool[Tensor, " n"] = field(repr=False, compare=False)


@dataclass(frozen=True)
class NormalisedAccuracy:
    """Top-1 accuracy by variant; the first is the network as it is.

    Attributes:
        images: how many were classified.
        zero: how many of their activations are zero: these have no direction, and are left as they are.
        activation_norm: mean norm of the activations in the gauge's space; what follows is in the gauge, too.
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
    gauge: Gauge | None = None,
) -> NormalisedAccuracy:
    """Classify by a final linear layer as it is, and with norms taken out.

    A head without a bias has no variants that keep it; those that drop it keep their names. With mean directions there
    are the first and the paper's alone.

    Args:
        activations: penultimate ones, unnormalised, of any floating-point type. Logits are computed in float32, or in
            float64 where these are.
        labels: their classes, of any type of whole numbers.
        weight: the final layer's, one row a class.
        bias: the final layer's.
        gauge: in which norms are taken out, on the same device; logits there are computed in float64. One that is
            measured should be so on other images. Unset: what training left, as the paper has it.

    Raises:
        InputError: nothing to classify, shapes that do not fit, labels out of range, values that are not finite, a
            class whose weight is zero, no activation that is not, or a gauge of which `head_in` says so.

    Example:
        >>> weight = torch.tensor([[1.0, 0.0], [0.0, 4.0]])
        >>> found = normalised_accuracy(torch.tensor([[2.0, 1.0], [1.0, 2.0]]), torch.tensor([0, 1]), weight)
        >>> found["original"].accuracy, found["both normalised, bias dropped"].accuracy
        (0.5, 1.0)
    """
    labels = _require(activations, labels, weight, bias)
    gauge = gauge or Gauge()
    network = _Classifier(Space(), Head(weight, bias), torch.promote_types(activations.dtype, torch.float32))
    there = network
    if not gauge.is_the_papers:
        there = _Classifier(gauge.space.to(torch.float64), head_in(gauge, weight, bias), torch.float64)
    long, wide = there.norms(activations), there.head.weight.double().norm(dim=1)
    zero = int((long == 0).sum())
    if zero == len(long):
        raise InputError(f"all {zero} activations are zero: they have no direction, the network is dead")
    if bool((wide == 0).any()):
        raise InputError(f"the {gauge.said} of class {int((wide == 0).nonzero()[0])} is zero: it has no direction")
    divisor = torch.where(long > 0, long, 1)
    rescaled = {
        "own": (torch.ones_like(long), torch.ones_like(wide)),
        "mean": (long.mean() / divisor, wide.mean() / wide),
        "unit": (1 / divisor, 1 / wide),
    }
    own = rescaled["own"]
    right = network.right(activations, labels, *own, bias is not None)
    variants = [_variant(ORIGINAL, "own", "own", bias is not None, right, None)]
    for name, of_activations, of_weights, kept in _variants(there.head.bias is not None, gauge):
        scales = rescaled[of_activations][0], rescaled[of_weights][1]
        right = there.right(activations, labels, *scales, kept)
        variants.append(_variant(name, of_activations, of_weights, kept, right, variants[0]))
    return NormalisedAccuracy(
        images=len(labels),
        zero=zero,
        activation_norm=float(long.mean()),
        activation_spread=_spread(long),
        weight_norm=float(wide.mean()),
        weight_spread=_spread(wide),
        variants=tuple(variants),
    )


def head_in(gauge: Gauge, weight: Float[Tensor, "classes m"], bias: Float[Tensor, " classes"] | None = None) -> Head:
    """The final layer in a gauge, in float64: its logits of v = T (a - a0) are the network's but for a common term.

    Of mean directions, which no weight enters, they are those, without a bias.

    Args:
        gauge: of activations of the weight's dimension.
        weight: the final layer's.
        bias: the final layer's.

    Raises:
        InputError: a gauge of another size, or fitted directions with a scale of 0, which are one for all classes.

    Example:
        >>> head_in(Gauge(directions="centred"), torch.tensor([[1.0, 0.0], [0.0, 4.0]])).weight
        tensor([[ 0.5000, -2.0000],
                [-0.5000,  2.0000]], dtype=torch.float64)
    """
    size = (gauge.centre, gauge.factor, gauge.shift, gauge.means)
    if any(part is not None and part.shape[-1] != weight.shape[1] for part in size):
        raise InputError(f"the gauge is not of the weight's {weight.shape[1]} dimensions: give the one of its prior")
    if gauge.directions == "means":
        return Head(gauge.rows(weight), None)
    if gauge.directions == "fitted" and not bool(gauge.scale > 0):
        raise InputError(
            "the fitted directions are the same for all classes, since the weights point away from their images: take "
            "others"
        )
    return Head(
        gauge.head_rows(weight),
        gauge.space.to(torch.float64).bias(weight.double(), None if bias is None else bias.double()),
    )


def together(parts: Sequence[tuple[Tensor, NormalisedAccuracy]]) -> NormalisedAccuracy:
    """One result of several parts of a set, as where the gauge of each was measured on the others.

    Norms of activations are of all images; those of weights are the means over the parts.

    Args:
        parts: places (k,) of a part's images in the set, and what was found of them, by the same variants.
    """
    images = sum(len(places) for places, _ in parts)
    share = [len(places) / images for places, _ in parts]
    found = [one for _, one in parts]
    mean = sum(part * one.activation_norm for part, one in zip(share, found, strict=True))
    square = sum(
        part * one.activation_norm**2 * (1 + (one.activation_spread or 0) ** 2)
        for part, one in zip(share, found, strict=True)
    )
    variants: list[Variant] = []
    for several in zip(*(one.variants for one in found), strict=True):
        right = torch.zeros(images, dtype=torch.bool)
        for (places, _), variant in zip(parts, several, strict=True):
            right[places] = variant.right.cpu()
        one, first = several[0], variants[0] if variants else None
        variants.append(_variant(one.name, one.activations, one.weights, one.bias, right, first))
    spreads = [one.weight_spread for one in found]
    return NormalisedAccuracy(
        images=images,
        zero=sum(one.zero for one in found),
        activation_norm=mean,
        activation_spread=max(square - mean**2, 0) ** 0.5 / mean if images > 1 else None,
        weight_norm=sum(one.weight_norm for one in found) / len(found),
        weight_spread=None if None in spreads else sum(spreads) / len(found),
        variants=tuple(variants),
    )


def _spread(norms: Tensor) -> float | None:
    """Standard deviation of norms over their mean, where there are several."""
    return float(norms.std(correction=0) / norms.mean()) if len(norms) > 1 else None


def _variants(biased: bool, gauge: Gauge) -> list[tuple[str, Length, Length, bool]]:
    """Name, norms of activations and weights, and whether the bias is added; the original is none of them."""
    if gauge.directions == "means":
        return [(NORMALISED, "mean", "mean", False)]
    found: list[tuple[str, Length, Length, bool]] = [("bias dropped", "own", "own", False)] if biased else []
    for name, activations, weights in _WITHOUT_BIAS:
        if biased:
            found.append((f"{name}, bias kept", activations, weights, True))
        found.append((f"{name}, bias dropped", activations, weights, False))
    if biased:
        found.append(("both of unit length, bias kept", "unit", "unit", True))
    return found


def _variant(
    name: str, activations: Length, weights: Length, bias: bool, right: Tensor, first: Variant | None
) -> Variant:
    """A variant by which images it has right; `first` is the original."""
    correct = int(right.sum())
    before = correct if first is None else first.correct
    change = 100 * (correct / before - 1) if before else 0.0
    return Variant(name, activations, weights, bias, correct, correct / len(right), change, right)


@dataclass(frozen=True)
class _Classifier:
    """A final layer in a space of activations, and the type its logits are computed in."""

    space: Space
    head: Head
    dtype: torch.dtype

    def norms(self, activations: Tensor) -> Tensor:
        """In the space, in float64."""
        return torch.cat([self.space.bring(rows.double()).norm(dim=1) for rows in activations.split(_ROWS)])

    def right(self, activations: Tensor, labels: Tensor, lengths: Tensor, widths: Tensor, bias: bool) -> Tensor:
        """Which labels have the largest logit, activations and rows being multiplied by numbers first."""
        weight = (widths.unsqueeze(1) * self.head.weight).to(self.dtype)
        added = self.head.bias.to(self.dtype) if bias and self.head.bias is not None else None
        found = []
        for rows, factors, own in zip(*(part.split(_ROWS) for part in (activations, lengths, labels)), strict=True):
            scaled = self.space.bring(rows.to(self.dtype)) * factors.to(self.dtype).unsqueeze(1)
            found.append(torch.nn.functional.linear(scaled, weight, added).argmax(1) == own)
        return torch.cat(found)


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
