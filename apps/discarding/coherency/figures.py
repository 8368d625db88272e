"""Pictures of coherency: maps before and after on one scale, and magnitudes by layer (figure 1, bottom left)."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from apps.command.console import printable
from apps.discarding.coherency.comparing import Compared, Comparison
from apps.discarding.coherency.settings import CoherencySettings
from apps.discarding.coherency.tables import MEASURES
from apps.discarding.shown import Shown
from apps.discarding.tables import over_images, said_of_alpha
from apps.figures import legend, rgb, save, scale_of, sheet_of_cells

_BEFORE, _AFTER, _HALVED = "#0072B2", "#D55E00", "#009E73"
"""Okabe and Ito's, which colour-blind people can tell apart."""
_NATS, _OTHER = colormaps["viridis"], colormaps["magma"]
_WIDTH, _HEIGHT = 4.2, 3.4
"""Of a panel, in inches."""
_COLUMNS = 12
"""Layers whose maps are drawn at most, evenly spaced."""
_LETTERS = 19
"""Letters in a line of a cell."""
_AFTER_ALONE = ("SID halved", "RU retrained")
"""Measures that before are those of another row."""
_DRAWN = ("SID", "RU", "RU retrained", "SID halved", "gradient", "CAM", "Grad-CAM")
"""Measures whose maps are drawn."""


def draw_maps(path: Path, config: CoherencySettings, shown: Shown, found: Sequence[Comparison]) -> None:
    """For each image two rows a measure, before and after, and a column a layer.

    Entropies have one scale for all their maps. Other maps have one for each layer, the same before and after, since
    their magnitudes differ by much between layers.

    Args:
        path: where to.
        config: what was asked for.
        shown: the images.
        found: by layer.
    """
    some = [found[one] for one in _evenly(len(found), _COLUMNS)]
    there = [name for name in _DRAWN if any(_of(one, name) for one in some)]
    rows = [(name, when) for name in there for when in (0, 1) if when or name not in _AFTER_ALONE]
    images = min(config.shown, len(shown.images))
    left_out = f"{len(some)} of {len(found)} layers. " if len(some) < len(found) else ""
    text = (
        f"Before, and after weights of a layer were divided by {config.factor:g} and those of the next multiplied by "
        f"it. {left_out}Entropies in nats a value, by {said_of_alpha(config)}, on one scale each: bright is "
        "discarded. Other maps: absolute values, from 0 to the number under each, which is the same before and after."
    )
    figure, cell = sheet_of_cells(
        images * (1 + len(rows)), 1 + max(len(some), 3), text, above=0.12, below=0.1, words=0.3
    )
    for number in range(images):
        top = number * (1 + len(rows))
        _image(cell(top, 0), shown, number)
        for column, one in enumerate(some, start=1):
            own = one.handed
            _said(cell(top, column), f"{_end(own.name)}\n\nof {_end(own.scaled)}\n\nto {_end(own.second)}", size=7)
        for row, (name, when) in enumerate(rows, start=top + 1):
            scale = _scale(some, name, images)
            title = {0: "before", 1: "after"}[when]
            title = MEASURES.get(name, name) if name in _AFTER_ALONE else f"{MEASURES.get(name, name)}\n{title}"
            nats = "" if scale is None else f"\n\n{scale[0]:.2f} to {scale[1]:.2f} nats"
            _said(cell(row, 0), f"{title}{nats}", size=9)
            for column, one in enumerate(some, start=1):
                _map(cell(row, column), _of(one, name), when, number, scale, one.gaps.get(name))
    save(figure, path)


def draw_layers(path: Path, config: CoherencySettings, found: Sequence[Comparison], images: int) -> None:
    """A panel a measure: its mean over images by layer, before and after.

    Args:
        path: where to.
        config: what was asked for.
        found: by layer.
        images: how many there are.
    """
    there = [name for name in _panels(found) if name != "SID halved"]
    columns = min(3, len(there))
    rows = -(-len(there) // columns)
    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows + 0.4), dpi=130, layout="constrained")
    for number, name in enumerate(there, start=1):
        axes = figure.add_subplot(rows, columns, number)
        drawn = [
            _line(axes, found, name, 0, _BEFORE, "o", "-", "before"),
            _line(
                axes, found, name, 1, _AFTER, "x", "--", f"after, weights / {config.factor:g} and x {config.factor:g}"
            ),
        ]
        if name == "SID" and "SID halved" in _panels(found):
            drawn.append(_line(axes, found, "SID halved", 1, _HALVED, "^", ":", "half of the filters halved"))
        _dress(axes, found, name)
        if number == 1:
            legend(axes, drawn, fontsize=7, frameon=False)
    said = f"Means over {images} images, by layer. Entropies in nats a value, by {said_of_alpha(config)}."
    figure.suptitle("\n".join(wrap(said, int(15 * _WIDTH * columns))), fontsize=8, parse_math=False)
    save(figure, path)


