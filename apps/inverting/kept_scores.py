"""The scores that penult analyse invert has left in its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.inverting.plan import folder_of, said_of_second
from apps.inverting.settings import InvertSettings
from priors.errors import InputError, reason
from priors.files.json_files import read_json


def scored(config: InvertSettings) -> dict[str, float] | None:
    """The scores that the command left, by what it is told to do; None where something of it is missing.

    They are `LAYER NCE` in nats, with --distances also `LAYER 1NN`, `LAYER IM-S` and `LAYER IM-NN`, and `accuracy` of
    the network in per cent, where it is known.

    Raises:
        InputError: what is there is damaged.
    """
    folder = folder_of(config)
    if not _complete(config, folder):
        return None
    try:
        scores = _of_layers(read_json(folder / "inversion.json", "scores of an inversion"))
        if config.distances:
            apart = read_json(folder / "distances.json", "distances of samples")
            if apart["images"] != config.distances:
                return None
            scores |= _of_distances(apart)
        if config.overfit:
            steps = read_json(folder / "through-training.json", "scores through training")["steps"]
            if not any(entry["network"] == said_of_second(config) for entry in steps):
                return None
    except (IndexError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} holds no scores of an inversion ({reason(error)}): remove its .json files"
        ) from None
    # Another command may have been there since, with other layers.
    return scores if all(f"{layer} NCE" in scores for layer in config.asked_layers) else None


def _complete(config: InvertSettings, folder: Path) -> bool:
    """Whether each file is there that the command leaves."""
    products = {
        "inversion.json": True,
        "sheet.png": config.shown,
        "distances.json": config.distances,
        f"closest-{config.closest}.png": config.closest is not None,
        "through-training.json": config.snapshots or config.overfit,
    }
    return all((folder / product).is_file() for product, wanted in products.items() if wanted)


def _of_layers(found: Mapping[str, Any]) -> dict[str, float]:
    """Of `inversion.json`: the cross-entropies, also as parts of the first one, and the network's accuracy."""
    first = abs(found["layers"][0]["NCE"])
    scores = {f"{entry['layer'] or 'none'} NCE": entry["NCE"] for entry in found["layers"]}
    scores |= {f"{entry['layer'] or 'none'} relative": entry["NCE"] / first for entry in found["layers"]}
    if found.get("accuracy") is not None:
        scores["accuracy"] = 100 * found["accuracy"]
    return scores


def _of_distances(apart: Mapping[str, Any]) -> dict[str, float]:
    """Of `distances.json`: table 1."""
    return {f"{entry['layer']} {kind}": entry[kind] for entry in apart["layers"] for kind in ("1NN", "IM-S", "IM-NN")}
