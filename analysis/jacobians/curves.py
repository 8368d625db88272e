"""What happens to a network's output as more and more pixels go: a curve, with errors, and one number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from priors.checks.floats import at_least_float32
from priors.errors import InputError


@dataclass(frozen=True)
class PerturbationCurve:
    """What came of images with a part of their pixels gone, as means over images.

    Attributes:
        fractions: of the pixels, rising; (points,).
        mean: over images, at each fraction; (points,).
        standard_error: of that; NaN of one image.
        images: how many.
        score: the mean over images of each one's mean over fractions: the area under the curve, where all of the given
            fractions weigh alike.
        score_error: its standard error; NaN of one image.
    """

    fractions: tuple[float, ...]
    mean: Float[Tensor, " points"]
    standard_error: Float[Tensor, " points"]
    images: int
    score: float
    score_error: float


@dataclass(frozen=True)
class CurveDifference:
    """How much higher one method's score is than another's, image by image.

    Attributes:
        value: mean of the differences.
        standard_error: of that, over images; NaN of one image.
    """

    value: float
    standard_error: float


def fractional_change(
    before: Shaped[Tensor, "..."], after: Shaped[Tensor, "..."], *, signed: bool = False
) -> Float[Tensor, "..."]:
    """|f(x') - f(x)| / |f(x)|, what removing pixels does to an output (Srinivas and Fleuret 2019).

    Args:
        before: f(x), broadcast against `after`; an output of 0 gives infinity, or NaN where nothing changed.
        after: f(x').
        signed: whether (f(x') - f(x)) / f(x) is wanted instead, so that rises and falls of images cancel.

    Example:
        >>> fractional_change(torch.tensor([4.0, -2.0]), torch.tensor([3.0, -3.0])).tolist()
        [0.25, 0.5]
        >>> fractional_change(torch.tensor([4.0, -2.0]), torch.tensor([3.0, -3.0]), signed=True).tolist()
        [-0.25, 0.5]
    """
    before, after = at_least_float32(before, "outputs"), at_least_float32(after, "outputs")
    change = (after - before) / before
    return change if signed else change.abs()


def perturbation_curve(fractions: Sequence[int | float], values: Shaped[Tensor, "..."]) -> PerturbationCurve:
    """The curve of one method.

    Args:
        fractions: of the pixels that were removed, rising.
        values: what came of each image at each of them, as its `fractional_change`; (images, fractions).

    Raises:
        InputError: no images, fractions that do not rise or are not as many as the values', or values that are not
            finite.

    Example:
        >>> curve = perturbation_curve([0.1, 0.5], torch.tensor([[0.0, 1.0], [0.2, 0.8]]))
        >>> [round(value, 2) for value in (*curve.mean.tolist(), curve.score)]
        [0.1, 0.9, 0.5]
    """
    values = _checked(values)
    fractions = tuple(float(one) for one in fractions)
    if len(fractions) != values.shape[1] or list(fractions) != sorted(set(fractions)):
        raise InputError(
            f"fractions {', '.join(f'{one:g}' for one in fractions)} with values at {values.shape[1]}: as many were "
            "expected, rising"
        )
    variance, mean = torch.var_mean(values, 0) if len(values) > 1 else (values[0] * math.nan, values[0])
    score = with_error(values.mean(1))
    return PerturbationCurve(
        fractions, mean, (variance / len(values)).sqrt(), len(values), score.value, score.standard_error
    )


def score_difference(first: Shaped[Tensor, "..."], second: Shaped[Tensor, "..."]) -> CurveDifference:
    """How much higher the first method's score is than the second's: a mean of paired differences.

    Args:
        first: values as for `perturbation_curve`, (images, fractions).
        second: of the same images and fractions, such as those of random maps.

    Raises:
        InputError: other shapes, or values that are not finite.
    """
    first, second = _checked(first), _checked(second)
    if first.shape != second.shape:
        raise InputError(
            f"values of shape {tuple(first.shape)} and {tuple(second.shape)}: the same images and fractions were "
            "expected"
        )
    return with_error((first - second).mean(1))


def _checked(values: Tensor) -> Tensor:
    """In double precision."""
    values = at_least_float32(values, "values").double()
    if values.ndim != 2 or not values.numel():
        raise InputError(f"values are of shape {tuple(values.shape)}: (images, fractions) was expected")
    if not bool(values.isfinite().all()):
        raise InputError("values are not finite: an output was 0 or not finite before pixels were removed")
    return values


def with_error(values: Tensor) -> CurveDifference:
    """The mean of one value an image, and its standard error."""
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return CurveDifference(float(values.mean()), error)
