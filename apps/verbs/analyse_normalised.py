"""Score a classifier with the norms of its activations and weights taken out, and with its bias kept and dropped.

Directions are enough where little is lost. Prints a table and adds to the run's normalised.json.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from apps.command.config import Foreign, Place

FILE = "normalised.json"
"""In a run's folder: what came out, by protocol."""


@dataclass(frozen=True)
class Config:
    """Normalise and score."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    data: str | None = None
    """Data set whose test images are classified; unset: the one the run was trained on."""
    image_size: int | None = None
    """Height and width to bring an image folder's pictures to, in pixels; unset: as trained, or the network's own."""
    resize: int | None = None
    """Shorter side of a folder's pictures before the centre is cut out, 256 on ImageNet; unset: the image size."""
    images: int | None = None
    """Classify the first this many test images only; unset: all."""
    out: Path | None = None
    """File to add the scores to, ending in .json; unset: the run's normalised.json, or none where there is no run."""
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse what no image has."""
        from priors.errors import InputError

        for flag, value in (("--image-size", self.image_size), ("--resize", self.resize), ("--images", self.images)):
            if value is not None and value < 1:
                raise InputError(f"{flag} {value}: expected 1 or more")


def main(config: Config) -> None:
    """Classify, print and write."""
    from analysis.directions.normalised import normalised_accuracy
    from apps.command.console import say
    from apps.models import named
    from apps.models.activations import activations
    from apps.runs.evaluations import read_evaluations
    from apps.runs.outputs import check_file
    from apps.training.session import start
    from priors.storage import write_json

    path = _path(config)
    if config.out is not None:
        check_file(config.out, (".json",), overwrite=True)  # it is added to
    network = named.classifier(config.model, config.foreign)
    earlier = read_evaluations(path.parent, path.name) if path else []
    images, cut = _images(config, network)
    first = {}
    if config.images is not None and config.images < len(images):
        images, first = images.subset(range(config.images)), {"first": config.images}
    accelerator = start(config.place.where())
    found = activations(network, images, accelerator, prepare=cut)
    head = network.head.cpu()
    bias = None if head.bias is None else head.bias.detach()
    scored = normalised_accuracy(found.penultimate, found.labels, head.weight.detach(), bias)
    if not accelerator.is_main_process:
        return
    _print(config.model, images, scored)
    if path is None:
        return
    entry = {
        **({} if config.out is None else {"model": config.model}),
        "data": config.data or named.trained_on(named.open_run(config.model)).data,
        "data_digest": images.digest,
        "images": len(images),
        **first,
        **({} if config.resize is None else {"resize": config.resize}),
        "activations": {"mean norm": scored.activation_norm, "spread": scored.activation_spread, "zero": scored.zero},
        "weights": {"mean norm": scored.weight_norm, "spread": scored.weight_spread},
        "scores": {
            variant.name: {"accuracy": variant.accuracy, "drop rate in %": variant.drop_rate}
            for variant in scored.variants
        },
    }
    write_json(path, [*(old for old in earlier if _protocol(old) != _protocol(entry)), entry])
    say(f"Written to {path}.")


def scored(config: Config) -> dict[str, float] | None:
    """What a finished command of this verb found, by table 1's names and in per cent; None where it is not done."""
    from analysis.directions.normalised import NORMALISED, NORMALISED_WITH_BIAS, ORIGINAL
    from apps.runs.evaluations import read_evaluations

    path = _path(config)
    wanted = (config.model if config.out else None, config.data, config.resize, config.images)
    for entry in read_evaluations(path.parent, path.name) if path else ():
        if tuple(entry.get(name) for name in ("model", "data", "resize", "first")) == wanted:
            scores = entry["scores"]
            named = {"original": ORIGINAL, "normalised": NORMALISED, "bias kept": NORMALISED_WITH_BIAS}
            found = {name: 100 * scores[variant]["accuracy"] for name, variant in named.items() if variant in scores}
            return found | {"drop rate": scores[NORMALISED]["drop rate in %"]}
    return None


def _path(config: Config) -> Path | None:
    """Where the scores go."""
    from apps.models.named import is_run

    return config.out or (Path(config.model) / FILE if is_run(config.model) else None)


def _images(config: Config, network):
    """The test images, and what cuts out their centre where there is a margin."""
    from functools import partial

    from torchvision.transforms.functional import center_crop

    from apps.data import sources
    from apps.models import named
    from apps.models.activations import images_for
    from priors.errors import InputError

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
    named.check_classes(network.class_names, config.model, images)
    return images, partial(center_crop, output_size=[size, size])


def _protocol(entry: dict) -> tuple:
    """What an entry was made by: two by the same protocol replace one another."""
    return tuple(entry.get(name) for name in ("model", "data", "data_digest", "images", "resize"))


def _print(model: str, images, scored) -> None:
    from apps.command.console import table

    activation = {"own": "a", "mean": "s a/|a|", "unit": "a/|a|"}
    weight = {"own": "w", "mean": "t w/|w|", "unit": "w/|w|"}
    lengths = "s and t are the mean norms, which change no ranking"
    if any(variant.bias for variant in scored.variants):
        lengths = "s and t are the mean norms, so that b keeps its part; where it is dropped they change no ranking"
    zero = f"; {scored.zero:,} activations are zero and stay so" if scored.zero else ""
    table(
        f"{model} on {images.name}: top-1 accuracy on {scored.images:,} test images",
        ("variant", "logit of a class", "top-1", "drop rate"),
        [
            (
                variant.name,
                f"{weight[variant.weights]} . {activation[variant.activations]}{' + b' if variant.bias else ''}",
                f"{variant.accuracy:.2%}",
                f"{variant.drop_rate:+.2f}%",
            )
            for variant in scored.variants
        ],
        f"|a| is {scored.activation_norm:.4g} +- {scored.activation_spread:.0%}, |w| {scored.weight_norm:.4g} +- "
        f"{scored.weight_spread:.0%}{zero}; {lengths}. Seo, Lee and Kwak (2021) compare the first row with both "
        "normalised, bias dropped. Drop rate: change relative to the first row.",
    )
