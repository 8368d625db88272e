"""How what was found is kept: `spectrum.json`, a list of protocols with their scores, as other evaluations are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.spectra.convention import SpectrumConvention
from apps.runs.evaluations import keep_evaluation, scores_by
from apps.spectra.convention import wanted
from apps.spectra.exponents import MapSpectrum
from apps.spectra.found import Part, by_class, by_correctness, difference, kinds_of_maps
from apps.spectra.measuring import IMAGES
from apps.spectra.settings import SpectrumMeasuring
from priors.files.json_files import finite

FILE = "spectrum.json"
"""In a run's folder: what came out, by protocol."""


def keep(
    folder: Path | None, config: SpectrumMeasuring, digest: str, convention: SpectrumConvention, parts: Sequence[Part]
) -> None:
    """Write what was found, in the place of what the same protocol gave before.

    Args:
        folder: where to; None for nowhere: the numbers are told, and that is all.
        config: what was asked for.
        digest: of the images.
        convention: of the spectra.
        parts: the network or the images first.
    """
    own = _protocol(config, parts[0], digest, convention)
    entry = {name: value for name, value in own.items() if value is not None} | {
        "scores": {part.name: _scores(part, parts[0]) for part in parts},
        "spectra": {part.name: _spectra(part) for part in parts},
    }
    keep_evaluation(folder, entry, FILE, own)


def _protocol(config: SpectrumMeasuring, first: Part, digest: str, convention: SpectrumConvention) -> dict[str, Any]:
    """What the numbers are of, and by what they were made."""
    data = {"data": config.data or first.images, "data_digest": digest, "images": first.count}
    return data | _asked(config, convention)


def _asked(config: SpectrumMeasuring, convention: SpectrumConvention) -> dict[str, Any]:
    """What the command line says of it."""
    return {
        "model": config.model,
        "first": config.images,
        "image_size": config.image_size,
        **({} if config.classes is None else {"classes": config.classes}),
        "resize": config.resize,
        "taps": list(config.taps),
        "pooled": config.pooled,
        "untrained": config.untrained,
        "snapshots": config.snapshots,
        "against": list(config.against),
        "by": list(config.by),
        "seed": config.seed,
        "convention": asdict(convention) | {"fit_range": list(convention.fit_range)},
    }


def _scores(part: Part, own: Part) -> dict[str, Any]:
    """All numbers as JSON has them: null where there is none."""
    found: dict[str, Any] = {} if part.accuracy is None else {"accuracy": part.accuracy}
    for one in part.spectra.values():
        found[one.name] = _exponents(one)
    trend = part.trend()
    if trend is not None:
        found["trend with depth"] = {name: finite(value) for name, value in asdict(trend).items()}
    if part.kind == "images" and part is not own:
        apart = difference(part.whole(IMAGES), own.whole(IMAGES))
        found["difference"] = {"value": finite(apart.value), "error": finite(apart.error)}
    for of in kinds_of_maps(part):
        if (pair := by_correctness(part, of)) is not None:
            apart = difference(pair[1], pair[0])
            found[f"{of}, wrong less right"] = {"value": finite(apart.value), "error": finite(apart.error)}
        if (classes := by_class(part, of)) is not None:
            found[f"{of}, over classes"] = {"spread": finite(classes.spread), "p": finite(classes.p_value)}
    return found


def _exponents(one: MapSpectrum) -> dict[str, float | None]:
    line, bias = one.regression, one.bias
    scores = {
        "whittle": one.exponent,
        "whittle error over images": math.nan if one.likely is None else one.likely.sandwich_error,
        "whittle error by Fisher information": math.nan if one.likely is None else one.likely.fisher_error,
        "regression": math.nan if line is None else line.exponent,
        "regression error by rings": math.nan if line is None else line.standard_error,
        "regression error over images": math.nan if line is None else line.sampling_error,
        "correlation length": one.length,
        "implied correlation length": one.implied_length,
        "images": one.images,
    }
    if bias is not None:
        scores |= {"whittle bias": bias.whittle, "regression bias": bias.regression}
    return {name: finite(value) for name, value in scores.items()}


def _spectra(part: Part) -> dict[str, Any]:
    """The curves that pictures are drawn from, of all images' maps."""
    return {
        one.name: {
            "shape": [one.channels, *one.shape],
            "frequency": one.spectrum.frequency.tolist(),
            "count": one.spectrum.count.tolist(),
            "value": one.spectrum.value.tolist(),
            "error": [finite(value) for value in one.spectrum.standard_error.tolist()],
        }
        for one in part.spectra.values()
        if not one.key.group
    }


def scored(config: SpectrumMeasuring, folder: Path) -> Mapping[str, Any] | None:
    """The scores that such a command has left in a folder, by "maps score" of its network; None where it has not run.

    Raises:
        InputError: what is kept is damaged.
    """
    asked = _asked(config, wanted(config.spectrum)) | ({} if config.data is None else {"data": config.data})
    found = scores_by(folder, FILE, asked)
    return found and {
        f"{part}: {of} {score}" if number else f"{of} {score}": value
        for number, (part, scores) in enumerate(found.items())
        for of, numbers in scores.items()
        if isinstance(numbers, Mapping)
        for score, value in numbers.items()
    }
