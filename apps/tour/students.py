"""The tour's picture of distillation: the accuracies of students, beside their teacher's."""

import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from apps.figures import save

_COLOURS = ("#999999", "#0072B2", "#D55E00")


def draw_students(path: Path, accuracies: Mapping[str, float], teacher: float, images: int) -> None:
    """Draw a bar for each student, with its standard error over test images, and a line for the teacher.

    Args:
        path: where to.
        accuracies: of each student, from 0 to 1, by what it learned from.
        teacher: its accuracy.
        images: to test on.
    """
    figure = Figure(figsize=(6.4, 2.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for place, (value, colour) in enumerate(zip(accuracies.values(), _COLOURS, strict=False)):
        error = 100 * math.sqrt(value * (1 - value) / images)
        axes.barh(place, 100 * value, xerr=error, color=colour, height=0.6, error_kw={"capsize": 3})
        axes.text(100 * value + error + 0.4, place, f"{100 * value:.1f} %", va="center", fontsize=9)
    axes.axvline(100 * teacher, color="black", linestyle="--", linewidth=1)
    axes.text(100 * teacher, -0.62, "teacher ", ha="right", va="center", fontsize=8)
    axes.set_yticks(range(len(accuracies)), [f"from {name}" for name in accuracies], fontsize=9)
    axes.invert_yaxis()
    lowest = 100 * min([teacher, *accuracies.values()])
    axes.set_xlim(max(0.0, lowest - 12), 104)
    axes.set_ylim(len(accuracies) - 0.4, -0.9)
    axes.set_xlabel(f"test accuracy in %, of {images} images; bars: standard error", fontsize=9)
    axes.tick_params(labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    save(figure, path)
