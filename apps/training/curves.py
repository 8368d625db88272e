"""The picture of a training: what it logged over its steps, under the names and units of the run's page."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from apps.figures import save
from apps.runs.quantities import panels
from priors.errors import InputError

_COLOURS = {"train": "#0072B2", "validation": "#D55E00", "test": "#009E73"}
_COLUMNS = 3


def curves(path: str | Path, entries: Sequence[dict], title: str = "") -> None:
    """Draw a panel a quantity, with training and held-out images in one.

    A curve of one point, such as that of a single validation, is a dot.

    Args:
        path: where to.
        entries: the lines of `metrics.jsonl`: {"step": N, "train/NAME" or "validation/NAME": value}.
        title: over all panels.

    Raises:
        InputError: nothing has been logged that moved, or no picture has that ending.
    """
    drawn = panels(entries)
    if not drawn:
        raise InputError("no metrics to draw: the run has logged none that moved")
    columns = 2 if len(drawn) == 4 else min(_COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(4 * columns, 2.8 * rows), dpi=150, layout="constrained")
    for index, panel in enumerate(drawn):
        axes = figure.add_subplot(rows, columns, index + 1)
        for curve in panel.curves:
            dot = "o" if len(curve.values) == 1 else None
            colour = _COLOURS[curve.kind]
            axes.plot(curve.steps, curve.values, label=curve.kind, linewidth=1.2, color=colour, marker=dot, ms=4)
        axes.set_title(panel.name, fontsize=10, parse_math=False)
        axes.set_xlabel("; ".join(("step", *panel.notes)), fontsize=8, parse_math=False)
        axes.set_ylabel(panel.unit, fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, frameon=False)
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    save(figure, path)
