"""What is printed of spectra."""

import math
from collections.abc import Sequence

from analysis.spectra.convention import SpectrumConvention
from apps.command.console import counted, paragraph, say, table
from apps.spectra.convention import said
from apps.spectra.exponents import MapSpectrum
from apps.spectra.found import Classes, Part, by_class, by_correctness, difference, kinds_of_maps
from apps.spectra.measuring import IMAGES

_HEADS = ("Whittle", "+-", "bias", "line", "+-", "bias")
"""Of the columns with both exponents."""
_SHOWN = 3
"""Classes that are named at each end."""


def print_network(part: Part, convention: SpectrumConvention) -> None:
    """A row for each layer, with its exponents, their errors and biases; then the line through depths."""
    accuracy = "" if part.accuracy is None else f", {part.accuracy:.2%} right"
    table(
        f"{part.name}: exponents of {counted(part.count, 'test image')} of {part.images} and of their maps{accuracy}",
        ("maps", "size", "depth", *_HEADS, "length", "implied"),
        [_row(part, one) for one in part.spectra.values() if not one.key.group],
        f"{said(convention)}; Whittle: the exponent of the power by maximum likelihood, +- over images; line: the "
        "exponent by regression, +- by how rings scatter; bias: of Gaussian fields of that size and exponent; "
        "depth: convolutions before; length: distance in pixels at which the correlation is 1/e, and the same of the "
        "power law alone; pooled: after 2x2 average pooling",
    )
    for reason in part.reasons():
        paragraph(f"Without: {reason}.")
    if (trend := part.trend()) is not None:
        bend = f"; of a bend beside the line p = {_p(trend.curvature_p_value)}"
        ends = f"{trend.level:.0%}: {trend.lowest:+.4f} to {trend.highest:+.4f}"
        paragraph(
            f"With depth the exponent changes by {trend.slope:+.4f} a convolution ({ends}; "
            f"{counted(trend.layers, 'layer')}, r^2 {trend.r_squared:.2f}, p = {_p(trend.p_value)}"
            f"{'' if math.isnan(trend.curvature_p_value) else bend})."
        )
    say()


def print_images(parts: Sequence[Part], convention: SpectrumConvention, notes: Sequence[str]) -> None:
    """Sets of images, the first of which the others are compared with."""
    own, several = parts[0].whole(IMAGES), len(parts) > 1
    table(
        "exponents of images" + (f", and how far they are from those of {parts[0].images}" if several else ""),
        ("images", "number", "size", *_HEADS, *(("difference", "+-") if several else ())),
        [_set(part, own, several) for part in parts],
        "; ".join(
            (
                said(convention),
                f"Whittle{' and difference' if several else ''}: by maximum likelihood, +- over images",
                *notes,
            )
        ),
    )
    for part in parts:
        for reason in part.reasons():
            paragraph(f"{part.name}, without: {reason}.")
    say()


def print_splits(part: Part) -> None:
    """Rightly against wrongly classified images, and classes, where images were split so."""
    pairs = {of: pair for of in kinds_of_maps(part) if (pair := by_correctness(part, of)) is not None}
    if pairs:
        right, wrong = next(iter(pairs.values()))
        table(
            f"exponents of {right.images:,} rightly and {wrong.images:,} wrongly classified images",
            ("maps", "right", "+-", "wrong", "+-", "wrong - right", "+-"),
            [_correctness(of, *pair) for of, pair in pairs.items()],
            "by maximum likelihood, +- over images",
        )
        say()
    found = [one for of in kinds_of_maps(part) if (one := by_class(part, of)) is not None]
    if found:
        table(
            f"exponents by class ({counted(len(found[0].exponents), 'class')})",
            ("maps", "steepest", "flattest", "spread", "p"),
            [_by_class(one) for one in found],
            "by maximum likelihood; spread: standard deviation over classes, less what errors add; p: of differences "
            "at least as large, were all classes alike",
        )
        say()


def print_training(parts: Sequence[Part]) -> None:
    """Exponents by update, a column for each kind of map."""
    kinds = kinds_of_maps(parts[0])[1:]
    table(
        f"{parts[-1].name}: exponents through training",
        ("step", "accuracy", *kinds),
        [
            (
                "-" if part.step is None else f"{part.step:,}",
                "-" if part.accuracy is None else f"{part.accuracy:.2%}",
                *(_number(part.whole(of).exponent, ".3f") for of in kinds),
            )
            for part in parts
        ],
        "by maximum likelihood",
    )
    say()


def _set(part: Part, own: MapSpectrum, several: bool) -> tuple[str, ...]:
    one = part.whole(IMAGES)
    cells = (part.name, f"{part.count:,}", _size(one), *_exponents(one))
    if one is own:
        return (*cells, "", "") if several else cells
    apart = difference(one, own)
    return *cells, _number(apart.value, "+.3f"), _number(apart.error, ".3f")


def _row(part: Part, one: MapSpectrum) -> tuple[str, ...]:
    depth = next((str(site.depth) for site in part.sites if site.name == one.key.of), "")
    lengths = (_number(length, ".1f") for length in (one.length, one.implied_length))
    return one.name, _size(one), depth, *_exponents(one), *lengths


def _exponents(one: MapSpectrum) -> tuple[str, ...]:
    """Both with their errors and biases."""
    line = one.regression
    return (
        _number(one.exponent, ".3f"),
        _number(one.error, ".3f"),
        "" if one.bias is None else _number(one.bias.whittle, "+.3f"),
        _number(math.nan if line is None else line.exponent, ".3f"),
        _number(math.nan if line is None else line.standard_error, ".3f"),
        "" if one.bias is None else _number(one.bias.regression, "+.3f"),
    )


def _size(one: MapSpectrum) -> str:
    return f"{one.channels}x{one.shape[0]}x{one.shape[1]}"


def _correctness(of: str, right: MapSpectrum, wrong: MapSpectrum) -> tuple[str, ...]:
    apart = difference(wrong, right)
    numbers = (f"{value:.3f}" for value in (right.exponent, right.error, wrong.exponent, wrong.error))
    return of, *numbers, f"{apart.value:+.3f}", f"{apart.error:.3f}"


def _by_class(one: Classes) -> tuple[str, ...]:
    order = sorted(one.exponents, key=lambda name: one.exponents[name][0])
    ends = (
        ", ".join(f"{name} {one.exponents[name][0]:.2f}" for name in names)
        for names in (order[:_SHOWN], order[-_SHOWN:])
    )
    return one.of, *ends, f"{one.spread:.3f}", _p(one.p_value)


def _number(value: float, form: str) -> str:
    if math.isinf(value):
        return "none"
    return format(value, form) if math.isfinite(value) else "-"


def _p(value: float) -> str:
    return "<.0001" if value < 1e-4 else f"{value:.2g}"
