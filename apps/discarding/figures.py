"""Pictures of discarded information: curves by layer (figure 3), and maps on one scale (figure 1, appendices C, D)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from apps.command.console import printable
from apps.discarding.measuring import Entropies, Measured, whole_maps
from apps.discarding.settings import DiscardSettings
from apps.discarding.shown import Shown
from apps.discarding.tables import over_images, said_of_alpha
from apps.figures import legend, rgb, save, scale_of, sheet_of_cells

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind people can tell apart."""
_MAPS = colormaps["viridis"]
_WIDTH, _HEIGHT = 4.8, 3.9
"""Of a panel, in inches."""
_LETTERS, _LINES, _WIDE = 20, 8, 32
"""Letters and lines of a text in a cell, and letters of one under it."""
_FINE = 4
"""Parts of a pixel's side by which outlines follow its edges."""
_TITLES = {
    "sid": "strict information discarding (SID)",
    "ru": "reconstruction uncertainty (RU)",
    "concentration": "concentration: SID of background less object",
}


def draw_curves(path: Path, config: DiscardSettings, found: Mapping[str, Sequence[Measured]], images: int) -> None:
    """A panel for each metric: its mean over images by layer, with standard errors, a line for each network.

    Args:
        path: where to.
        config: what was asked for.
        found: by network, of its layers in order.
        images: how many there are.
    """
    metrics = config.measured
    figure = Figure(figsize=(_WIDTH * len(metrics), _HEIGHT + 0.3), dpi=150, layout="constrained")
    alike = len({tuple(one.layer for one in layers) for layers in found.values()}) == 1
    for number, metric in enumerate(metrics, 1):
        axes = figure.add_subplot(1, len(metrics), number)
        drawn = []
        for which, (name, layers) in enumerate(found.items()):
            means, errors = zip(*(over_images(_values(one, metric)) for one in layers), strict=True)
            x = np.arange(len(layers)) if alike else np.linspace(0, 1, len(layers))
            bars = axes.errorbar(
                x,
                means,
                np.nan_to_num(errors),
                color=_COLOURS[which % len(_COLOURS)],
                marker="o",
                markersize=4,
                linewidth=1.3,
                capsize=2,
            )
            drawn.append((bars.lines[0], printable(name)))
        _dress(axes, metric, [one.layer for one in next(iter(found.values()))] if alike else None)
        if number == 1:
            legend(axes, drawn, fontsize=8, frameon=False)
    said = f"Means over {images} images, bars: standard errors; {said_of_alpha(config)}."
    figure.suptitle("\n".join(wrap(said, int(15 * _WIDTH * len(metrics)))), fontsize=8, parse_math=False)
    save(figure, path)


def draw_maps(
    path: Path, config: DiscardSettings, shown: Shown, found: Mapping[str, Sequence[Measured]], metric: str
) -> None:
    """A row for each image and network: the image, and a layer's map a column, all on one scale in nats.

    Args:
        path: where to.
        config: what was asked for.
        shown: the images.
        found: by network, of its layers in order.
        metric: "sid" or "ru".
    """
    drawn = min(config.shown, len(shown.images))
    maps = {
        name: [whole_maps(_entropies(one, metric).maps[:drawn], shown.images.image_shape) for one in layers]
        for name, layers in found.items()
    }
    values = np.concatenate([one.double().numpy().ravel() for layers in maps.values() for one in layers])
    low, high = scale_of(values)  # of those that are drawn it may be that none could be measured
    columns = 1 + max(map(len, maps.values()))
    text = (
        f"{_TITLES[metric]} by pixel, in nats a value, by {said_of_alpha(config)}. One scale for all: bright is "
        "discarded, dark is kept. " + ("White outlines: the object. " if shown.objects is not None else "")
    )
    figure, cell = sheet_of_cells(drawn * len(maps), max(columns, 4), text, above=0.2, below=0.35, words=0.2)
    for number in range(drawn):
        for which, (name, layers) in enumerate(maps.items()):
            row = number * len(maps) + which
            _left(cell(row, 0), shown, number, name if len(maps) > 1 else "", first=which == 0)
            for column, one in enumerate(layers, start=1):
                axes = cell(row, column)
                level = ((one[number].double().numpy() - low) / (high - low)).clip(0, 1)
                axes.imshow(_MAPS(level), interpolation="nearest")
                _outline(axes, shown, number)
                if number == 0 and (which == 0 or not _alike(found)):
                    title = _short(list(found.values())[which][column - 1].layer)
                    axes.set_title(title, fontsize=8, parse_math=False, pad=3)
    _scale(figure, low, high)
    save(figure, path)


