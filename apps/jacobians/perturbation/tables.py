"""What is printed of a benchmark of saliency maps."""

import math
from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from analysis.jacobians.curves import CurveDifference
from analysis.jacobians.perturbation import pixel_count
from apps.command.console import counted, paragraph, say, table
from apps.data.image_set import ImageSet
from apps.jacobians.drawing import BLURRED, CENTRE, EDGES, RANDOM
from apps.jacobians.perturbation.found import Judged, helped_by_blur, no_better_than
from apps.jacobians.perturbation.settings import Perturbing

_BETTER = {1: "higher is better", -1: "lower is better", 0: "neither high nor low is better"}
_MEASURED = {"logit": "logit", "softmax": "probability", "accuracy": "accuracy"}
_MUCH = 0.1
"""Part of all pixels that are as removed ones would be, from which on that is said."""


def said_of_measure(config: Perturbing) -> str:
    """What is measured, in words.

    Example:
        >>> said_of_measure(Perturbing("runs/net")), said_of_measure(Perturbing("runs/net", "road"))
        ("|f(x') - f(x)| / |f(x)| of the logit f", 'accuracy')
    """
    if config.measured == "accuracy":
        return "accuracy"
    output = config.explained.of if config.measured == "logit" else _MEASURED[config.measured]
    if config.in_nats:
        change = "f(x') - f(x)" if config.signed else "|f(x') - f(x)|"
        return f"{change} of the {output} f, in nats"
    return f"(f(x') - f(x)) / f(x) of the {output} f" if config.signed else f"|f(x') - f(x)| / |f(x)| of the {output} f"


def said_of_removal(config: Perturbing) -> str:
    """What becomes of pixels, in words.

    Example:
        >>> said_of_removal(Perturbing("runs/net")), said_of_removal(Perturbing("runs/net", "roar"))
        ('the least salient pixels go black', 'the most salient pixels are filled by the mean colour')
    """
    ways = {
        "black": "go black",
        "mean": "are filled by the mean colour",
        "imputed": f"are filled in from around, with noise of {config.imputed_noise:g}",
    }
    return f"the {config.order} salient pixels {ways[config.filled]}"


def print_found(
    config: Perturbing,
    images: ImageSet,
    accuracy: float,
    same: float,
    found: Sequence[Judged],
    values: Mapping[str, Float[Tensor, "rows fractions"]],
    sigma: float,
) -> None:
    """Scores, curves, and what the controls say of the benchmark.

    Args:
        config: of the command.
        images: that were measured.
        accuracy: of the network on whole images; NaN where it is not known.
        same: part of all pixels that are of the colour that removed ones get.
        found: the maps.
        values: what they were found from.
        sigma: by which maps were blurred, in pixels.
    """
    retrained = config.benchmark == "roar"
    over = counted(config.seeds, "training") if retrained else counted(len(images), "image")
    title = f"{config.model}: {said_of_measure(config)} as {said_of_removal(config)}"
    right = "" if math.isnan(accuracy) else f"; {accuracy:.2%} right with all pixels"
    random, blurred = RANDOM in values, "blurred" in config.controls
    notes = ["less random: than the score of random maps"] if random else []
    notes += [f"by blurring: what a Gaussian of {sigma:.3g} pixels adds"] if blurred else []
    table(
        f"{title}: {'test images' if retrained else counted(len(images), 'test image')} of {images.name}{right}",
        ("map", "score", "+-", *(("less random", "+-") * random), *(("by blurring", "+-") * blurred)),
        [
            (
                one.name,
                *_numbers(one.curve.score, one.curve.score_error),
                *(_pair(one.from_random) * random),
                *(_pair(one.by_blur) * blurred),
            )
            for one in found
        ],
        f"score: mean over fractions, {_BETTER[config.better]}; +-: standard errors over {over}, of differences in "
        + "; ".join(["pairs", *notes]),
    )
    say()
    pixels = [pixel_count(part, *images.image_shape[1:]) for part in config.parts]
    table(
        f"{said_of_measure(config)}, by the part of the pixels that went",
        ("map", *(f"{100 * part:.3g} %" for part in config.parts)),
        [(one.name, *(f"{value:.3f}" for value in one.curve.mean.tolist())) for one in found],
        f"standard error: {max(_finite(found)):.3f} at most; in pixels: {', '.join(map(str, pixels))}"
        if _finite(found)
        else f"in pixels: {', '.join(map(str, pixels))}",
    )
    if same > _MUCH:
        paragraph(
            f"Caution: {same:.0%} of all pixels are {config.filled} already, and nothing changes where they go: such a "
            f"benchmark asks what is {config.filled}. --fill mean or --benchmark road asks more."
        )
    if config.better:
        print_controls(found, values, config.better, over, blurred=blurred)
    say()


def print_controls(
    found: Sequence[Judged],
    values: Mapping[str, Float[Tensor, "rows fractions"]],
    better: int,
    over: str,
    *,
    blurred: bool,
) -> None:
    """Whether the benchmark can be believed.

    Args:
        found: the maps.
        values: what they were found from.
        better: 1 where higher scores are, else -1.
        over: what errors are over, in words.
        blurred: whether maps were blurred beside themselves.
    """
    if not any(one.of_method and not one.name.endswith(BLURRED) for one in found):
        return
    sure = f"by a 95 % test over {over}"
    if blurred:
        helped, count = helped_by_blur(found, better)
        if helped:
            names = ", ".join(f"{one.name.removesuffix(BLURRED)} by {abs(one.by_blur.value):.4f}" for one in helped)
            paragraph(
                f"Caution: better for being blurred are {len(helped)} of {counted(count, 'map')} ({names}), {sure}: "
                "the benchmark favours blurry maps, so that a method's rank may say how smooth its maps are."
            )
        else:
            paragraph(f"Better for being blurred is none of {counted(count, 'map')}, {sure}.")
    for control, what in {
        RANDOM: "random maps",
        EDGES: "edges of the image, which know no network",
        CENTRE: "a Gaussian about the middle, which knows no image",
    }.items():
        if control not in values:
            continue
        if worse := no_better_than(found, values, control, better):
            paragraph(f"Caution: no better than {what}, {sure}: {', '.join(worse)}.")
        else:
            paragraph(f"Better than {what}, {sure}: every method.")


def _finite(found: Sequence[Judged]) -> list[float]:
    return [value for one in found for value in one.curve.standard_error.tolist() if math.isfinite(value)]


def _numbers(value: float, error: float) -> tuple[str, str]:
    return f"{value:.5f}", "-" if math.isnan(error) else f"{error:.5f}"


def _pair(change: CurveDifference | None) -> tuple[str, str]:
    if change is None:
        return "-", "-"
    return f"{change.value:+.5f}", "-" if math.isnan(change.standard_error) else f"{change.standard_error:.5f}"
