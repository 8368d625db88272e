"""What the layers of a network keep of an image while it is trained (figure 5b)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from analysis.inversion.cross_entropy import MEANING, NegativeCrossEntropy, increases, negative_cross_entropy
from apps.command.console import say, table
from apps.data.image_set import ImageSet
from apps.figures import save
from apps.models.named import open_run
from priors.files.json_files import write_json

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

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
        f"NCE of {len(test):,} test images in nats, given layers of {model} after so many updates",
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
                say(f"Caution, {network}, {_said(step)}: {increase}.")
    entries = [
        {"network": network, "updates": step}
        | {layer: {"NCE": one.nats, "standard error": one.standard_error} for layer, one in scores.items()}
        for network, curve in found.items()
        for step, scores in curve.items()
    ]
    write_json(folder / "through-training.json", {"model": Path(model).name, "scored": len(test), "steps": entries})
    _draw(folder / "through-training.png", found, layers)
    say(f"through-training.json and through-training.png are in {folder}.")


def _ordered(curve: Curve) -> list[int | None]:
    return sorted(curve, key=lambda step: float("inf") if step is None else step)


def _said(step: int | None) -> str:
    return "finished" if step is None else f"{step:,}"


def _draw(path: Path, found: Mapping[str, Mapping[str, Mapping[str, NegativeCrossEntropy]]], layers: list[str]) -> None:
    """A line a layer and network, over the moments in their order; layers differ in colour, networks in dashes."""
    moments = list(next(iter(found.values())))
    figure = Figure(figsize=(2.4 + 0.9 * len(moments), 3.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for (network, curve), dashes in zip(found.items(), ("-", "--"), strict=False):
        for number, layer in enumerate(layers):
            scores = [curve[moment][layer] for moment in moments]
            axes.errorbar(
                range(len(moments)),
                [score.nats for score in scores],
                yerr=[score.standard_error for score in scores],
                color=_COLOURS[number % len(_COLOURS)],
                label=layer if len(found) == 1 else f"{layer}, {network}",
                linestyle=dashes,
                marker="o",
                markersize=3,
                linewidth=1.2,
                capsize=2,
            )
    axes.set_xticks(range(len(moments)), moments, fontsize=8)
    axes.set_xlabel("updates of the network", fontsize=8)
    axes.set_ylabel("NCE (nats an image)", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=7, frameon=False, loc="outside right upper")
    save(figure, path)