def _panels(found: Sequence[Comparison]) -> list[str]:
    return list(dict.fromkeys(one.measure for layer in found for one in layer.measures))


def _of(layer: Comparison, name: str) -> Compared | None:
    return next((one for one in layer.measures if one.measure == name), None)


def _line(axes: Axes, found: Sequence[Comparison], name: str, when: int, colour: str, mark: str, dash: str, said: str):
    """A line by layer; layers without the measure leave a gap."""
    values = []
    for layer in found:
        one = _of(layer, name)
        values.append(np.nan if one is None else over_images((one.before, one.after)[when])[0])
    (line,) = axes.plot(
        range(len(found)), values, color=colour, marker=mark, linestyle=dash, markersize=5, linewidth=1.2
    )
    return line, said


def _dress(axes: Axes, found: Sequence[Comparison], name: str) -> None:
    own = [one for layer in found if (one := _of(layer, name)) is not None]
    change = max(one.change for one in own)
    nats = own[0].unit == "nats"
    told = f"{change:.2g} nats" if nats else f"{100 * change:.3g} % of the largest value"
    axes.set_title(f"{MEASURES.get(name, name)}: changes by {told} at most", fontsize=8)
    axes.set_ylabel("nats a value" if nats else "root of the sum of squares", fontsize=8)
    if not nats and all(float(one.before.min()) > 0 and float(one.after.min()) > 0 for one in own):
        axes.set_yscale("log")
    elif nats:
        axes.yaxis.set_major_locator(MaxNLocator(6))
        low, high = axes.get_ylim()
        if high - low < 1e-2:  # else rounding would fill the panel
            axes.set_ylim((low + high) / 2 - 5e-3, (low + high) / 2 + 5e-3)
    axes.tick_params(labelsize=7, which="both")
    axes.grid(alpha=0.3)
    places = _evenly(len(found), 16)
    names = [_end(found[one].handed.name) for one in places]
    axes.set_xlim(-0.3, len(found) - 0.7)
    axes.set_xticks(places, names, rotation=40, ha="right", fontsize=7)
    for label in axes.get_xticklabels():
        label.set_parse_math(False)


def _map(axes: Axes, one: Compared | None, when: int, number: int, scale: tuple[float, float] | None, gap: str | None):
    """A map, or why there is none."""
    if one is None or one.maps is None:
        _said(axes, "" if gap is None else f"none: {gap}", size=6)
        return
    values = one.maps[when][number].double().numpy()
    if scale is not None:
        low, high = scale
        axes.imshow(_NATS(((values - low) / (high - low)).clip(0, 1)), interpolation="nearest")
        return
    most = max(float(each[number].abs().max()) for each in one.maps)
    axes.imshow(_OTHER((np.abs(values) / (most or 1.0)).clip(0, 1)), interpolation="nearest")
    axes.set_xlabel(f"{most:.3g}" if most else "0 everywhere", fontsize=7, labelpad=2)


def _scale(some: Sequence[Comparison], name: str, images: int) -> tuple[float, float] | None:
    """Of all maps of an entropy; SID has the same with filters halved."""
    alike = ("SID", "SID halved") if name.startswith("SID") else ("RU", "RU retrained")
    if name not in alike:
        return None
    maps = [one.maps for layer in some for one in layer.measures if one.measure in alike]
    values = np.concatenate([each[:images].double().numpy().ravel() for both in maps for each in both])
    return scale_of(values)


def _image(axes: Axes, shown: Shown, number: int) -> None:
    axes.imshow(rgb(shown.images.image(number)), interpolation="nearest")
    axes.set_xlabel(_end(printable(shown.names[number])), fontsize=7, parse_math=False, labelpad=2)


def _said(axes: Axes, text: str, size: int = 8) -> None:
    """A text in a cell, whose long names keep their ends."""
    lines = [part for line in text.split("\n") for part in (wrap(line, int(_LETTERS * 8 / size)) or [""])]
    told = "\n".join(lines)
    axes.text(0.5, 0.5, told, fontsize=size, ha="center", va="center", parse_math=False, transform=axes.transAxes)


def _end(name: str) -> str:
    return name if len(name) <= _LETTERS else "\N{HORIZONTAL ELLIPSIS}" + name[1 - _LETTERS :]


def _evenly(count: int, most: int) -> list[int]:
    """Numbers from 0 to count - 1, so many at most."""
    return sorted({round(one) for one in np.linspace(0, count - 1, min(count, most))})
