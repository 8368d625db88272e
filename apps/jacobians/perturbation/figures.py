"""The picture of a benchmark: curves with their errors, and beside them the scores, maps beside themselves blurred."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from apps.figures import legend, save
from apps.jacobians.drawing import BLURRED, CENTRE, EDGES, RANDOM, WHOLE
from apps.jacobians.perturbation.found import Judged
from apps.jacobians.perturbation.settings import Perturbing
from apps.jacobians.perturbation.tables import said_of_measure, said_of_removal

# Okabe and Ito's colours and two more, which colour-blind people can tell apart; greys for what knows no network.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#8C564B", "#5E3C99")
_CONTROLS = {RANDOM: "#000000", EDGES: "#888888", CENTRE: "#A8A8A8", WHOLE: "#BBBBBB"}
_MARKS = "osD^vP*X"
_WIDE = 20.0
"""Ratio of the largest fraction to the smallest from which on their axis is logarithmic."""


def draw(path: str | Path, config: Perturbing, found: Sequence[Judged], over: str) -> None:
    """Draw all maps.

    Args:
        path: where to; the ending says which format.
        config: of the command.
        found: the maps.
        over: what errors are over, in words.
    """
    colours, plain = coloured([one.name for one in found])
    figure = Figure(figsize=(11, max(4.4, 1.6 + 0.3 * len(plain))), dpi=150, layout="constrained")
    curves, scores = figure.subplots(1, 2, width_ratios=(1.5, 1))
    lines = _curves(curves, config, found, colours, plain)
    # Below both: within the axes a dozen names would lie on the curves.
    legend(figure, lines, loc="outside lower center", ncols=min(6, len(lines)), fontsize=7, frameon=False)
    draw_scores(scores, found, colours, plain)
    scores.set_xlabel("score, mean over fractions (hollow: blurred)", fontsize=9)
    better = {1: ", higher is better", -1: ", lower is better"}.get(config.better, "")
    figure.suptitle(
        f"{Path(config.model).name}: {said_of_removal(config)}; bars: standard errors over {over}",
        fontsize=10,
        parse_math=False,
    )
    curves.set_ylabel(said_of_measure(config) + better, fontsize=9, parse_math=False)
    save(figure, path)


def _curves(
    axes: Axes, config: Perturbing, found: Sequence[Judged], colours, plain: Sequence[str]
) -> list[tuple[Artist, str]]:
    """A line a map, dashed where it is blurred; returns those that are not, with their names."""
    drawn, parts = [], [100 * part for part in config.parts]
    for one in found:
        name = one.name.removesuffix(BLURRED)
        blurred = one.name != name
        mean, error = one.curve.mean.tolist(), one.curve.standard_error.nan_to_num(0).tolist()
        bars = axes.errorbar(
            parts,
            mean,
            error,
            color=colours[name],
            linestyle="--" if blurred else "-",
            marker=_MARKS[plain.index(name) % len(_MARKS)],
            markersize=4,
            markerfacecolor="white" if blurred else None,
            linewidth=1.0 if blurred else 1.5,
            elinewidth=0.8,
            capsize=1.5,
        )
        if not blurred:
            drawn.append((bars.lines[0], name))
    if parts[-1] / parts[0] > _WIDE:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(parts)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    some_blurred = len(found) > len(drawn)
    axes.set_xlabel("pixels that went, %" + some_blurred * " (dashed: blurred)", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    return drawn


def coloured(names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The colour of each map, and the names of those that are not blurred, in order."""
    plain = [name for name in names if not name.endswith(BLURRED)]
    methods = [name for name in plain if name not in _CONTROLS]
    return _CONTROLS | {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(methods)}, plain


def draw_scores(axes: Axes, found: Sequence[Judged], colours: Mapping[str, str], plain: Sequence[str]) -> None:
    """A row a map, with itself blurred beside it, hollow; a dotted line is where random maps are."""
    for one in found:
        name = one.name.removesuffix(BLURRED)
        blurred = one.name != name
        row = len(plain) - 1 - plain.index(name) - (0.22 if blurred else 0)
        error = one.curve.score_error
        axes.errorbar(
            one.curve.score,
            row,
            xerr=0 if error != error else error,
            color=colours[name],
            marker=_MARKS[plain.index(name) % len(_MARKS)],
            markersize=6,
            markerfacecolor="white" if blurred else None,
            capsize=2,
        )
        if name == RANDOM:
            axes.axvline(one.curve.score, color=colours[name], linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(plain)))
    axes.set_yticklabels(list(reversed(plain)), fontsize=8, parse_math=False)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", alpha=0.3)