def _values(one: Measured, metric: str) -> Tensor:
    """Of each image."""
    return one.concentration if metric == "concentration" else _entropies(one, metric).mean


def _entropies(one: Measured, metric: str) -> Entropies:
    return one.sid if metric == "sid" else one.ru


def _alike(found: Mapping[str, Sequence[Measured]]) -> bool:
    return len({tuple(one.layer for one in layers) for layers in found.values()}) == 1


def _dress(axes: Axes, metric: str, layers: Sequence[str] | None) -> None:
    axes.set_title(_TITLES[metric], fontsize=10)
    axes.set_ylabel("nats a value", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    if metric == "concentration":
        axes.axhline(0, color="0.5", linewidth=0.8)
    if layers is None:
        axes.set_xticks([0, 1], ["first layer", "last layer"])
        axes.set_xlabel("layers in order, evenly spaced", fontsize=9)
        return
    names = [_short(name) for name in layers]
    long = max(map(len, names)) > 8 or len(names) > 7
    axes.set_xticks(range(len(names)), names, rotation=40 if long else 0, ha="right" if long else "center")
    for label in axes.get_xticklabels():
        label.set_parse_math(False)


def _left(axes: Axes, shown: Shown, number: int, network: str, *, first: bool) -> None:
    """The image itself; in the rows of further networks their names alone."""
    if first:
        axes.imshow(rgb(shown.images.image(number)), interpolation="nearest")
        _outline(axes, shown, number)
        said = _short(printable(shown.names[number])) + (f"; maps of {printable(network)}" if network else "")
        axes.set_xlabel(_cut(said), fontsize=7, parse_math=False, labelpad=1)
    else:
        said = "\n".join(wrap(f"maps of {printable(network)}", _LETTERS)[:_LINES])
        axes.text(0.5, 0.5, said, fontsize=8, ha="center", va="center", parse_math=False, transform=axes.transAxes)


def _outline(axes: Axes, shown: Shown, number: int) -> None:
    """Around the object, along the edges of pixels, also where it reaches the image's."""
    if shown.objects is None or not bool(shown.objects.known[number]):
        return
    mask = np.pad(shown.objects.masks[number].numpy(), 1).astype(float)
    height, width = mask.shape
    fine = mask.repeat(_FINE, 0).repeat(_FINE, 1)
    x, y = ((np.arange(_FINE * side) + 0.5) / _FINE - 1.5 for side in (width, height))
    axes.contour(x, y, fine, levels=[0.5], colors="white", linewidths=0.8)
    axes.set_xlim(-0.5, width - 2.5)
    axes.set_ylim(height - 2.5, -0.5)


def _scale(figure: Figure, low: float, high: float) -> None:
    """The one scale, at the foot."""
    wide, tall = figure.get_size_inches()
    length = min(3.0, wide - 1.4)
    axes = figure.add_axes((0.5 / wide, 0.24 / tall, length / wide, 0.1 / tall), label="scale")
    axes.imshow(_MAPS(np.linspace(0, 1, 256))[None], aspect="auto", extent=(low, high, 0, 1))
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=7, length=2, pad=1)
    figure.text((0.5 + length + 0.1) / wide, 0.24 / tall, "nats", fontsize=8, va="bottom")


def _cut(text: str) -> str:
    """A text as wide as a cell at most."""
    return text if len(text) <= _WIDE else text[: _WIDE - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _short(name: str) -> str:
    """A name with its end kept."""
    return name if len(name) <= _LETTERS else "\N{HORIZONTAL ELLIPSIS}" + name[1 - _LETTERS :]
