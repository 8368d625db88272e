"""The picture of a sheet: a row of panels over the same layers, one a lens, and what lenses agree on."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from apps.figures import legend, save, short_names
from apps.layers.lens import Lens
from apps.layers.sheet import Found, Sheet

# Okabe and Ito's colours, which colour-blind people can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_WIDTH, _HEIGHT = 2.7, 3.6
"""Of a panel, in inches."""
_EMPTY = 0.6
"""Of that width, what a panel has where a lens has no value at all."""
_LINE = 20
"""Characters of small print that such a panel is wide."""


def draw(path: str | Path, found: Found) -> None:
    """Draw all lenses side by side.

    Args:
        path: where to; the ending says which format.
        found: networks and lenses.
    """
    compared = [pair for pair in found.pairs if pair.changes is not None]
    panels = len(found.lenses) + bool(compared)
    legends = len(found.sheets) > 1
    empty = [not any(sheet.views[name].readings for sheet in found.sheets) for name in found.lenses]
    ratios = [_EMPTY if one else 1.0 for one in empty] + [1.2] * bool(compared)
    figure = Figure(figsize=(_WIDTH * sum(ratios), _HEIGHT + 0.4 * legends), dpi=150, layout="constrained")
    grid = figure.add_gridspec(1, panels, width_ratios=ratios)
    drawn: dict[str, Artist] = {}
    for number, (name, lens) in enumerate(found.lenses.items()):
        axes = figure.add_subplot(grid[0, number])
        _panel(axes, name, lens, found.sheets, drawn)
    if compared:
        _pairs(figure.add_subplot(grid[0, panels - 1]), found)
    if legends and drawn:
        names = dict(
            zip([sheet.name for sheet in found.sheets], short_names([s.name for s in found.sheets]), strict=True)
        )
        entries = [(artist, names[name]) for name, artist in drawn.items()]
        legend(figure, entries, loc="outside lower center", ncols=len(entries), fontsize=8, frameon=False)
    save(figure, path)


def _panel(axes: Axes, name: str, lens: Lens, sheets: Sequence[Sheet], drawn: dict[str, Artist]) -> None:
    """One lens: a line a network, broken where there is a gap; or why there is nothing."""
    axes.set_title(lens.title, fontsize=10)
    if not any(sheet.views[name].readings for sheet in sheets):
        axes.set_xticks([])
        axes.set_yticks([])
        reason = next(iter(sheets[0].views[name].gaps.values()), "no value")
        _write(axes, f"none: {reason}")
        return
    _layer_axis(axes, sheets)
    for number, sheet in enumerate(sheets):
        values = [sheet.views[name].readings.get(layer.name) for layer in sheet.layers]
        shift = (number - (len(sheets) - 1) / 2) * 0.08
        bars = axes.errorbar(
            [place + shift for place in range(len(values))],
            [math.nan if one is None else one.value for one in values],
            [0.0 if one is None or not math.isfinite(one.error) else one.error for one in values],
            color=_COLOURS[number % len(_COLOURS)],
            marker="o",
            markersize=4,
            linewidth=1.3,
            capsize=2.5,
        )
        drawn.setdefault(sheet.name, bars.lines[0])
        for place, one in enumerate(values):
            if one is None and len(sheets) == 1:
                axes.axvspan(place - 0.4, place + 0.4, color="0.94", zorder=0)
    axes.set_ylabel(lens.unit or "", fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(alpha=0.3)


def _layer_axis(axes: Axes, sheets: Sequence[Sheet]) -> None:
    """Layers by name where all networks have the same ones, else by number."""
    most = max(len(sheet.layers) for sheet in sheets)
    names = [[layer.name for layer in sheet.layers] for sheet in sheets]
    same = all(one == names[0] for one in names)
    ticks = short_names(names[0], most=16) if same else [str(number + 1) for number in range(most)]
    axes.set_xlim(-0.5, most - 0.5)
    steep = most > 4 or max(map(len, ticks)) > 6
    axes.set_xticks(range(most), ticks, fontsize=8, rotation=40 if steep else 0, ha="right" if steep else "center")
    for tick in axes.get_xticklabels():
        tick.set_rotation_mode("anchor")
        tick.set_parse_math(False)
    axes.set_xlabel("layer" if same else "layer, from the image on", fontsize=9)


def _pairs(axes: Axes, found: Found) -> None:
    """Correlations with their intervals, a row a pair of lenses."""
    pairs = [pair for pair in found.pairs if pair.changes is not None]
    drawn = {}
    for row, pair in enumerate(pairs):
        for of, one, shift, colour in (
            ("changes", pair.changes, -0.13, _COLOURS[0]),
            ("places", pair.places, 0.13, _COLOURS[1]),
        ):
            if one is not None:
                ends = [[max(0.0, one.correlation - one.lowest)], [max(0.0, one.highest - one.correlation)]]
                style = {"fmt": "o" if of == "changes" else "s", "color": colour, "markersize": 4, "capsize": 2.5}
                bars = axes.errorbar([one.correlation], [row + shift], xerr=ends, **style)
                drawn[of] = bars.lines[0]
    level = pairs[0].changes.level
    axes.axvline(0, color="0.4", linewidth=1, linestyle="--")
    axes.set_xlim(-1.05, 1.05)
    axes.set_xticks((-1, -0.5, 0, 0.5, 1))
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_yticks(range(len(pairs)), ["\n".join(pair.lenses) for pair in pairs], fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel(f"correlation over images, {level:.0%}", fontsize=9)
    axes.set_title("agreement on where it goes", fontsize=10)
    axes.grid(alpha=0.3, axis="x")
    entries = [(artist, of) for of, artist in drawn.items()]
    legend(axes, entries, fontsize=8, frameon=True, framealpha=0.9, loc="best")


def _write(axes: Axes, text: str) -> None:
    """Small print in the middle of a panel."""
    lines = textwrap.wrap(text, _LINE)
    axes.text(
        0.5,
        0.5,
        "\n".join(lines),
        transform=axes.transAxes,
        ha="center",
        va="center",
        fontsize=8,
        color="0.35",
        parse_math=False,
    )
