"""Pictures of spectra: on logarithmic axes, with the fitted lines; exponents by depth and through training."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from apps.figures import legend, save, short_names, update_axis
from apps.spectra.exponents import MapSpectrum
from apps.spectra.found import Part, kinds_of_maps
from apps.spectra.measuring import IMAGES

# Okabe and Ito's colours, which colour-blind people can tell apart.
_COLOURS = ("#000000", "#E69F00", "#0072B2", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
_DASHES = ("-", "--", ":", "-.")
_WIDTH, _HEIGHT = 4.8, 4.2
"""Of a panel, in inches."""
_NAMED = 7
"""Layers that have a colour each; more are coloured along a scale."""


def draw(path: str | Path, parts: Sequence[Part], images: Sequence[Part]) -> None:
    """Draw the spectra of a command: a panel of the images and the last layer, one of all layers, one of depths.

    Args:
        path: where to; the ending says which format.
        parts: networks, the one that was asked for first; none where images were measured alone.
        images: sets of images, the one that others are compared with first; none where there are no others.
    """
    panels = []
    if parts:
        panels += [lambda axes: _first(axes, parts[0]), lambda axes: _layers(axes, parts)]
    if images:
        panels.append(lambda axes: _sets(axes, images))
    if any(part.trend() is not None for part in parts):
        panels.append(lambda axes: _depths(axes, parts))
    figure = Figure(figsize=(_WIDTH * len(panels), _HEIGHT), dpi=150, layout="constrained")
    for number, panel in enumerate(panels, 1):
        panel(figure.add_subplot(1, len(panels), number))
    save(figure, path)


def draw_training(path: str | Path, parts: Sequence[Part]) -> None:
    """Draw exponents by update, a line for each layer.

    Args:
        path: where to.
        parts: a run at its moments, in order, each with its step.
    """
    figure = Figure(figsize=(_WIDTH + 1, _HEIGHT), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    kinds = kinds_of_maps(parts[0])[1:]
    steps = [part.step or 0 for part in parts]
    drawn = []
    for number, of in enumerate(kinds):
        found = [part.whole(of) for part in parts]
        bars = axes.errorbar(
            steps,
            [one.exponent for one in found],
            [one.error for one in found],
            color=_colour(number, len(kinds)),
            marker="o",
            markersize=3,
            linewidth=1.3,
        )
        drawn.append((bars.lines[0], of))
    update_axis(axes, steps)
    axes.set_ylabel("exponent of the power (Whittle)", fontsize=9)
    axes.set_title(f"{parts[-1].name} through training", fontsize=10, parse_math=False)
    legend(axes, _some(drawn), fontsize=8, frameon=False)
    save(figure, path)


def _first(axes: Axes, part: Part) -> None:
    """Images and the last layer's maps, as they are and pooled."""
    names = [IMAGES, *([part.sites[-1].name] if part.sites else [])]
    found = [
        (one, number) for number, of in enumerate(names) for halved in (False, True) if (one := part.whole(of, halved))
    ]
    drawn = []
    for one, number in found:
        colour = (_COLOURS[2], _COLOURS[4])[number]
        line = ":" if one.key.pooled else "-"
        drawn += _spectrum(axes, one, colour, line, fitted=not one.key.pooled)
    _dress(axes, found[0][0], f"{_named([part.images])[0]} and the last layer's maps", drawn)


def _layers(axes: Axes, parts: Sequence[Part]) -> None:
    """All layers, a dash pattern a network."""
    drawn, patterns = [], []
    names = _named([part.name for part in parts])
    for which, part in enumerate(parts):
        dash = _DASHES[which % len(_DASHES)]
        for number, site in enumerate(part.sites):
            colour = _colour(number, len(part.sites))
            entries = _spectrum(axes, part.whole(site.name), colour, dash, fitted=False)
            drawn += entries if which == 0 else []
        patterns.append((Line2D([], [], color="0.4", linestyle=dash, linewidth=1.3), names[which]))
    _dress(
        axes,
        parts[0].whole(parts[0].sites[0].name),
        "maps of all layers",
        _some(drawn) + (patterns if len(parts) > 1 else []),
    )


def _sets(axes: Axes, images: Sequence[Part]) -> None:
    """Sets of images, with their fitted lines."""
    drawn = []
    for number, (part, name) in enumerate(zip(images, _named([part.name for part in images]), strict=True)):
        drawn += _spectrum(axes, part.whole(IMAGES), _colour(number, len(images)), "-", fitted=True, name=name)
    _dress(axes, images[0].whole(IMAGES), "images", drawn)


