"""Accuracies with the norms of activations and weights taken out: scored, printed and kept beside a run."""

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.transforms.functional import center_crop

from analysis.directions.normalised import (
    NORMALISED,
    NORMALISED_WITH_BIAS,
    ORIGINAL,
    NormalisedAccuracy,
    normalised_accuracy,
)
from apps.classifiers.settings import NormalisedScoring
from apps.command.console import counted, say, table
from apps.data import sources
from apps.data.image_set import ImageSet
from apps.models import named
from apps.models.activations import Activations, activations, images_for
from apps.runs.evaluations import claim_evaluations, read_evaluations
from apps.runs.outputs import check_file
from apps.training.session import start
from priors.errors import InputError
from priors.files.json_files import write_json
from priors.reading.heads import read_head
from priors.zoo import Classifier

FILE = "normalised.json"
"""In a run's folder: what came out, by protocol."""
_TABLE = {"original": ORIGINAL, "normalised": NORMALISED, "bias kept": NORMALISED_WITH_BIAS}
"""The variants of table 1 of Seo, Lee and Kwak (2021), by its names."""


def score_normalised(config: NormalisedScoring) -> None:
    """Classify the test images in each way, print the accuracies and add them to the file.

    Raises:
        InputError: no such model or images, a place that cannot be written, or a network that has diverged.
    """
    path = _path(config)
    if config.out is not None:
        check_file(config.out, (".json",), overwrite=True)  # it is added to
    network = named.classifier(config.model, config.foreign)
    earlier = claim_evaluations(path.parent, path.name) if path else []
    images, cut = _images(config, network)
    first = {}
    if config.images is not None and config.images < len(images):
        images, first = images.subset(range(config.images)), {"first": config.images}
    accelerator = start(config.place.where())
    found = activations(network, images, accelerator, prepare=cut)
    accuracies = _accuracies(network, found)
    if not accelerator.is_main_process:
        return
    _print(config.model, images, accuracies)
    if path is None:
        return
    entry = _entry(config, images, first, accuracies)
    write_json(path, [*(old for old in earlier if _protocol(old) != _protocol(entry)), entry])
    say(f"Written to {path}.")


def scored(config: NormalisedScoring) -> dict[str, float] | None:
    """What a finished command of these settings found, by table 1's names and in per cent; None where it is not done.

    Raises:
        InputError: the file is damaged or of another program.
    """
    path = _path(config)
    wanted = (config.model if config.out else None, config.data, config.resize, config.images)
    for entry in read_evaluations(path.parent, path.name) if path else ():
        if tuple(entry.get(name) for name in ("model", "data", "resize", "first")) == wanted:
            scores = entry["scores"]
            found = {name: 100 * scores[variant]["accuracy"] for name, variant in _TABLE.items() if variant in scores}
            return found | {"drop rate": scores[NORMALISED]["drop rate in %"]}
    return None


def _path(config: NormalisedScoring) -> Path | None:
    """Where the scores go."""
    return config.out or (Path(config.model) / FILE if named.is_run(config.model) else None)


def _images(config: NormalisedScoring, network: Classifier) -> tuple[ImageSet, partial[Tensor] | None]:
    """The test images, and what cuts out their centre where there is a margin."""
    root, size = config.place.data_root, config.image_size
    if size is None and config.data and Path(config.data).is_dir() and not named.is_run(config.model):
        size = network.image_shape[1] if network.image_shape else None
    if config.resize is None:
        return images_for(config.model, network, "test", data=config.data, image_size=size, root=root), None
    if size is None or not config.data:
        raise InputError(f"--resize {config.resize} is for image folders: give --data FOLDER, and --image-size")
    if config.resize < size:
        raise InputError(f"--resize {config.resize}: nothing of {size}x{size} can be cut out of that")
    images = sources.load(config.data, "test", root=root, image_size=config.resize)
    named.check_classes(network.class_names, config.model, images, network.provenance.get("data"))
    return images, partial(center_crop, output_size=[size, size])


def _accuracies(network: Classifier, found: Activations) -> NormalisedAccuracy:
    """Of the classifier's final layer on its activations, with and without norms and bias."""
    head = read_head(network.head.cpu(), network.head_name)
    return normalised_accuracy(found.penultimate, found.labels, head.weight, head.bias)


def _entry(
    config: NormalisedScoring, images: ImageSet, first: dict[str, int], found: NormalisedAccuracy
) -> dict[str, Any]:
    """What the file holds of it: the protocol, the norms and the scores."""
    return {
        **({} if config.out is None else {"model": config.model}),
        "data": config.data or named.trained_on(named.open_run(config.model)).data,
        "data_digest": images.digest,
        "images": len(images),
        **first,
        **({} if config.resize is None else {"resize": config.resize}),
        "activations": {"mean norm": found.activation_norm, "spread": found.activation_spread, "zero": found.zero},
        "weights": {"mean norm": found.weight_norm, "spread": found.weight_spread},
        "scores": {
            variant.name: {"accuracy": variant.accuracy, "drop rate in %": variant.drop_rate}
            for variant in found.variants
        },
    }


def _protocol(entry: dict[str, Any]) -> tuple:
    """What an entry was made by: two by the same protocol replace one another."""
    return tuple(entry.get(name) for name in ("model", "data", "data_digest", "images", "resize"))


def _print(model: str, images: ImageSet, found: NormalisedAccuracy) -> None:
    """A row a variant."""
    activation = {"own": "a", "mean": "s a/|a|", "unit": "a/|a|"}
    weight = {"own": "w", "mean": "t w/|w|", "unit": "w/|w|"}
    lengths = "s and t are the mean norms, which change no ranking"
    if any(variant.bias for variant in found.variants):
        lengths = "s and t are the mean norms, so that b keeps its part; where it is dropped they change no ranking"
    zero = f"; {found.zero:,} activations are zero and stay so" if found.zero else ""
    table(
        f"{model} on {images.name}: top-1 accuracy on {counted(found.images, 'test image')}",
        ("variant", "logit of a class", "top-1", "drop rate"),
        [
            (
                variant.name,
                f"{weight[variant.weights]} . {activation[variant.activations]}{' + b' if variant.bias else ''}",
                f"{variant.accuracy:.2%}",
                f"{variant.drop_rate:+.2f}%",
            )
            for variant in found.variants
        ],
        f"|a| is {_norm(found.activation_norm, found.activation_spread)}, |w| "
        f"{_norm(found.weight_norm, found.weight_spread)}{zero}; {lengths}. Seo, Lee and Kwak (2021) compare the first "
        "row with both normalised, bias dropped. Drop rate: change relative to the first row.",
    )


def _norm(mean: float, spread: float | None) -> str:
    """A mean norm with its spread, where there are several."""
    return f"{mean:.4g}" if spread is None else f"{mean:.4g} +- {spread:.0%}"
