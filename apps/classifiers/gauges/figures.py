"""The picture of how a classifier's gauge moves while it is trained."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from apps.classifiers.gauges.stages import GaugeStage
from apps.figures import legend, save, update_axis

# Okabe and Ito's colours, which colour-blind people can tell apart; spaces differ in dashes and markers.
_DIRECTIONS = {"weights": "#000000", "centred": "#0072B2", "fitted": "#D55E00", "means": "#009E73"}
_SPACES = {"raw": ("-", "o"), "whitened": ("--", "s")}
_RUNS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_WIDTH, _HEIGHT = 3.6, 2.9
"""Of a panel, in inches."""


def draw(path: str | Path, runs: Mapping[str, Sequence[GaugeStage]], laws: Mapping[str, Sequence[float]]) -> None:
    """Draw cosines and log-densities by step, and the relative length of the sum of the weights.

    One run's panels stand in a row. Of several, each has a column, and one panel at the right holds all their sums.
    Steps are on a logarithmic axis that begins with 0.

    Args:
        path: where to; the ending says which format.
        runs: by name, what was measured, in order.
        laws: by name, the mean row's length by the law of the sum of weights, NaN without one.
    """
    several = len(runs) > 1
    rows, columns = (2, len(runs) + 1) if several else (1, 3)
    figure = Figure(figsize=(_WIDTH * columns + 0.4, _HEIGHT * rows + 0.5), dpi=150, layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    first: list[Axes | None] = [None, None]
    for number, (name, found) in enumerate(runs.items()):
        for part, panel in enumerate((_cosines, _densities)):
            axes = figure.add_subplot(grid[(part, number) if several else (0, part)], sharey=first[part])
            _steps(axes, [found])
            panel(axes, found, number == 0)
            axes.set_title(name if part == 0 or not several else "", fontsize=10, parse_math=False)
            first[part] = first[part] or axes
    _sums(figure.add_subplot(grid[:, -1]), runs, laws)
    colours = [(Line2D([], [], color=colour, linewidth=2.5), name) for name, colour in _DIRECTIONS.items()]
    dashes = [
        (Line2D([], [], color="0.4", linestyle=line, marker=marker, markersize=4), f"{name} space")
        for name, (line, marker) in _SPACES.items()
    ]
    legend(figure, colours + dashes, loc="outside upper left", ncols=6, fontsize=9, frameon=False)
    save(figure, path)


def _cosines(axes: Axes, found: Sequence[GaugeStage], named: bool) -> None:
    """Mean cosines by step, a line a gauge; the axis is named in the first of several panels."""
    for gauge in _gauges(found):
        _line(axes, gauge, found, [one.cosine.get(gauge, math.nan) for one in found])
    axes.set_ylabel("mean cosine with the class's direction" if named else "", fontsize=9)


def _densities(axes: Axes, found: Sequence[GaugeStage], named: bool) -> None:
    """Log-densities above the paper's gauge by step, a line a gauge."""
    axes.axhline(0, color=_DIRECTIONS["weights"], linewidth=0.8)
    for gauge in _gauges(found):
        if any(gauge in one.above for one in found):
            _line(axes, gauge, found, [one.above.get(gauge, (math.nan,))[0] for one in found])
    axes.set_ylabel("log q(a|i) above raw weights (nats)" if named else "", fontsize=9)


def _gauges(found: Sequence[GaugeStage]) -> list[str]:
    return list(dict.fromkeys(name for one in found for name in one.cosine))


def _line(axes: Axes, gauge: str, found: Sequence[GaugeStage], values: Sequence[float]) -> None:
    """One gauge's values by step."""
    space, _, directions = gauge.partition(", ")
    line, marker = _SPACES[space]
    axes.plot(
        _at(found), values, color=_DIRECTIONS[directions], linestyle=line, marker=marker, markersize=3, linewidth=1.2
    )


def _sums(axes: Axes, runs: Mapping[str, Sequence[GaugeStage]], laws: Mapping[str, Sequence[float]]) -> None:
    """The relative length of the mean row by step, a line a run, and what the law makes of it."""
    _steps(axes, list(runs.values()))
    drawn = []
    for number, (name, found) in enumerate(runs.items()):
        colour = _RUNS[number % len(_RUNS)]
        lengths = [one.total.length for one in found]
        drawn += [(axes.plot(_at(found), lengths, color=colour, marker="o", markersize=3, linewidth=1.3)[0], name)]
        by_law = [
            one.total.length * value / one.total.mean_row if one.total.mean_row else math.nan
            for one, value in zip(found, laws[name], strict=True)
        ]
        if any(map(math.isfinite, by_law)):
            axes.plot(_at(found), by_law, color=colour, linestyle=":", marker="x", markersize=6, linewidth=1)
    if any(math.isfinite(value) for law in laws.values() for value in law):
        drawn.append((Line2D([], [], color="0.4", linestyle=":", marker="x", markersize=6, linewidth=1), "by the law"))
    if any(one.total.length > 0 for found in runs.values() for one in found):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=99))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_title("the sum of the weights", fontsize=10)
    axes.set_ylabel("|mean weight| / mean |weight|", fontsize=9)
    legend(axes, drawn, fontsize=8, frameon=False)


def _at(found: Sequence[GaugeStage]) -> list[int]:
    """Steps; where the run does not say, one that there is not."""
    return [found[-2].step + 1 if one.step is None and len(found) > 1 else one.step or 0 for one in found]


def _steps(axes: Axes, several: Sequence[Sequence[GaugeStage]]) -> None:
    """The axis of steps."""
    update_axis(axes, [step for found in several for step in _at(found)])
