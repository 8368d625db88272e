"""How a sheet of layers is kept: `layers.json`, a list of protocols with their scores, as other evaluations are."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.layers.agreement import Agreement
from apps.layers.agreeing import Pair
from apps.layers.settings import LayerSettings
from apps.layers.sheet import Found, Sheet
from apps.runs.evaluations import as_kept, keep_evaluation
from priors.files.json_files import finite

FILE = "layers.json"
"""In a run's folder: what came out, by protocol."""


def keep(folder: Path | None, config: LayerSettings, digest: str, found: Found) -> None:
    """Write what was found, in the place of what the same protocol gave before.

    Args:
        folder: where to; None for nowhere: the numbers are told, and that is all.
        config: what was asked for.
        digest: of the images.
        found: by it.
    """
    own = {
        "data": config.data or found.images,
        "data_digest": digest,
        "images": found.count,
        "model": config.model,
        **asdict(config.sizes),
        **asdict(config.objects),
        "taps": list(config.taps),
        "lenses": {name: lens.told for name, lens in found.lenses.items()},
        "against": list(config.against),
        "level": config.level,
        "draws": config.draws,
        "seed": config.seed,
    }
    entry = as_kept(own) | {
        "lens titles": {name: [lens.title, lens.unit, lens.meaning] for name, lens in found.lenses.items()},
        "layers": {sheet.name: [layer.name for layer in sheet.layers] for sheet in found.sheets},
        "scores": {sheet.name: _scores(sheet) for sheet in found.sheets},
        "notes": {sheet.name: _notes(sheet) for sheet in found.sheets},
        "without": {sheet.name: sheet.reasons() for sheet in found.sheets},
        "agreement": [_pair(pair) for pair in found.pairs],
    }
    keep_evaluation(folder, entry, FILE, own)


def _scores(sheet: Sheet) -> dict[str, Any]:
    """By layer and lens, values with their errors; null where there is none."""
    return {
        layer.name: {
            lens: {"value": finite(one.value), "error": finite(one.error), "images": one.images}
            for lens, view in sheet.views.items()
            if (one := view.readings.get(layer.name)) is not None
        }
        for layer in sheet.layers
    }


def _notes(sheet: Sheet) -> dict[str, Any]:
    """By lens and layer, what else is to be said of values."""
    found = {
        lens: {layer: one.note for layer, one in view.readings.items() if one.note}
        for lens, view in sheet.views.items()
    }
    return {lens: layers for lens, layers in found.items() if layers}


def _pair(pair: Pair) -> dict[str, Any]:
    found = {"changes": _agreement(pair.changes), "places": _agreement(pair.places)}
    steps = {name: [list(one) for one in own] for name, own in zip(pair.networks, pair.steps, strict=True)}
    return {"lenses": list(pair.lenses), "steps": steps, **found, "without": pair.without}


def _agreement(one: Agreement | None) -> dict[str, Any] | None:
    if one is None:
        return None
    each = [[finite(value) for value in steps] for steps in one.each]
    return asdict(one) | {"each": each, "alike": list(one.alike), "sampled": list(one.sampled)}
