"""The picture of robustness: how norms are distributed, and how they grow with the rank of the wrong class."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from apps.classifiers.robustness.measuring import Robustness
from apps.classifiers.robustness.results import rank_mean
from apps.figures import save

_BAR, _LINE = "#56B4E9", "#D55E00"


def draw(path: Path, found: Robustness, title: str) -> None:
    """Draw a histogram of norms, and their means by rank.

    Args:
        path: where to.
        found: the norms.
        title: over both.
    """
    figure = Figure(figsize=(9, 3.6), dpi=150, layout="constrained")
    norms, ranks = figure.subplots(1, 2)
    norms.hist(found.norm[found.reached].numpy(), bins=40, color=_BAR)
    mean, _ = found.mean()
    norms.axvline(mean, color=_LINE, linewidth=1.4)
    norms.set_xlabel(f"L2 norm of the change, pixels in [0, 1] (line: the mean, {mean:.3g})", fontsize=9)
    norms.yaxis.set_major_locator(MaxNLocator(integer=True))
    norms.set_ylabel("pairs of an image and a wrong class", fontsize=9)
    means = [rank_mean(found, rank) for rank in range(found.norm.shape[1])]
    numbers = range(1, len(means) + 1)
    bars = [0 if error != error else error for _, error in means]
    ranks.errorbar(numbers, [mean for mean, _ in means], bars, color=_LINE, marker="o", markersize=3.5, linewidth=1.2)
    ranks.set_xlabel("rank of the wrong class (1: most probable)", fontsize=9)
    ranks.set_ylabel("L2 norm (bars: errors over images)", fontsize=9)
    ranks.set_ylim(bottom=0)
    ranks.xaxis.get_major_locator().set_params(integer=True)
    for axes in (norms, ranks):
        axes.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=10, parse_math=False)
    save(figure, path)
