"""Pictures of out-of-distribution scores and of calibration."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from analysis.directions.calibration import Calibration
from apps.figures import legend, save, short_names

# Okabe and Ito's colours, which colour-blind people can tell apart; lines differ in dashes as well.
_INSIDE = "#56B4E9"
_OUTSIDE = (("#D55E00", "-"), ("#000000", "--"), ("#009E73", "-."), ("#CC79A7", ":"), ("#E69F00", (0, (5, 1, 1, 1))))
_BAR, _LINE = "#0072B2", "#D55E00"
_BINS = 80
_SHOWN = (0.005, 0.995)
"""Quantiles of each set between which scores are drawn."""
_BEYOND = 1.5
"""How far a panel reaches beyond the classifier's own images at most, in widths of theirs: tails of others are long."""
_COLUMNS = 3


def histograms(
    path: str | Path,
    inside: tuple[str, Mapping[str, Float[Tensor, " n"]]],
    outside: Mapping[str, Mapping[str, Float[Tensor, " k"]]],
    notes: Mapping[str, Mapping[str, str]],
    quantities: Mapping[str, str],
    title: str = "",
) -> None:
    """Draw how scores are distributed, a panel a score.

    A set is as high as its highest bin. What lies beyond a panel's ends is counted into its outermost bins, which are
    cut off at that height.

    Args:
        path: where to.
        inside: name of the classifier's own images, and their values by score.
        outside: the same for each other set.
        notes: by set and score, a word for the legend.
        quantities: by score, what the axis says.
        title: over all panels.
    """
    name, own = inside
    called = dict(zip((name, *outside), short_names((name, *outside)), strict=True))
    rows = -(-len(own) // _COLUMNS)
    figure = Figure(figsize=(4 * _COLUMNS, 2.9 * rows + 0.4), dpi=150, layout="constrained")
    for index, (score, values) in enumerate(own.items()):
        axes = figure.add_subplot(rows, _COLUMNS, index + 1)
        edges = _edges(values, [other[score] for other in outside.values()])
        drawn = [(axes.stairs(_density(values, edges), edges, fill=True, color=_INSIDE), called[name])]
        for number, (other, scores) in enumerate(outside.items()):
            colour, dashes = _OUTSIDE[number % len(_OUTSIDE)]
            note = notes.get(other, {}).get(score, "")
            heights = _density(scores[score], edges)
            line = axes.stairs(heights, edges, color=colour, linestyle=dashes, linewidth=1.4)
            drawn.append((line, f"{called[other]} {note}".strip()))
        axes.set_title(score, fontsize=10)
        axes.set_xlabel(quantities[score], fontsize=8)
        axes.set_ylim(0, 1.15 + 0.09 * len(outside))  # the legend stands above the bins
        axes.set_ylabel("images a bin, fullest = 1" if index % _COLUMNS == 0 else "", fontsize=8)
        axes.set_yticks([0, 0.5, 1])
        axes.tick_params(labelsize=8)
        legend(axes, drawn, fontsize=8, frameon=False, loc="upper left")
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    save(figure, path)


def _edges(inside: Tensor, outside: list[Tensor]) -> np.ndarray:
    """The ends of the bins."""
    quantiles = inside.new_tensor(_SHOWN)
    own, *rest = (values.quantile(quantiles).tolist() for values in (inside, *outside))
    width = max(own[1] - own[0], 1e-6 * max(1.0, *map(abs, own)))
    low = max(min(own[0], *(ends[0] for ends in rest)), own[0] - _BEYOND * width)
    high = min(max(own[1], *(ends[1] for ends in rest)), own[1] + _BEYOND * width)
    return np.linspace(low, max(high, low + width), _BINS + 1)


def _density(values: Tensor, edges: np.ndarray) -> np.ndarray:
    """How many values are in each bin, relative to the fullest one between the panel's ends, and 1 at most."""
    counts, _ = np.histogram(np.clip(values.numpy(), edges[0], edges[-1]), edges)
    return np.minimum(counts / (counts[1:-1].max() or counts.max()), 1)


def reliability(path: str | Path, calibrations: Mapping[str, Calibration], title: str = "") -> None:
    """Draw reliability diagrams side by side: accuracy by confidence, and below how often that confidence is met.

    Args:
        path: where to.
        calibrations: by name.
        title: over all panels.
    """
    columns = len(calibrations)
    figure = Figure(figsize=(3.6 * columns, 4.6), dpi=150, layout="constrained")
    grid = figure.add_gridspec(2, columns, height_ratios=(3, 1))
    for column, (name, found) in enumerate(calibrations.items()):
        edges, counts = found.edges.numpy(), found.counts.numpy()
        axes = figure.add_subplot(grid[0, column])
        axes.stairs(found.accuracies.nan_to_num(0).numpy(), edges, fill=True, color=_BAR, alpha=0.35)
        axes.plot([0, 1], [0, 1], color="#000000", linewidth=0.8, linestyle="--", label="calibrated")
        met = counts > 0
        axes.plot(
            found.confidences.numpy()[met],
            found.accuracies.numpy()[met],
            color=_LINE,
            marker="o",
            markersize=3.5,
            linewidth=1.2,
            label="found",
        )
        axes.set_title(f"{name}\nECE {found.ece:.2%}, NLL {found.nll:.3f}", fontsize=10)
        axes.set_ylabel("accuracy" if column == 0 else "", fontsize=9)
        axes.legend(fontsize=8, frameon=False, loc="upper left")
        below = figure.add_subplot(grid[1, column], sharex=axes)
        below.stairs(counts / counts.sum(), edges, fill=True, color="#999999")
        below.set_ylabel("images" if column == 0 else "", fontsize=9)
        below.set_xlabel("confidence", fontsize=9)
        below.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.tick_params(labelbottom=False, labelsize=8)
        below.tick_params(labelsize=8)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        below.set_ylim(0, 1)
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    save(figure, path)
