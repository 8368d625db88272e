"""How what was found is kept: `discard.json`, a list of protocols with their scores, and entropies of all images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from apps.command.config import identity
from apps.discarding.measuring import Entropies, Measured
from apps.discarding.settings import DiscardSettings
from apps.discarding.shown import Shown
from apps.discarding.tables import over_images
from apps.runs.evaluations import as_kept, follows, keep_evaluation, read_evaluations, scores_by
from priors.errors import InputError
from priors.files.json_files import finite
from priors.files.tensors import read_tensors, write_tensors

FILE, MAPS = "discard.json", "discard-maps.safetensors"


def keep(folder: Path, config: DiscardSettings, shown: Shown, found: Mapping[str, Sequence[Measured]]) -> None:
    """Write entropies, then numbers, in the place of what the same protocol gave before.

    Args:
        folder: where to.
        config: what was asked for.
        shown: the images.
        found: by network, of its layers.
    """
    tensors = {
        f"{network}/{one.layer}/{metric}": entropies.maps.float()
        for network, layers in found.items()
        for one in layers
        for metric, entropies in (("sid", one.sid), ("ru", one.ru))
        if entropies is not None
    }
    if shown.objects is not None:
        tensors["masks"] = shown.objects.masks
    write_tensors(folder / MAPS, tensors)
    own = protocol(config) | {"data_digest": shown.images.digest, "images": len(shown.images)}
    entry = as_kept(own) | {
        "of": shown.images.name,
        "image_shape": list(shown.images.image_shape),
        "scores": {network: {one.layer: _scores(one, shown) for one in layers} for network, layers in found.items()},
        "shapes": {network: {one.layer: list(one.shape) for one in layers} for network, layers in found.items()},
    }
    keep_evaluation(folder, entry, FILE, own)


def protocol(config: DiscardSettings) -> dict[str, Any]:
    """What the command line says of how numbers are made; None where it says nothing."""
    own = {
        "model": config.model,
        "against": list(config.against),
        "taps": list(config.taps),
        "metrics": list(config.measured),
        "asked": config.images,
        "data": config.data,
        **asdict(config.sizes),
        **asdict(config.located),
        "noise": asdict(config.noise),
        "seed": config.optimisation.seed,
    }
    if "ru" in config.measured:
        own["uncertainty"] = asdict(config.uncertainty)
        own["decoder"] = asdict(config.decoding) | identity(config.optimisation)
    return own


def scored(config: DiscardSettings, folder: Path) -> Mapping[str, Any] | None:
    """By network and layer, the scores that such a command has left in a folder; None where it has not run.

    Raises:
        InputError: what is kept is damaged.
    """
    return scores_by(folder, FILE, protocol(config))


def entropies_by_image(
    config: DiscardSettings, folder: Path
) -> tuple[dict[tuple[int, str], Float[Tensor, " images"]], str] | None:
    """Mean entropies of each image, in nats a value, as the last command has left them in a folder.

    Args:
        config: of the command.
        folder: of its scores.

    Returns:
        By the network's number, from 1, and by a score's name, such as "penultimate SID"; and the digest of the images.
        None where nothing is kept, or nothing that can be read.

    Raises:
        InputError: scores that are kept are damaged.
    """
    entries = (entry for entry in read_evaluations(folder, FILE) if follows(entry, protocol(config)))
    entry = next(entries, None)
    if entry is None or not (folder / MAPS).is_file():
        return None
    try:
        maps = read_tensors(folder / MAPS, "entropies")[0]
    except InputError:
        return None
    found = {
        (number, f"{layer} {metric.upper()}"): maps[key].double().flatten(1).mean(1)
        for number, (network, layers) in enumerate(entry["scores"].items(), start=1)
        for layer in layers
        for metric in ("sid", "ru")
        if (key := f"{network}/{layer}/{metric}") in maps
    }
    return found, str(entry.get("data_digest"))


def _scores(one: Measured, shown: Shown) -> dict[str, float | None]:
    """All numbers of a layer, as JSON has them: null where there is none."""
    found: dict[str, float] = {}
    values = math.prod(shown.images.image_shape)
    for name, entropies in (("SID", one.sid), ("RU", one.ru)):
        if entropies is not None:
            found |= _of_entropies(name, entropies, values)
    if one.concentration is not None:
        mean, error = over_images(one.concentration)
        found |= {"concentration": mean, "concentration error": error}
        found["concentration images"] = int(one.concentration.isfinite().sum())
    mean, error = over_images(one.spread.value)
    found |= {"delta": mean, "delta error": error}
    return {name: finite(value) for name, value in found.items()}


def _of_entropies(name: str, entropies: Entropies, values: int) -> dict[str, float]:
    mean, error = over_images(entropies.mean)
    kept = ~entropies.failed
    drawn = float(entropies.error[kept].square().sum().sqrt()) / int(kept.sum())
    return {
        name: mean,
        f"{name} error": error,
        f"{name} error of draws": drawn,
        f"{name} an image": mean * values,
        f"{name} achieved": float(entropies.achieved[kept].mean()),
        f"{name} capped": float(entropies.capped[kept].mean()),
        f"{name} failed": int(entropies.failed.sum()),
    }
