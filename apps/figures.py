"""Pictures: grids of samples by class, reconstructions beside their originals."""

import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, NullLocator
from torch import Tensor

from apps.command.console import printable
from priors.errors import InputError
from priors.files.regular import write_bytes

PICTURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp")

# Grids: dots an inch, then inches of margins, gaps and lines.
_DPI = 200
_MARGIN, _GAP, _LINE = 0.08, 0.25, 0.24
_SMALLEST, _LARGEST, _SPAN = 40, 110, 1600
"""In pixels: the least and the most that an image is wide, and about how wide and high a panel is."""
_MOST_PIXELS = 32_000
"""Longest side of a picture that all programs open."""
_ENDS = 0.005
"""Part of the values that lies beyond each end of a scale of maps."""
CELL, _BETWEEN, _CELL_DPI = 1.5, 0.08, 110
"""Sheets of cells: a cell and the gap between cells, in inches, and dots an inch."""


def to_levels(images: Float[Tensor, "*batch channels height width"]) -> UInt8[Tensor, "*batch channels height width"]:
    """Images in [0, 1] as uint8, rounded to the nearest level, where they are."""
    return images.detach().clamp(0, 1).mul(255).round().byte()


def to_bytes(images: Float[Tensor, "*batch channels height width"]) -> np.ndarray:
    """Images in [0, 1] as uint8 with the channels last, rounded to the nearest level."""
    return to_levels(images).cpu().movedim(-3, -1).numpy()


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

    A pixel of an image is a whole number of pixels of the picture, so that nothing is smeared.

    Args:
        path: where to; the ending says which format.
        panels: grids of images of one size, in [0, 1].
        titles: one over each panel, or empty strings.
        row_names: one a row of the tallest panel, such as the class names.

    Raises:
        InputError: more images than a picture can hold, or an ending that is of no picture.
    """
    sheets = [mosaic(panel) for panel in panels]
    rows, columns = (max(panel.shape[axis] for panel in panels) for axis in (0, 1))
    wanted = max(_SMALLEST, min(_LARGEST, _SPAN / columns, _SPAN / rows))
    longest = max(sum(sheet.shape[1] for sheet in sheets), *(sheet.shape[0] for sheet in sheets))
    scale = min(max(1, round(wanted / panels[0].shape[-1])), _MOST_PIXELS // longest)
    if scale == 0:
        raise InputError(
            f"{path}: {sum(panel.shape[0] * panel.shape[1] for panel in panels)} images are too many for one picture"
        )
    names = [_short(printable(name)) for name in row_names or ()]
    left = _MARGIN + (max(_width(name, 8) for name in names) + _MARGIN if names else 0)
    top = _MARGIN + (_LINE if any(titles) else 0)
    widths = [max(sheet.shape[1] * scale / _DPI, _width(text, 9)) for sheet, text in zip(sheets, titles, strict=True)]
    total_width = left + sum(widths) + _GAP * (len(panels) - 1) + _MARGIN
    total_height = top + max(sheet.shape[0] for sheet in sheets) * scale / _DPI + _MARGIN
    figure = Figure(figsize=(total_width, total_height), dpi=_DPI)
    for index, (sheet, text, room) in enumerate(zip(sheets, titles, widths, strict=True)):
        height, width = (size * scale / _DPI for size in sheet.shape[:2])
        axes = figure.add_axes(
            (
                left / total_width,
                (total_height - top - height) / total_height,
                width / total_width,
                height / total_height,
            )
        )
        pixels = sheet.repeat(3, -1) if sheet.shape[-1] == 1 else sheet
        axes.imshow(pixels, aspect="auto", interpolation="nearest")
        axes.set_axis_off()
        if text:
            figure.text(
                (left + width / 2) / total_width if room == width else left / total_width,
                (total_height - top + 0.06) / total_height,
                text,
                fontsize=9,
                ha="center" if room == width else "left",
                va="bottom",
                parse_math=False,
            )
        if index == 0:
            step = (panels[0].shape[-2] + 1) * scale / _DPI
            for row, name in enumerate(names):
                figure.text(
                    (left - _MARGIN) / total_width,
                    (total_height - top - (row + 0.5) * step) / total_height,
                    name,
                    fontsize=8,
                    ha="right",
                    va="center",
                    parse_math=False,
                )
        left += room + _GAP
    save(figure, path)


def _width(text: str, size: int) -> float:
    """How wide a text is in inches, at `size` points."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        return TextPath((0, 0), text.replace("$", r"\$"), size=size).get_extents().x1 / 72 if text.strip() else 0.0


