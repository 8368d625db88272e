"""The picture of shares inside: a row a map, with itself blurred beside it, and the share of even maps as a line."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from apps.figures import save
from apps.jacobians.inside.found import Inside
from apps.jacobians.perturbation.figures import coloured, draw_scores


def draw_inside(path: Path, model: str, found: Sequence[Inside]) -> None:
    """Draw all kinds of regions side by side.

    Args:
        path: where to.
        model: as it was given.
        found: of each kind.
    """
    colours, plain = coloured([one.name for one in found[0].judged])
    figure = Figure(figsize=(1.5 + 4.5 * len(found), 1.6 + 0.3 * len(plain)), dpi=150, layout="constrained")
    for axes, one in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        draw_scores(axes, one.judged, colours, plain)
        area = float(one.areas[one.used].mean())
        axes.axvline(area, color="#000000", linewidth=0.8, linestyle="--")
        axes.set_xlabel(f"mass inside the {one.region} (dashed: its area; hollow: blurred)", fontsize=9)
    figure.suptitle(
        f"{model}: share of each map's mass on the object; bars: standard errors over pictures",
        fontsize=10,
        parse_math=False,
    )
    save(figure, path)
