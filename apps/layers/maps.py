"""Maps of layers by lenses side by side: where in an image what each says is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from torch import Tensor

from apps.command.console import printable
from apps.data.image_set import ImageSet
from apps.figures import rgb, save, scale_of, sheet_of_cells, short_names
from apps.layers.sheet import Found, Sheet

_MAPS = colormaps["viridis"]


def draw_maps(path: Path, found: Found, images: ImageSet) -> bool:
    """A row for each image, network and lens that has maps: the image, and a layer's map a column.

    Each map has its own scale from its least to its largest values: lenses have other units, and layers other ranges.
    What is compared is where they are bright. Names of layers stand above, of each network where they differ.

    Args:
        path: where to.
        found: networks and lenses.
        images: that were looked at.

    Returns:
        Whether there was a map to draw.
    """
    rows = [
        (sheet, name)
        for sheet in found.sheets
        for name in found.lenses
        if any(map(len, sheet.views[name].maps.values()))
    ]
    if not rows:
        return False
    drawn = max(len(one) for sheet, name in rows for one in sheet.views[name].maps.values())
    columns = 1 + max(len(sheet.layers) for sheet in found.sheets)
    lenses = [found.lenses[name] for name in dict.fromkeys(name for _, name in rows)]
    said = "; ".join(
        f"{lens.title}{', of which low is bright' if lens.kept < 0 else ''}: {lens.meaning}" for lens in lenses
    )
    text = f"Where lenses see it, each map on its own scale: bright is kept or used. {said}."
    headed = _headed([sheet for sheet, _ in rows])
    words = 0.25 if headed == {0} else 0.4
    figure, cell = sheet_of_cells(drawn * len(rows), max(columns, 4), text, above=0.2, below=0.1, words=words)
    shown = dict(zip([one.name for one in found.sheets], short_names([one.name for one in found.sheets]), strict=True))
    for number in range(drawn):
        for which, (sheet, name) in enumerate(rows):
            row, view = number * len(rows) + which, sheet.views[name]
            left = cell(row, 0)
            left.imshow(rgb(images.image(number)), interpolation="nearest")
            said = found.lenses[name].title + (f", {printable(shown[sheet.name])}" if len(found.sheets) > 1 else "")
            left.set_xlabel(said, fontsize=8, parse_math=False, labelpad=1)
            for column, layer in enumerate(sheet.layers, start=1):
                axes = cell(row, column)
                if which in headed and (number == 0 or len(headed) > 1):
                    axes.set_title(layer.name[-20:], fontsize=8, parse_math=False, pad=3)
                if layer.name in view.maps:
                    axes.imshow(_levels(view.maps[layer.name][number]), interpolation="nearest")
                else:
                    axes.text(0.5, 0.5, "no map", fontsize=8, color="0.5", ha="center", transform=axes.transAxes)
    save(figure, path)
    return True


def _headed(sheets: Sequence[Sheet]) -> set[int]:
    """Which of an image's rows have the names of layers above: a network's first, where networks have other layers."""
    first = [layer.name for layer in sheets[0].layers]
    if all([layer.name for layer in sheet.layers] == first for sheet in sheets):
        return {0}
    return {row for row, sheet in enumerate(sheets) if row == 0 or sheet is not sheets[row - 1]}


def _levels(values: Tensor) -> np.ndarray:
    one = values.double().numpy()
    low, high = scale_of(one)
    return _MAPS(((one - low) / (high - low)).clip(0, 1))
