"""What a benchmark says of each map: its curve, its score, and how far that is from chance and from itself blurred."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor

from analysis.jacobians.curves import CurveDifference, PerturbationCurve, perturbation_curve, score_difference
from apps.jacobians.drawing import BLURRED, RANDOM, WHOLE, hangs_on_nothing

SURE = 0.95
"""How sure a difference must be to be spoken of, by Student's t on both sides: with three trainings that is 4.3
standard errors, with 200 images 2.0."""


@dataclass(frozen=True)
class Judged:
    """One map.

    Attributes:
        name: of the map.
        curve: over fractions, with errors over images, or over seeds of trainings.
        from_random: its score less that of random maps, in pairs; None of those, and without them.
        by_blur: of a blurred map, its score less that of the map itself, in pairs; None of others.
    """

    name: str
    curve: PerturbationCurve
    from_random: CurveDifference | None
    by_blur: CurveDifference | None

    @property
    def of_method(self) -> bool:
        """Whether it hangs on the network."""
        return self.name != WHOLE and not hangs_on_nothing(self.name)


def judged(fractions: Sequence[float], values: Mapping[str, Float[Tensor, "rows fractions"]]) -> list[Judged]:
    """What values say of each map.

    Args:
        fractions: of the pixels that went.
        values: by map, a row for each image or training, in the same order for all.

    Raises:
        InputError: values that are not finite.
    """
    return [
        Judged(
            name,
            perturbation_curve(fractions, own),
            score_difference(own, values[RANDOM]) if RANDOM in values and name not in (RANDOM, WHOLE) else None,
            score_difference(own, values[name.removesuffix(BLURRED)]) if name.endswith(BLURRED) else None,
        )
        for name, own in values.items()
    ]


def improved(change: CurveDifference, pairs: int, better: int) -> bool:
    """Whether a score changed for the better, as surely as `SURE` says.

    Args:
        change: a mean of differences.
        pairs: of how many.
        better: 1 where higher scores are, else -1.
    """
    if pairs < 2:
        return False
    return change.value * better > float(stdtrit(pairs - 1, (1 + SURE) / 2)) * change.standard_error


def helped_by_blur(found: Sequence[Judged], better: int) -> tuple[list[Judged], int]:
    """The methods' maps that a benchmark calls better for being blurred, and how many there are."""
    blurred = [one for one in found if one.by_blur is not None and one.of_method]
    return [one for one in blurred if improved(one.by_blur, one.curve.images, better)], len(blurred)


def no_better_than(
    found: Sequence[Judged], values: Mapping[str, Float[Tensor, "rows fractions"]], control: str, better: int
) -> list[str]:
    """Methods whose maps are not surely better than a control's."""
    methods = [one for one in found if one.of_method and not one.name.endswith(BLURRED)]
    differences = {one.name: score_difference(values[one.name], values[control]) for one in methods}
    return [one.name for one in methods if not improved(differences[one.name], one.curve.images, better)]
