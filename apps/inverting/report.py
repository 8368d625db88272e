"""What comes of an inversion: a table, numbers in JSON, a sheet of samples by layer and figure 5a."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from analysis.inversion.added_noise import NoiseBounds, noise_bounds
from analysis.inversion.binning import Binned, binned
from analysis.inversion.cross_entropy import (
    MEANING,
    Difference,
    NegativeCrossEntropy,
    increases,
    negative_cross_entropy,
    paired_difference,
    uniform_nats,
)
from analysis.inversion.neighbour_entropy import NeighbourEntropy, neighbour_entropies
from apps.command.answer import tell
from apps.command.console import counted, paragraph, say, table
from apps.command.launch import is_first, processes
from apps.data.batches import ordered
from apps.data.image_set import ImageSet
from apps.figures import grid, save, short_names
from apps.inverting.comparison import DRAWS, Closest, closest, distances
from apps.inverting.inverted import Inverted, inverted_run
from apps.models.representation import Representation
from apps.runs.run import Run
from apps.seeds import generator
from apps.training.shares import shared
from priors.files.json_files import write_json


def conclude(
    model: str,
    accuracy: float | None,
    folder: Path,
    found: Mapping[str, Tensor],
    errors: Mapping[str, Tensor],
    test: ImageSet,
) -> None:
    """Print and write what the layers keep, and draw figure 5a.

    Args:
        model: as on the command line.
        accuracy: of the network on its test images; None where it is not known.
        folder: for `inversion.json` and `nce.png`.
        found: log p(x | h) of each test image by layer, from the input on; "none" is the density without context.
        errors: |x - f(h)|^2 likewise, where there is a decoder.
        test: the images that were scored.
    """
    channels, height, width = test.image_shape
    scores = {layer: negative_cross_entropy(nats, channels * height * width) for layer, nats in found.items()}
    means = {layer: float(values.double().mean()) for layer, values in errors.items()}
    steps = _steps(found)
    _print(model, accuracy, test, scores, steps, means)
    for increase in increases({layer: nats for layer, nats in found.items() if layer != "none"}):
        paragraph(f"Caution: {increase}.")
    folder.mkdir(parents=True, exist_ok=True)
    kept = _json(model, accuracy, test, scores, steps, means)
    tell("inversion", kept)
    write_json(folder / "inversion.json", kept)
    _differences(folder / "nce.png", model, found, test)
    say(f"inversion.json and nce.png are in {folder}.")


def against(folder: Path, found: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> None:
    """Print and write how much more each layer tells of the same images than other densities do, such as of networks.

    Args:
        folder: for `against.json`.
        found: log p(x | h) of each test image by layer.
        others: likewise by run.
    """
    differences = {
        (layer, run): paired_difference(nats, theirs) for layer, nats in found.items() for run, theirs in others.items()
    }
    table(
        "NCE in nats beside other densities of the same images",
        ("layer", "against", "difference"),
        [(*pair, f"{one.nats:+.2f} +- {one.standard_error:.2f}") for pair, one in differences.items()],
        "positive where the layer tells more; the errors are of the images' own differences",
    )
    entries = [
        {"layer": layer, "against": run, "nats": one.nats, "standard error": one.standard_error}
        for (layer, run), one in differences.items()
    ]
    tell("against", {"differences": entries})
    write_json(folder / "against.json", entries)


def _steps(found: Mapping[str, Tensor]) -> dict[str, Difference]:
    """How much more each layer tells than the one given before it; the first has none, and no context is none."""
    steps, before = {}, None
    for layer, nats in found.items():
        if before is not None:
            steps[layer] = paired_difference(nats, found[before])
        before = layer if layer != "none" else before
    return steps


def _print(
    model: str,
    accuracy: float | None,
    test: ImageSet,
    scores: Mapping[str, NegativeCrossEntropy],
    steps: Mapping[str, Difference],
    errors: Mapping[str, float],
) -> None:
    rows = [
        (
            "no context" if layer == "none" else layer,
            f"{score.nats:.2f} +- {score.standard_error:.2f}",
            f"{steps[layer].nats:+.2f} +- {steps[layer].standard_error:.2f}" if layer in steps else "-",
            f"{score.bits_per_dim:.4f}",
            f"{errors[layer]:.4g}" if layer in errors else "-",
        )
        for layer, score in scores.items()
    ]
    rows.append(("uniform", f"{uniform_nats(test.image_shape):.2f}", "-", "8.0000", "-"))
    whose = model if accuracy is None else f"{model} (test accuracy {100 * accuracy:.2f} %)"
    table(
        f"What {whose} keeps of {counted(len(test), 'test image')} of {test.name}",
        ("layer", "NCE (nats)", "from the one before", "bits/dim", "squared error"),
        rows,
        MEANING,
    )


def _json(model, accuracy, test, scores, steps, errors) -> dict:
    layers = []
    for layer, score in scores.items():
        entry = {
            "layer": None if layer == "none" else layer,
            "NCE": score.nats,
            "standard error": score.standard_error,
            "bits/dim": score.bits_per_dim,
            "squared error": errors.get(layer),
        }
        if layer in steps:
            entry["from the one before"] = {"nats": steps[layer].nats, "standard error": steps[layer].standard_error}
        layers.append(entry)
    return {
        "model": Path(model).name,
        "accuracy": accuracy,
        "images": test.name,
        "scored": len(test),
        "digest": test.digest,
        "uniform": uniform_nats(test.image_shape),
        "layers": layers,
        "meaning": MEANING,
    }


def _differences(path: Path, model: str, found: Mapping[str, Tensor], test: ImageSet) -> None:
    """Figure 5a in nats: how far each layer's NCE is from an anchor, with the errors of the images' own differences.

    The anchor is the density without context, or else the layer that was given first. From zero on, hundreds or
    thousands of nats that all layers share would hide what they differ by.
    """
    anchor = "none" if "none" in found else next(iter(found))
    rest = {layer: paired_difference(nats, found[anchor]) for layer, nats in found.items() if layer != anchor}
    called = {layer: "no context" if layer == "none" else layer for layer in found}
    level = float(found[anchor].double().mean())
    figure = Figure(figsize=(max(4.8, 1.6 + 0.9 * len(rest)), 3.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color="#666666", linestyle="--", linewidth=1)
    for place, difference in enumerate(rest.values()):
        axes.errorbar(place, difference.nats, difference.standard_error, fmt="o", color="#0072B2", capsize=3, ms=5)
        axes.annotate(
            f"{difference.nats:+.2f}",
            (place, difference.nats),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_xticks(range(len(rest)), [called[layer] for layer in rest], fontsize=8, parse_math=False)
    axes.set_xlim(-0.6, max(len(rest), 1) - 0.3)
    axes.set_ylabel(f"NCE minus that of {called[anchor]}\n(nats an image)", fontsize=8, parse_math=False)
    said = f"dashed: {called[anchor]}, NCE {level:.2f} nats an image; bars: standard errors"
    axes.set_xlabel(said, fontsize=8, parse_math=False)
    axes.tick_params(labelsize=8)
    axes.margins(y=0.15)
    axes.grid(axis="y", alpha=0.3)
    whose, images = (short_names([name])[0] for name in (model, test.name))
    title = f"What {whose} keeps of {counted(len(test), 'test image')} of {images}"
    axes.set_title(title, fontsize=9, wrap=True, parse_math=False)
    save(figure, path)


def draw_sheet(
    folder: Path,
    densities: Mapping[str, Run],
    decoders: Mapping[str, Run],
    some: ImageSet,
    n: int,
    seed: int,
    device: torch.device,
) -> None:
    """Draw test images, then for each layer `n` samples of each and the least-squares reconstruction (figure 1).

    All processes draw, and the first one writes.
    """
    images = _pixels(some, device)
    rows, names = [images.cpu()], ["input"]
    for layer, run in densities.items():
        said = "no context" if layer == "none" else layer
        draws = _shared_draws(inverted_run(run.folder).to(device), images, n, seed, layer)
        rows += list(draws.transpose(0, 1))
        names += [f"{said}, sample" if number == 0 else "" for number in range(n)]
        if layer in decoders:
            decoder = inverted_run(decoders[layer].folder).to(device)
            with torch.no_grad():
                rows.append(decoder.model(decoder.context(images)).clamp(0, 1).cpu())
            names.append(f"{said}, MSE")
    if not is_first():
        return
    grid(folder / "sheet.png", [torch.stack(rows)], [""], names)
    say(f"{folder / 'sheet.png'} shows samples by layer; they differ in what the layer has discarded.")


def _shared_draws(inverted: Inverted, images: Tensor, n: int, seed: int, name: str) -> Tensor:
    """`n` samples of each image, on the CPU, by all processes together."""

    def drawn(places: range) -> dict[str, Tensor]:
        return {"draws": inverted.draw(images[places.start : places.stop], n, seed, name, places.start)}

    return shared(len(images), drawn)["draws"]


def _pixels(images: ImageSet, device: torch.device) -> Tensor:
    """All of a small set, in [0, 1]."""
    return torch.cat([batch.images for batch in ordered(images, 500, device=device)])


def compare(
    folder: Path,
    densities: Mapping[str, Run],
    training: ImageSet,
    test: ImageSet,
    count: int,
    seed: int,
    device: torch.device,
) -> None:
    """Print and write table 1: distances in the representation to the nearest training image and to samples.

    All processes work them out, and the first one writes.
    """
    images = test.subset(range(count))
    pixels = _pixels(images, device)
    rows, kept = [], []
    for layer, run in densities.items():
        if layer == "none":
            continue
        hidden = None if is_first() else True
        with tqdm(total=len(images), desc=layer, unit="image", disable=hidden, leave=False) as bar:
            said = partial(_advance, bar, processes())
            found = distances(inverted_run(run.folder).to(device), pixels, training, seed, said)
        rows.append((layer, *(f"{value:.3g}" for value in (found.nearest, found.sample, found.closest))))
        kept.append({"layer": layer, "1NN": found.nearest, "IM-S": found.sample, "IM-NN": found.closest})
    table(
        f"Distances in the representation, of {counted(len(images), 'test image')}",
        ("layer", "1NN", "IM-S", "IM-NN"),
        rows,
        f"mean absolute difference a unit; 1NN: the nearest of {len(training):,} training images, IM-S: one sample, "
        f"IM-NN: the closest of {DRAWS}",
    )
    if is_first():
        found = {"images": len(images), "training images": len(training), "layers": kept}
        tell("distances", found)
        write_json(folder / "distances.json", found)


def _advance(bar: tqdm, processes: int, done: int) -> None:
    """Move a bar on by what one process has done: the others have done about as much."""
    bar.update(min(done * processes, bar.total - bar.n))


def draw_closest(
    folder: Path,
    layer: str,
    run: Run,
    training: ImageSet,
    some: ImageSet,
    draws: int,
    seed: int,
    device: torch.device,
    k: int = 6,
) -> None:
    """Draw figure 2: for some images the closest of many samples, and of the training images.

    All processes look for them, and the first one writes.
    """
    pixels = _pixels(some, device)
    found = closest(inverted_run(run.folder).to(device), pixels, training, k, draws, seed)
    if not is_first():
        return
    pixels = pixels.cpu()
    panels = [torch.cat([pixels[:, None], near], 1) for near in (found.samples, found.training)]
    path = folder / f"closest-{layer}.png"
    grid(
        path,
        panels,
        [
            f"input, and the {k} closest of {counted(draws, 'sample')}",
            f"and of {counted(len(training), 'training image')}",
        ],
    )
    tell("closest", {"layer": layer, "picture": path} | _means(found))
    drawn, near = (f"{value.double().mean():.3g}" for value in (found.sample_distance, found.training_distance))
    say(f"{path} shows the closest by {layer}; mean distance a unit: samples {drawn}, training images {near}.")


def _means(found: Closest) -> dict[str, float]:
    """Mean distances a unit."""
    return {
        "samples": float(found.sample_distance.double().mean()),
        "training images": float(found.training_distance.double().mean()),
    }


def estimate(
    layers: Mapping[str, Representation | None], test: ImageSet, variance: float = 0.01, bins: int = 30
) -> None:
    """Print what other estimates say of the same layers (section 3.3 and appendix B)."""
    rows = []
    for layer, representation in layers.items():
        if representation is None:
            continue
        device = representation.network.mean.device
        parts = [representation(batch.images).cpu() for batch in ordered(test, 500, device=device)]
        found = torch.cat(parts).flatten(1)
        (noise,) = noise_bounds(found, [variance])
        cells = binned(found, bins)
        (near,) = neighbour_entropies(
            found, (3,), variance=variance, generator=generator("cpu", 0, "neighbours", layer)
        )
        told = {"layer": layer, "units": found.shape[1], "noise": [noise.lower, noise.upper]}
        tell("estimates", told | {"binning": cells.mutual_information, "neighbours": near.mutual_information})
        rows.append(
            (
                layer,
                found.shape[1],
                f"{noise.lower:.3f} to {noise.upper:.3f}",
                f"{cells.mutual_information:.3f}",
                f"{near.mutual_information:.4g}",
            )
        )
    table(
        f"Other estimates in nats, from {len(test):,} test images (log N is {math.log(len(test)):.3f})",
        ("layer", "units", f"noise of variance {variance:g}", f"{bins} bins", "3 neighbours, same noise"),
        rows,
        f"noise: of I(x; h + noise) for x uniform over these images; {NoiseBounds.caveat}. bins: {Binned.caveat}. "
        f"neighbours: of I(x; h + noise); {NeighbourEntropy.caveat}.",
    )
