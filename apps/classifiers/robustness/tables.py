"""What is printed of robustness."""

import math

from apps.classifiers.robustness.measuring import Robustness
from apps.classifiers.robustness.results import rank_mean
from apps.classifiers.robustness.settings import RobustnessMeasuring
from apps.command.console import counted, ends, paragraph, say, table
from apps.data.image_set import ImageSet


def print_found(config: RobustnessMeasuring, images: ImageSet, found: Robustness) -> None:
    """A table, a row for each rank of wrong classes and one for all; then what does not count."""
    root = math.sqrt(found.values)
    rows = []
    for rank in range(found.norm.shape[1]):
        mean, error = rank_mean(found, rank)
        failed, already = int((~found.reached[:, rank]).sum()), int(found.already[:, rank].sum())
        rows.append((str(rank + 1), *_told(mean, error, root), failed, already))
    shown, said = ends(rows, "rank")
    failed, already = int((~found.reached).sum()), int(found.already.sum())
    shown.append(("all", *_told(*found.mean(), root), failed, already))
    departure = "their label" if config.departure == "label" else "what the network predicts"
    changed = f"{counted(len(images), 'image')} of {images.name}"
    told = [
        f"L2: norm of the change, pixel values in [0, 1], by {config.method} with {counted(config.steps, 'step')}",
        "+-: over images",
        f"RMS: L2 over the root of an image's {found.values:,} values",
        f"wrong classes by their probability (1: the most probable), all but {departure}",
        "failed: not reached, and not counted",
        "already: given without a change, counted as 0",
    ]
    table(
        f"the smallest change by which {config.model} gives {changed} a wrong class",
        ("wrong class", "L2", "+-", "RMS", "failed", "already"),
        shown,
        "; ".join(told) + said,
    )
    mean, error = found.mean(~found.already)
    if already and not math.isnan(mean):
        paragraph(
            f"Without the {counted(already, 'pair')} of an image and a class that it was given already, the mean is "
            f"{mean:.4g} (+- {_number(error)})."
        )
    if failed:
        paragraph(
            f"{counted(failed, 'pair')} of {found.norm.numel():,} failed: the mean is of the others, and so too small "
            "rather than too large; more --steps may reach them."
        )
    say()


def _told(mean: float, error: float, root: float) -> tuple[str, str, str]:
    return _number(mean), _number(error), _number(mean / root)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"
