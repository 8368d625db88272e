"""What the layers of a network keep of an image while it is trained (figure 5b)."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from analysis.inversion import MEANING, NegativeCrossEntropy, negative_cross_entropy
from apps.console import say, table
from apps.figures import save
from apps.image_set import ImageSet
from priors.storage import write_json

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def conclude(
    model: str,
    folder: Path,
    snapshots: Mapping[int, Mapping[str, Tensor]],
    final: Mapping[str, Tensor],
    test: ImageSet,
) -> None:
    """Print, write and draw the NCE of each layer by updates of the network.

    Args:
        model: as on the command line.
        folder: for `through-training.json` and `through-training.png`.
        snapshots: log p(x | h) of each test image by layer, by updates.
        final: those of the finished network.
        test: the images that were scored.
    """
    channels, height, width = test.image_shape

    def score(nats: Tensor) -> NegativeCrossEntropy:
        return negative_cross_entropy(nats, channels * height * width)

    layers = [layer for layer in final if layer != "none"]
    found = {step: {layer: score(runs[layer]) for layer in layers} for step, runs in snapshots.items()}
    found = {f"{step:,}": scores for step, scores in sorted(found.items())}
    found["finished"] = {layer: score(final[layer]) for layer in layers}
    table(
        f"NCE of {len(test):,} test images in nats, given layers of {model} after so many updates",
        ("updates", *layers),
        [
            (step, *(f"{scores[layer].nats:.2f} +- {scores[layer].standard_error:.2f}" for layer in layers))
            for step, scores in found.items()
        ],
        MEANING,
    )
    entries = [
        {"updates": step}
        | {layer: {"NCE": one.nats, "standard error": one.standard_error} for layer, one in scores.items()}
        for step, scores in found.items()
    ]
    write_json(folder / "through-training.json", {"model": Path(model).name, "scored": len(test), "steps": entries})
    _draw(folder / "through-training.png", found, layers)
    say(f"through-training.json and through-training.png are in {folder}.")


def _draw(path: Path, found: Mapping[str, Mapping[str, NegativeCrossEntropy]], layers: list[str]) -> None:
    """A line a layer, over the snapshots in their order."""
    figure = Figure(figsize=(1.6 + 0.9 * len(found), 3.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    places = range(len(found))
    for number, layer in enumerate(layers):
        scores = [scores[layer] for scores in found.values()]
        axes.errorbar(
            places,
            [score.nats for score in scores],
            yerr=[score.standard_error for score in scores],
            color=_COLOURS[number % len(_COLOURS)],
            label=layer,
            marker="o",
            markersize=3,
            linewidth=1.2,
            capsize=2,
        )
    axes.set_xticks(places, found, fontsize=8)
    axes.set_xlabel("updates of the network", fontsize=8)
    axes.set_ylabel("NCE (nats an image)", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    save(figure, path)