def _depths(axes: Axes, parts: Sequence[Part]) -> None:
    """Exponents by depth, with the line and the interval of its slope."""
    drawn, names = [], _named([part.name for part in parts])
    for number, part in enumerate(parts):
        colour = _COLOURS[(2, 4, 3, 6)[number % 4]]
        known = [(site.depth, part.whole(site.name)) for site in part.sites]
        x, y = [depth for depth, _ in known], [one.exponent for _, one in known]
        axes.errorbar(x, y, [one.error for _, one in known], color=colour, linestyle="", marker="o", markersize=4)
        trend, name = part.trend(), names[number]
        if trend is not None:
            ends = np.array([min(x), max(x)], dtype=float)
            axes.plot(ends, trend.intercept + trend.slope * ends, color=colour, linewidth=1.2)
            name = f"{name}:\n{trend.slope:+.3f} [{trend.lowest:+.3f}, {trend.highest:+.3f}]"
        drawn.append((Line2D([], [], color=colour, marker="o", markersize=4), name))
    axes.set_xlabel("convolutions before", fontsize=9)
    axes.set_ylabel("exponent of the power (Whittle)", fontsize=9)
    axes.set_title("exponent by depth: slope a convolution [95 %]", fontsize=10)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    legend(axes, drawn, fontsize=8, frameon=False)


def _spectrum(
    axes: Axes, one: MapSpectrum, colour: object, dash: str, *, fitted: bool, name: str = ""
) -> list[tuple[Line2D, str]]:
    """One spectrum, over what white maps of its variance would have, and the line through it."""
    x = one.spectrum.frequency.cpu().numpy()
    unit = _unit(one)
    y = one.spectrum.value.cpu().numpy() / unit
    logs = one.spectrum.convention.quantity == "log"
    if not logs and not (y > 0).any():
        return []
    (line,) = axes.plot(x, y, color=colour, linestyle=dash, linewidth=1.4)
    said = [f"{found:.2f}" for found in (one.regression and one.regression.exponent, one.exponent) if _is(found)]
    if fitted and one.regression is not None:
        ring = one.spectrum.ring.cpu().numpy()
        inside = (ring >= one.regression.lowest - 1e-9) & (ring <= one.regression.highest + 1e-9)
        ends = x[inside][[0, -1]]
        height = one.regression.log_scale + one.regression.exponent * np.log(ends) - math.log(unit)
        axes.plot(ends, height if logs else np.exp(height), color=colour, linestyle=(0, (4, 2)), linewidth=0.9)
    return [(line, f"{name or one.name}: {' / '.join(said) or 'no exponent'}")]


def _named(names: Sequence[str]) -> list[str]:
    """Names for a legend, with what is said after a comma kept."""
    parts = [name.partition(", ") for name in names]
    short = short_names([name for name, _, _ in parts])
    return [f"{name}{comma}{more}" for name, (_, comma, more) in zip(short, parts, strict=True)]


def _is(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _unit(one: MapSpectrum) -> float:
    """What a spectrum is divided by: its own value were the maps white."""
    if one.variance <= 0 or one.spectrum.convention.quantity == "log":
        return 1.0
    return math.sqrt(one.variance) if one.spectrum.convention.quantity == "amplitude" else one.variance


def _dress(axes: Axes, one: MapSpectrum, title: str, drawn: list[tuple[Line2D, str]]) -> None:
    """Axes, title and legend of a panel of spectra."""
    convention = one.spectrum.convention
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=99))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if convention.quantity != "log":
        axes.set_yscale("log")
    axes.set_xlabel("|k| (cycles per pixel)", fontsize=9)
    quantity = {"power": "power over the variance", "amplitude": "amplitude over the deviation", "log": "log power"}
    axes.set_ylabel(f"{quantity[convention.quantity]}, {convention.reduction} over a ring", fontsize=9)
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    if drawn:
        legend(axes, drawn, fontsize=8, frameon=False, title="exponent: line / Whittle", title_fontsize=8)


def _colour(number: int, count: int) -> object:
    """Of one of so many, in order."""
    if count < _NAMED:
        return _COLOURS[number + 1]
    from matplotlib import colormaps

    return colormaps["viridis"](0.9 * number / max(1, count - 1))


def _some(drawn: list) -> list:
    """All entries of a legend, or the first, the middle and the last of many."""
    if len(drawn) <= _NAMED:
        return drawn
    return [drawn[0], drawn[len(drawn) // 2], drawn[-1]]
