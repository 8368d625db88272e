"""How explanations are kept: numbers in saliency.json, maps in maps.safetensors."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from apps.command.answer import tell
from apps.jacobians.measuring import Found
from apps.jacobians.settings import SaliencySettings
from apps.jacobians.shown import Shown
from priors.files.json_files import write_json
from priors.files.tensors import write_tensors
from priors.zoo import Classifier

FILE, MAPS = "saliency.json", "maps.safetensors"


def keep(
    folder: Path,
    config: SaliencySettings,
    network: Classifier,
    shown: Shown,
    found: Found,
    scales: Mapping[str, float],
    layer: str | None,
    inside: Mapping[str, Any],
) -> None:
    """Write maps and numbers; the numbers last, so that they are there only where all is.

    Args:
        folder: where to.
        config: what was asked for.
        network: that was explained.
        shown: the images.
        found: about them.
        scales: by method, the value that the figure shows brightest.
        layer: whose maps Grad-CAM weighed, where it was asked for.
        inside: what is told of masks and boxes.
    """
    panels = {f"layer/{name}": maps for name, maps in found.panels.items()}
    maps = {f"method/{name}": maps for name, maps in found.maps.items()}
    tensors = {"slope x image": found.input} | panels | maps
    write_tensors(folder / MAPS, {name: values.to(torch.float32) for name, values in tensors.items()})
    entries = [_entry(number, network, shown, found) for number in range(len(shown.names))]
    own = {
        "model": config.model,
        "data": shown.images.name,
        "data_digest": shown.images.digest,
        "image_shape": list(shown.images.image_shape),
        "of": config.explained.of,
        "prior": config.explained.told(),
        "class": config.target,
        "seed": config.seed,
        "choices": asdict(config.choices) | {"layer": layer},
        "scales": dict(scales),
        **({"inside": dict(inside)} if inside else {}),
        "images": entries,
    }
    tell(Path(FILE).stem, own)
    write_json(folder / FILE, own)


def _entry(number: int, network: Classifier, shown: Shown, found: Found) -> dict[str, Any]:
    """All numbers of one image."""

    def told(values: Mapping[str, torch.Tensor]) -> dict[str, float]:
        return {name: float(one[number]) for name, one in values.items()}

    def called(label: int) -> dict[str, Any]:
        return {"number": label, "name": network.class_names[label]}

    labelled = {"label": called(int(shown.images.labels[number]))} if shown.labelled else {}
    return {
        "image": shown.names[number],
        **labelled,
        "predicted": called(int(found.logits[number].argmax())),
        "class": called(int(found.target[number])),
        "output": float(found.output[number]),
        "residual": float(found.residual[number]),
        "slope x image": float(found.input[number].sum()),
        "without map": float(found.without[number]),
        "sources": told(found.sources),
        "layers": told(found.layers),
        "panels": told({name: maps.sum((1, 2)) for name, maps in found.panels.items()}),
    }
