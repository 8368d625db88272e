"""Pictures: grids of samples by class, reconstructions beside their originals, curves of a training."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from priors.errors import InputError
from priors.storage import write_bytes

PICTURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp")


def to_bytes(images: Float[Tensor, "*batch channels height width"]) -> np.ndarray:
    """Images in [0, 1] as uint8 with the channels last, rounded to the nearest level."""
    levels = images.detach().clamp(0, 1).mul(255).round().byte().cpu()
    return levels.movedim(-3, -1).numpy()


def mosaic(images: Float[Tensor, "rows columns channels height width"], gap: int = 1) -> np.ndarray:
    """Rows and columns of images as one picture (uint8, channels last), `gap` white pixels between neighbours."""
    pixels = to_bytes(images)
    rows, columns, height, width, channels = pixels.shape
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + gap), column * (width + gap)
            sheet[top : top + height, left : left + width] = pixels[row, column]
    return sheet


def grid(
    path: str | Path,
    panels: Sequence[Float[Tensor, "rows columns channels height width"]],
    titles: Sequence[str],
    row_names: Sequence[str] | None = None,
) -> None:
    """Draw one or several grids side by side, with the rows named at the left.

    Args:
        path: where to; the ending says which format.
        panels: grids with equally many rows, images in [0, 1].
        titles: one over each panel, or empty strings.
        row_names: one a row, such as the class names.
    """
    sheets = [mosaic(panel) for panel in panels]
    cell = max(0.24, min(0.5, 4.5 / max(len(panel[0]) for panel in panels)))  # inches an image
    widths = [len(panel[0]) * cell for panel in panels]
    rows = max(len(panel) for panel in panels)
    names = 0.12 + 0.085 * max(map(len, row_names)) if row_names else 0.1
    gap, title = 0.25, 0.35 if any(titles) else 0.08
    figure = Figure(figsize=(names + sum(widths) + gap * len(panels), rows * cell + title + 0.08), dpi=200)
    total_width, total_height = figure.get_size_inches()
    left = names
    for index, (sheet, width, text) in enumerate(zip(sheets, widths, titles, strict=True)):
        height = len(panels[index]) * cell
        axes = figure.add_axes(
            (left / total_width, (total_height - title - height) / total_height, width / total_width, height / total_height)
        )
        axes.imshow(sheet.squeeze(-1) if sheet.shape[-1] == 1 else sheet, cmap="gray", vmin=0, vmax=255, aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_title(text, fontsize=9)
        if index == 0 and row_names:
            step = sheet.shape[0] / len(row_names)
            axes.set_yticks([(row + 0.5) * step - 0.5 for row in range(len(row_names))], labels=row_names, fontsize=8)
            axes.tick_params(length=0)
        left += width + gap
    save(figure, path)


def reconstructions(path: str | Path, originals: Tensor, rebuilt: Tensor, title: str = "") -> None:
    """Originals (N, C, H, W) above what the model makes of them."""
    import torch

    grid(path, [torch.stack([originals, rebuilt])], [title], ["image", "rebuilt"])


def curves(path: str | Path, entries: Sequence[dict], title: str = "") -> None:
    """The metrics of a run over its steps: a panel a metric, training and validation in one.

    Args:
        path: where to.
        entries: the lines of `metrics.jsonl`: {"step": N, "train/NAME" or "validation/NAME": value}.
        title: over all panels.
    """
    series: dict[str, dict[str, tuple[list, list]]] = {}
    for entry in entries:
        for key, value in entry.items():
            kind, _, name = key.partition("/")
            if kind in ("train", "validation"):
                steps, values = series.setdefault(name, {}).setdefault(kind, ([], []))
                steps.append(entry["step"])
                values.append(value)
    if not series:
        raise InputError("no metrics to draw: the run has logged none yet")
    columns = min(3, len(series))
    rows = -(-len(series) // columns)
    figure = Figure(figsize=(4 * columns, 2.8 * rows), dpi=150, layout="constrained")
    for index, (name, kinds) in enumerate(series.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        for kind, (steps, values) in kinds.items():
            axes.plot(steps, values, label=kind, linewidth=1.2, color={"train": "#0072B2", "validation": "#D55E00"}[kind])
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, frameon=False)
    if title:
        figure.suptitle(title, fontsize=11)
    save(figure, path)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure in the format its ending names, atomically.

    Raises:
        InputError: no picture format has that ending.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise InputError(f"{path}: a picture ends in {', '.join(PICTURE_SUFFIXES)}")
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower().replace("jpg", "jpeg"))
    write_bytes(path, buffer.getvalue())
