"""What the layers of a network keep of an image while it is trained (figure 5b)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from analysis.inversion.cross_entropy import (
    MEANING,
    NegativeCrossEntropy,
    increases,
    negative_cross_entropy,
    paired_difference,
)
from apps.command.answer import tell
from apps.command.console import counted, paragraph, say, table
from apps.data.image_set import ImageSet
from apps.figures import legend, save, short_names
from apps.models.named import open_run
from priors.files.json_files import write_json

_COLOURS = ("#0072B2", "#D55E00")
"""Of the networks."""
_COLUMNS = 2
"""Panels side by side."""

Curve = Mapping[int | None, Mapping[str, Tensor]]
"""By updates (None: finished) and layer: log p(x | h) of each test image."""


@dataclass(frozen=True)
class State:
    """A network at some moment of its training."""

    updates: int | None
    """None: finished."""
    model: str
    """A MODEL, as on the command line."""
    name: str
    """Of the runs that invert its layers, before the layer's."""


def states(model: str, name: str, *, snapshots: bool, finished: bool) -> list[State]:
    """The snapshots of a run, or none of them, and what it came to, or not."""
    kept = open_run(model).snapshots() if snapshots else []
    steps = [int(path.name.removeprefix("step-")) for path in kept]
    found = [State(step, str(path), f"{name}-step{step}") for step, path in zip(steps, kept, strict=True)]
    return found + ([State(None, model, name)] if finished else [])


def conclude(model: str, folder: Path, curves: Mapping[str, Curve], test: ImageSet) -> None:
    """Print, write and draw the NCE of each layer by updates of the network.

    Args:
        model: as on the command line.
        folder: for `through-training.json` and `through-training.png`.
        curves: log p(x | h) of each test image by layer, by updates, by network; None stands for the finished network,
            the first network is that of `model`.
        test: the images that were scored.
    """
    channels, height, width = test.image_shape

    def score(nats: Tensor) -> NegativeCrossEntropy:
        return negative_cross_entropy(nats, channels * height * width)

    found = {
        network: {_said(step): {layer: score(nats) for layer, nats in curve[step].items()} for step in _ordered(curve)}
        for network, curve in curves.items()
    }
    layers = list(next(iter(next(iter(found.values())).values())))
    table(
        f"NCE of {counted(len(test), 'test image')} in nats, given layers of {model} after so many updates",
        ("network", "updates", *layers),
        [
            (network, step, *(f"{scores[layer].nats:.2f} +- {scores[layer].standard_error:.2f}" for layer in layers))
            for network, curve in found.items()
            for step, scores in curve.items()
        ],
        MEANING,
    )
    for network, curve in curves.items():
        for step in _ordered(curve):
            for increase in increases(curve[step]):
                paragraph(f"Caution, {network}, {_said(step)}: {increase}.")
    entries = [
        {"network": network, "updates": step}
        | {layer: {"NCE": one.nats, "standard error": one.standard_error} for layer, one in scores.items()}
        for network, curve in found.items()
        for step, scores in curve.items()
    ]
    kept = {"model": Path(model).name, "scored": len(test), "steps": entries}
    tell("through-training", kept)
    write_json(folder / "through-training.json", kept)
    _draw(folder / "through-training.png", model, curves, test)
    say(f"through-training.json and through-training.png are in {folder}.")


def _ordered(curve: Curve) -> list[int | None]:
    return sorted(curve, key=lambda step: float("inf") if step is None else step)


def _said(step: int | None) -> str:
    return "finished" if step is None else f"{step:,}"


def _draw(path: Path, model: str, curves: Mapping[str, Curve], test: ImageSet) -> None:
    """Figure 5b in nats: a panel a layer, a line a network over its moments.

    What is drawn is how far each moment's NCE is from that of the finished network, with the errors of the images' own
    differences. Layers are hundreds of nats apart: on one scale, that would hide how each of them changes.
    """
    anchors = next(iter(curves.values()))[None]
    moments = sorted({step for curve in curves.values() for step in curve if step is not None})
    order = [*moments, None]
    columns = min(len(anchors), _COLUMNS)
    rows = -(-len(anchors) // columns)
    wide = max(2.6, 1.1 + 0.5 * len(order))
    figure = Figure(figsize=(max(4.8, wide * columns), 0.9 + 2.5 * rows), dpi=150, layout="constrained")
    lines = {}
    for place, (layer, anchor) in enumerate(anchors.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.axhline(0, color="#666666", linestyle="--", linewidth=1)
        for network, colour in zip(curves, _COLOURS, strict=False):
            steps = [step for step in _ordered(curves[network]) if layer in curves[network][step]]
            found = [paired_difference(curves[network][step][layer], anchor) for step in steps]
            lines[network] = axes.errorbar(
                [order.index(step) for step in steps],
                [difference.nats for difference in found],
                yerr=[difference.standard_error for difference in found],
                color=colour,
                marker="o",
                markersize=3.5,
                linewidth=1.2,
                capsize=2,
            )
        level = float(negative_cross_entropy(anchor, 1).nats)
        axes.set_title(f"{layer} (finished: NCE {level:.2f})", fontsize=8, parse_math=False)
        axes.set_xticks(range(len(order)), map(_said, order), fontsize=7, rotation=45, ha="right")
        axes.set_xlim(-0.5, len(order) - 0.5)
        axes.tick_params(axis="y", labelsize=7)
        axes.margins(y=0.15)
        axes.grid(axis="y", alpha=0.3)
        axes.set_xlabel("updates of the network", fontsize=8)
        if place % columns == 0:
            axes.set_ylabel("NCE minus that of finished\n(nats an image)", fontsize=8)
    whose, images = (short_names([name])[0] for name in (model, test.name))
    scored = f"{counted(len(test), 'test image')} of {images}"
    title = f"What {whose} keeps of {scored} while it is trained\nbars: standard errors"
    figure.suptitle(title, fontsize=9, wrap=True, parse_math=False)
    if len(lines) > 1:
        legend(figure, [(line.lines[0], network) for network, line in lines.items()], fontsize=8, frameon=False,
               loc="outside lower center", ncols=len(lines))  # fmt: skip
    save(figure, path)
