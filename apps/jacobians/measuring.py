"""What is found out about each image: its sum, its layers' maps, and a saliency map by each method."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analysis.jacobians.intercepts import Source
from analysis.jacobians.terms import Decomposition
from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.data.sweep import fewer_if_large, sweep
from apps.jacobians.drawing import Drawing
from apps.jacobians.inside.regions import empty, shares
from priors.zoo import Classifier

_MOST = 16
"""Images a batch: all of their layers' maps are held."""


@dataclass(frozen=True)
class Found:
    """By image, on the CPU, in units of what is explained.

    Attributes:
        logits: of all classes.
        target: the class that is explained.
        output: of it, f.
        residual: of the sum, see `Decomposition`.
        input: J_x x by pixel, whose sum is the input's term.
        sources: what terms of each source add up to.
        layers: what terms of each layer add up to, by its name.
        panels: by layer and size, the layer's channel-summed map; maps of one pixel have no place and are left out.
        without: what terms add that are on no panel.
        maps: by method.
        inside: by kind of region and by map, methods' and controls', the share of its mass inside, see `shares`.
        empty: of the same maps, whether they are 0 everywhere.
    """

    logits: Float[Tensor, "n classes"]
    target: Int[Tensor, " n"]
    output: Float[Tensor, " n"]
    residual: Float[Tensor, " n"]
    input: Float[Tensor, "n height width"]
    sources: dict[Source, Float[Tensor, " n"]]
    layers: dict[str, Float[Tensor, " n"]]
    panels: dict[str, Float[Tensor, "n rows columns"]]
    without: Float[Tensor, " n"]
    maps: dict[str, Float[Tensor, "n height width"]]
    inside: dict[str, dict[str, Float[Tensor, " n"]]]
    empty: dict[str, Bool[Tensor, " n"]]


def measure(
    network: Classifier,
    images: ImageSet,
    target: int | None,
    drawing: Drawing,
    accelerator: Accelerator,
    masks: Mapping[str, Bool[Tensor, "n height width"]],
) -> Found:
    """Explain every image, in one pass over the set.

    Args:
        network: the classifier, which is moved to the accelerator's device.
        images: all of one size.
        target: the class to explain; None: the one that is predicted for each image.
        drawing: the maps, and what they explain.
        accelerator: of this process.
        masks: where the objects are, by kind of region; none: nothing is measured of that.

    Raises:
        InputError: an operation that cannot be decomposed, or a method that is not for this network.
    """
    network = network.to(accelerator.device)
    masks = {region: own.to(accelerator.device) for region, own in masks.items()}

    def explained(batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            logits = network(batch.images)
        chosen = logits.argmax(1) if target is None else torch.full_like(batch.labels, target)
        subject = drawing.subject(network, batch.images, chosen)
        rows = {"logits": logits, "target": chosen} | _parts(subject.decomposition)
        for name, maps in drawing.draw(subject, batch.index, images.split):
            if name in drawing.methods:
                rows[f"map {name}"] = maps
            rows |= {f"inside {region} {name}": shares(maps, own[batch.index]) for region, own in masks.items()}
            rows[f"empty {name}"] = empty(maps)
        return rows

    size = max(1, min(_MOST, fewer_if_large(images) // _MOST))
    rows = sweep(images, explained, batch_size=size, accelerator=accelerator, description="saliency", gradients=True)
    return Found(
        **{name: rows[name] for name in ("logits", "target", "output", "residual", "input", "without")},
        sources=_named(rows, "source "),
        layers=_named(rows, "layer "),
        panels=_named(rows, "panel "),
        maps=_named(rows, "map "),
        inside={region: _named(rows, f"inside {region} ") for region in masks},
        empty=_named(rows, "empty "),
    )


def _parts(found: Decomposition) -> dict[str, Tensor]:
    """Of a batch, by names that say what they are."""
    rows = {"output": found.output, "residual": found.residual, "input": found.input_map}
    rows |= {f"source {name}": total for name, total in found.by_source().items()}
    rows |= {f"layer {name}": total for name, total in found.by_layer().items()}
    panels: dict[str, Tensor] = {}
    without = torch.zeros_like(found.output)
    for term in found.per_layer():
        if term.map is None or term.map.shape[1:] == (1, 1):
            without = without + term.total
            continue
        name = f"panel {term.layer}"
        if name in panels and panels[name].shape != term.map.shape:
            name = f"{name} ({term.map.shape[1]}x{term.map.shape[2]})"
        panels[name] = panels[name] + term.map if name in panels else term.map
    return rows | panels | {"without": without}


def _named(rows: Mapping[str, Tensor], kind: str) -> dict:
    return {name.removeprefix(kind): values for name, values in rows.items() if name.startswith(kind)}


SOURCES = get_args(Source)
"""Where terms come from, in the order in which they are told."""