def _short(name: str, most: int = 24) -> str:
    """A name that leaves room for the pictures."""
    return name if len(name) <= most else name[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def short_names(names: Sequence[str], most: int = 24) -> list[str]:
    """Names for where there is little room: of a path only its last parts, as many as tell it from the others.

    What is still longer than `most` is cut in its middle, unless another name would then be the same.

    Example:
        >>> short_names(["mnist", "/data/of/mine/test.npz"]), short_names(["one/test", "/data/two/test/"])
        (['mnist', 'test.npz'], ['one/test', 'two/test'])
    """
    parts = [[part for part in printable(name).split("/") if part] or [name] for name in names]

    def ends(index: int, count: int) -> str:
        return "/".join(parts[index][-count:])

    whole, half = [], (most - 1) // 2
    for index, own in enumerate(parts):
        others = [other for other in range(len(parts)) if parts[other] != own]
        count = next(
            (n for n in range(1, len(own)) if all(ends(index, n) != ends(other, n) for other in others)), len(own)
        )
        whole.append(ends(index, count))
    cut = [
        name if len(name) <= most else f"{name[: most - 1 - half]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"
        for name in whole
    ]
    return [name if cut.count(short) > whole.count(name) else short for name, short in zip(whole, cut, strict=True)]


def sheet_of_cells(
    rows: int, columns: int, text: str, *, above: float, below: float, words: float = 0.0
) -> tuple[Figure, Callable[[int, int], Axes]]:
    """A figure of square cells, and what gives each of them.

    Args:
        rows: of cells.
        columns: of cells.
        text: what the figure shows, which stands above.
        above: inches between that and the cells.
        below: inches at the foot.
        words: inches over and under each cell together.
    """
    step = CELL + _BETWEEN
    wide = _BETWEEN + columns * step
    lines = wrap(text, int(wide * 15))
    above += 0.16 + 0.16 * len(lines)
    high = above + below + rows * (step + words)
    figure = Figure(figsize=(wide, high), dpi=_CELL_DPI)
    figure.text(_BETWEEN / wide, 1 - 0.08 / high, "\n".join(lines), fontsize=9, va="top", parse_math=False)

    def cell(row: int, column: int) -> Axes:
        bottom = high - above - row * (step + words) - 0.35 * words - CELL
        place = (_BETWEEN + column * step) / wide, bottom / high, CELL / wide, CELL / high
        axes = figure.add_axes(place, label=f"{row} {column}")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_frame_on(False)
        return axes

    return figure, cell


def legend(place: Axes | Figure, entries: Sequence[tuple[Artist, str]], **given: Any) -> None:
    """Draw a legend whose names stand as they are: a `$` starts no formula, and a `_` in front hides none.

    Args:
        place: of one panel, or of all.
        entries: what is drawn, and what it is called.
        given: as for Matplotlib's own.
    """
    artists, names = zip(*entries, strict=True)
    drawn = place.legend(artists, ["?"] * len(names), **given)
    for text, name in zip(drawn.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def rgb(image: UInt8[Tensor, "channels height width"]) -> Float[np.ndarray, "height width 3"]:
    """An image as Matplotlib draws it: values in [0, 1], a grey one as three channels alike."""
    values = image.float().div(255).cpu().movedim(0, -1).numpy()
    return values.repeat(3, -1) if values.shape[-1] == 1 else values[..., :3]


def scale_of(values: Float[np.ndarray, "..."]) -> tuple[float, float]:
    """The ends of a scale of maps: what half a per cent of the finite values is below, and half a per cent above.

    Args:
        values: of all maps that have the scale; values that are not finite have no say.

    Returns:
        The lower end, and the upper one, which is above it; 0 and 1 where nothing is finite.
    """
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, [_ENDS, 1 - _ENDS]) if len(known) else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def update_axis(axes: Axes, steps: Sequence[int]) -> None:
    """Make the horizontal axis one of updates: logarithmic, but with a 0; ticks at powers of ten and at the end.

    Args:
        axes: of one panel.
        steps: all that are drawn.
    """
    least, most = min((step for step in steps if step), default=1), max(steps)
    axes.set_xscale("symlog", linthresh=least, linscale=0.5)
    powers = [10**power for power in range(12) if least <= 10**power and 2 * 10**power <= most]
    ticks = [0, *([least] if not powers or powers[0] > 2 * least else []), *powers, most]
    axes.set_xticks(sorted(set(ticks)))
    axes.set_xlim(-0.3 * least, 1.25 * max(most, least))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("updates", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)


def reconstructions(path: str | Path, originals: Tensor, rebuilt: Tensor, title: str = "") -> None:
    """Originals (N, C, H, W) above what the model makes of them."""
    import torch

    grid(path, [torch.stack([originals, rebuilt])], [title], ["image", "rebuilt"])


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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for what the font lacks
        figure.savefig(buffer, format=path.suffix[1:].lower().replace("jpg", "jpeg"))
    write_bytes(path, buffer.getvalue())
