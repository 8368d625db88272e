"""Pictures of explanations: methods side by side and laid over the image, and figure 1's sheet of one image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from apps.command.console import printable
from apps.figures import rgb, save, sheet_of_cells, short_names
from apps.jacobians.measuring import Found
from apps.jacobians.shown import Shown

_QUANTILE = 0.99
"""Of all pixels that are drawn with one scale, the one at which its colours end."""
_COLOURS, _SIGNED = colormaps["inferno"], colormaps["RdBu_r"]
_COLUMNS, _WORDS = 8, 22
"""Cells a row of a sheet, and letters over each."""


@dataclass(frozen=True)
class Explanation:
    """What is drawn.

    Attributes:
        shown: the images.
        found: about them.
        class_names: by number.
        model: as it was given.
        of: what is explained.
    """

    shown: Shown
    found: Found
    class_names: tuple[str, ...]
    model: str
    of: str

    def pixels(self, number: int) -> np.ndarray:
        """An image as RGB in [0, 1], (height, width, 3)."""
        return rgb(self.shown.images.image(number))

    def words(self, number: int) -> list[str]:
        """What an image is, line by line."""
        target, predicted = int(self.found.target[number]), int(self.found.logits[number].argmax())
        lines = [self.shown.names[number], f"class {self._class(target)}"]
        if predicted != target:
            lines.append(f"predicted {self._class(predicted)}")
        if self.shown.labelled:
            lines.append(f"labelled {self._class(int(self.shown.images.labels[number]))}")
        lines += [
            f"{self.of} {float(self.found.output[number]):.4f}",
            f"rounding {float(self.found.residual[number]):.0e}",
        ]
        return [printable(line) for line in lines]

    def _class(self, label: int) -> str:
        name = self.class_names[label]
        return name if len(name) <= _WORDS else name[: _WORDS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def scales(maps: Mapping[str, Tensor], drawn: int) -> dict[str, float]:
    """By method, the value that is drawn brightest: a high quantile over the first images, which are drawn."""
    found = {}
    for name, values in maps.items():
        most = float(np.quantile(values[:drawn].double().numpy(), _QUANTILE))
        found[name] = most or float(values[:drawn].max()) or 1.0
    return found


def draw_methods(path: Path, explained: Explanation, most: Mapping[str, float], drawn: int) -> None:
    """Two rows an image: each method's map, and the map laid over the image; a method has one scale throughout.

    Args:
        path: where to.
        explained: what is drawn.
        most: by method, the value that is drawn brightest.
        drawn: how many images, the first ones.
    """
    maps = explained.found.maps
    text = (
        f"Saliency of the {explained.of} of {short_names([explained.model])[0]}. One scale a method for all images, "
        f"under its column: from 0 to the {_QUANTILE:.0%} quantile of its pixels here. Below each map it is laid over "
        "the image."
    )
    figure, cell = sheet_of_cells(2 * drawn, max(4, 1 + len(maps)), text, above=0.35, below=0.35)
    for number in range(drawn):
        image = explained.pixels(number)
        cell(2 * number, 0).imshow(image, interpolation="nearest")
        words = cell(2 * number + 1, 0)
        said = "\n".join(line for word in explained.words(number) for line in wrap(word, _WORDS))
        words.text(0, 0.97, said, fontsize=8, va="top", parse_math=False, transform=words.transAxes)
        for column, (name, values) in enumerate(maps.items(), start=1):
            level = (values[number].double().numpy() / most[name]).clip(0, 1)
            upper, lower = cell(2 * number, column), cell(2 * number + 1, column)
            upper.imshow(_COLOURS(level), interpolation="nearest")
            lower.imshow(_over(image, level), interpolation="nearest")
            if number == 0:
                upper.set_title(_in_lines(name), fontsize=8, parse_math=False, pad=3)
            if number == drawn - 1:
                _bar(figure, lower, most[name])
    save(figure, path)


def draw_sheet(path: Path, explained: Explanation, number: int) -> None:
    """Figure 1 of the paper: an image, the slope times the image, each layer's map, and what they add up to.

    Args:
        path: where to.
        explained: what is drawn.
        number: of the image.
    """
    found = explained.found
    panels = {"slope x image": found.input[number]} | {
        name or "the network itself": maps[number] for name, maps in found.panels.items()
    }
    total = float(found.input[number].sum()) + sum(float(maps[number].sum()) for maps in found.panels.values())
    without, output = float(found.without[number]), float(found.output[number])
    text = (
        f"{', '.join(explained.words(number)[:-1])}. The sums under the panels add up to {total:+.4f}, and what has no "
        f"place in the image, as the final layer's bias, to {without:+.4f}: {total + without:.4f} in all, where the "
        f"{explained.of} is {output:.4f} (rounding {float(found.residual[number]):.0e}). Red speaks for the class, "
        "blue against it; each panel has a scale of its own."
    )
    rows = math.ceil((1 + len(panels)) / _COLUMNS)
    figure, cell = sheet_of_cells(rows, _COLUMNS, text, above=0.05, below=0.05, words=0.5)
    cell(0, 0).imshow(explained.pixels(number), interpolation="nearest")
    cell(0, 0).set_title("image", fontsize=8, pad=3)
    for place, (name, values) in enumerate(zip(_short(list(panels)), panels.values(), strict=True), start=1):
        values = values.double().numpy()
        axes = cell(place // _COLUMNS, place % _COLUMNS)
        most = float(np.quantile(abs(values), _QUANTILE)) or float(abs(values).max()) or 1.0
        axes.imshow(_SIGNED(0.5 + 0.5 * (values / most).clip(-1, 1)), interpolation="nearest")
        axes.set_title(name, fontsize=8, parse_math=False, pad=3)
        colours = f"colours \N{PLUS-MINUS SIGN}{most:.1e}"
        axes.set_xlabel(f"{values.sum():+.4f}\n{colours}", fontsize=7, labelpad=2, linespacing=1.1)
    save(figure, path)


def _bar(figure: Figure, above: Axes, most: float) -> None:
    """The scale of a column, under its last cell."""
    box, (_, high) = above.get_position(), figure.get_size_inches()
    axes = figure.add_axes((box.x0, box.y0 - 0.16 / high, box.width, 0.1 / high), label=f"scale {box.x0}")
    axes.imshow(_COLOURS(np.linspace(0, 1, 256))[None], aspect="auto", extent=(0, 1, 0, 1))
    axes.set_yticks([])
    axes.set_xticks([0, 1], ["0", f"{most:.3g}"], fontsize=7)
    axes.tick_params(length=2, pad=1)
    for label, side in zip(axes.get_xticklabels(), ("left", "right"), strict=True):
        label.set_horizontalalignment(side)


def _over(image: np.ndarray, level: np.ndarray) -> np.ndarray:
    """A map laid over the image in grey, which shows where nothing is salient."""
    grey = 0.25 + 0.6 * image.mean(-1, keepdims=True).repeat(3, -1)
    cover = 0.85 * level[..., None]
    return (1 - cover) * grey + cover * _COLOURS(0.3 + 0.7 * level)[..., :3]


def _in_lines(name: str) -> str:
    """A method's name in two lines where it is long."""
    first, _, last = name.rpartition("-")
    return name if len(name) < 14 else f"{first}-\n{last}"


def _short(names: Sequence[str]) -> list[str]:
    """Names of layers without what they all begin with; of long ones the end."""
    inner = [name for name in names if "." in name]
    begins = {name.partition(".")[0] for name in inner}
    if len(begins) == 1 and len(inner) > 1:
        names = [name.partition(".")[2] or name for name in names]
    return [name if len(name) <= _WORDS else "\N{HORIZONTAL ELLIPSIS}" + name[1 - _WORDS :] for name in names]
