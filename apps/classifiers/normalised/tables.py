"""What is printed of accuracies with norms taken out."""

from collections.abc import Sequence

from analysis.directions.normalised import (
    NORMALISED,
    NORMALISED_WITH_BIAS,
    ORIGINAL,
    Length,
    NormalisedAccuracy,
    Variant,
)
from apps.classifiers.normalised.gauges import InGauge
from apps.classifiers.prior.tables import said_names
from apps.command.console import counted, say, table
from priors.fit.gauge_comparison import paired


def print_variants(model: str, data: str, one: InGauge, how: str) -> None:
    """A row a variant.

    Args:
        model: as on the command line.
        data: name of the test images' set.
        one: the accuracies, and their gauge.
        how: on what gauges were measured, in words.
    """
    found = one.found
    lengths = "s and t are the mean norms, which change no ranking"
    if any(variant.bias for variant in found.variants[1:]):
        lengths = "s and t are the mean norms, so that b keeps its part; where it is dropped they change no ranking"
    zero = f"; {found.zero:,} activations are zero and stay so" if found.zero else ""
    a, w, _ = _letters(one)
    said = said_names(one.space, one.directions, one.shrinkage)
    table(
        f"{model} on {data}: top-1 accuracy on {counted(found.images, 'test image')}{said}",
        ("variant", "logit of a class", "top-1", "drop rate"),
        [
            (variant.name, _logit(one, variant), f"{variant.accuracy:.2%}", f"{variant.drop_rate:+.2f}%")
            for variant in found.variants
        ],
        f"|{a}| is {_norm(found.activation_norm, found.activation_spread)}, |{w}| "
        f"{_norm(found.weight_norm, found.weight_spread)}{zero}; {_explained(one)}{lengths}. Seo, Lee and Kwak (2021) "
        "compare the first row with both normalised, bias dropped. Drop rate: change relative to the first row."
        + (f" The gauge was {how}." if one.measured else ""),
    )


def print_gauges(scores: Sequence[InGauge], without: Sequence[str], how: str) -> None:
    """A row a gauge.

    Args:
        scores: in each, the paper's being the first.
        without: the reasons why other gauges are missing.
        how: on what gauges were measured, in words.
    """
    papers, rows = scores[0].found, []
    for one in scores:
        found = one.found
        shown = "-" if found is papers else _change(found, papers)
        rows.append(
            (one.space, one.directions, *_accuracy(found, NORMALISED), shown, *_accuracy(found, NORMALISED_WITH_BIAS))
        )
    say()
    table(
        f"in each gauge: top-1 accuracy on {counted(papers.images, 'test image')}, both normalised",
        ("space", "directions", "bias dropped", "drop rate", "above the first", "bias kept", "drop rate"),
        rows,
        f"the network as it is: {papers[ORIGINAL].accuracy:.2%}; drop rate: change relative to that; above the first: "
        "difference of the accuracies without a bias in points and its standard error, image by image; the gauges were "
        f"{how}" + "".join(f"; without {one}" for one in without),
    )


def _accuracy(found: NormalisedAccuracy, name: str) -> tuple[str, str]:
    """A variant's accuracy and drop rate, where there is such a variant."""
    if not any(variant.name == name for variant in found.variants):
        return "-", "-"
    return f"{found[name].accuracy:.2%}", f"{found[name].drop_rate:+.2f}%"


def _change(found: NormalisedAccuracy, papers: NormalisedAccuracy) -> str:
    """In points, with its standard error over images."""
    above, error = paired(*(100 * one[NORMALISED].right.double() for one in (found, papers)))
    return f"{above:+.2f} +- {error:.2f}"


def _letters(one: InGauge) -> tuple[str, str, str]:
    """What activations, rows and biases are called in a gauge."""
    if one.directions == "weights" and one.space == "raw":
        return "a", "w", "b"
    return ("a", "r", "b") if one.space == "raw" else ("v", "r", "b'")


def _logit(one: InGauge, variant: Variant) -> str:
    """How a variant's logits are made; the network's own are so in every gauge."""
    a, w, b = ("a", "w", "b") if variant.name == ORIGINAL else _letters(one)
    added = f" + {b}" if variant.bias else ""
    return f"{_scaled(w, 't', variant.weights)} . {_scaled(a, 's', variant.activations)}{added}"


def _scaled(letter: str, length: str, kind: Length) -> str:
    """A vector brought to a norm."""
    return {"own": letter, "mean": f"{length} {letter}/|{letter}|", "unit": f"{letter}/|{letter}|"}[kind]


def _explained(one: InGauge) -> str:
    """What the letters of a gauge stand for."""
    a, w, b = _letters(one)
    found = {
        "v": f"v is the activation in the {one.space} space, T (a - a0); ",
        "r": "r the mean direction of the class's activations; "
        if one.directions == "means"
        else f"r the class's weight in this gauge ({one.directions}); ",
        "b'": "b' = b + w . a0; " if one.directions != "means" else "",
    }
    return "".join(found.get(letter, "") for letter in (a, w, b))


def _norm(mean: float, spread: float | None) -> str:
    """A mean norm with its spread, where there are several."""
    return f"{mean:.4g}" if spread is None else f"{mean:.4g} +- {spread:.0%}"
