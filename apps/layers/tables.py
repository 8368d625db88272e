"""What is printed of a sheet of layers."""

import math

from analysis.layers.agreement import Agreement
from apps.command.console import counted, paragraph, say, table
from apps.layers.agreeing import Pair
from apps.layers.lens import Lens, Reading
from apps.layers.sheet import Found, Sheet


def print_sheets(found: Found) -> None:
    """A table a network: a row a layer and a column a lens; then why there are gaps."""
    for number, sheet in enumerate(found.sheets):
        there = [name for name in found.lenses if sheet.views[name].readings]
        table(
            f"{sheet.name}: its layers, on {counted(found.count, 'image')} of {found.images}",
            ("layer", "gives", *(_head(found.lenses[name]) for name in there)),
            [_row(sheet, layer.name, layer.shape, there) for layer in sheet.layers],
            "" if number else "; ".join(f"{found.lenses[name].title}: {found.lenses[name].meaning}" for name in there),
        )
        for note in sheet.notes():
            paragraph(f"{note}.")
        for reason in sheet.reasons():
            paragraph(f"Without {reason}.")
        say()


def print_pairs(found: Found) -> None:
    """How far lenses agree; nothing where there are no two to compare."""
    told = [pair for pair in found.pairs if pair.changes is not None]
    for pair in found.pairs:
        if pair.without:
            paragraph(f"Without the agreement of {' and '.join(pair.lenses)}: {pair.without}.")
    if not told:
        return
    say()
    level = told[0].changes.level
    table(
        "do they agree on where information goes? Correlations over images within a step from a layer to the next",
        ("lenses", "images", "steps", "changes", f"{level:.0%}", "places", f"{level:.0%}", "means alike"),
        [_pair(pair) for pair in told],
        _caption(found),
    )
    say()


def _caption(found: Found) -> str:
    over = "networks and steps" if len(found.sheets) > 1 else "steps"
    return (
        "changes: whether an image that loses much in a step by one lens does so by the other, mean over "
        f"{over}; places: the same after each image's mean over its other steps is taken out. 1: the same images, 0: "
        "nothing to do with one another, or noise. Intervals take images for a sample, layers too where there are "
        "several steps, networks too where three share them. means alike: steps in which the mean over images goes the "
        "same way by both, which falling curves always do"
    )


def _head(lens: Lens) -> str:
    return f"{lens.title} ({lens.unit})" if lens.unit else lens.title


def _row(sheet: Sheet, name: str, shape: tuple[int, ...], there: list[str]) -> tuple[str, ...]:
    readings = (sheet.views[lens].readings.get(name) for lens in there)
    return name, "x".join(map(str, shape)), *("-" if one is None else said(one) for one in readings)


def said(one: Reading) -> str:
    """A value with its error, to two digits of that.

    Example:
        >>> said(Reading(-412.1234, 3.21, 100)), said(Reading(0.12345, 0.00123, 100))
        ('-412.1 +- 3.2', '0.1235 +- 0.0012')
    """
    if not math.isfinite(one.value):
        return "-"
    if not math.isfinite(one.error) or one.error <= 0:
        return f"{one.value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(one.error)))
    return f"{one.value:,.{digits}f} +- {one.error:.{digits}f}"


def _pair(pair: Pair) -> tuple[str, ...]:
    whole = pair.changes
    alike = f"{sum(whole.alike)} of {sum(map(len, whole.each))}"
    cells = f"{whole.images:,}", str(whole.steps), *_interval(whole), *_interval(pair.places)
    return " and ".join(pair.lenses), *cells, alike


def _interval(one: Agreement | None) -> tuple[str, str]:
    return ("-", "-") if one is None else (f"{one.correlation:+.2f}", f"{one.lowest:+.2f} to {one.highest:+.2f}")
