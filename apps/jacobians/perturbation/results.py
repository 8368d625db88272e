"""How what was found is kept: `perturb.json`, a list of protocols with their scores, as other evaluations are."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.jacobians.curves import CurveDifference
from apps.data.image_set import ImageSet
from apps.jacobians.perturbation.found import Judged
from apps.jacobians.perturbation.settings import Perturbing
from apps.runs.evaluations import keep_evaluation
from priors.files.json_files import finite

FILE = "perturb.json"
"""In a run's folder: what came out, by protocol."""


def keep(
    folder: Path | None,
    config: Perturbing,
    images: ImageSet,
    methods: Sequence[str],
    sigma: float,
    accuracy: float,
    found: Sequence[Judged],
) -> None:
    """Write what was found, in the place of what the same protocol gave before.

    Args:
        folder: where to; None for nowhere: the numbers are told, and that is all.
        config: what was asked for.
        images: that were measured.
        methods: whose maps.
        sigma: by which maps were blurred, in pixels.
        accuracy: of the network on whole images; NaN where it is not known.
        found: the maps.
    """
    own = _protocol(config, images, methods, sigma)
    entry = own | {
        "scores": {"accuracy": finite(accuracy), **{one.name: _scores(one) for one in found}},
        "curves": {
            one.name: {
                "mean": one.curve.mean.tolist(),
                "standard error": [finite(value) for value in one.curve.standard_error.tolist()],
            }
            for one in found
        },
    }
    keep_evaluation(folder, entry, FILE, own)


def _protocol(config: Perturbing, images: ImageSet, methods: Sequence[str], sigma: float) -> dict[str, Any]:
    """What the numbers are of, and by what they were made."""
    own: dict[str, Any] = {
        "model": config.model,
        "data": config.data or images.name,
        "data_digest": images.digest,
        "images": len(images),
        "benchmark": config.benchmark,
        "order": config.order,
        "measure": config.measured,
        "signed": config.signed,
        "fill": config.filled,
        "of": config.explained.of,
        "fractions": list(config.parts),
        "methods": list(methods),
        "controls": list(config.controls),
        "blur": sigma,
        "seed": config.seed,
        "choices": asdict(config.choices),
    }
    if config.explained.under_prior:
        own["prior"] = config.explained.told()
    if config.benchmark == "road":
        own["noise"] = config.imputed_noise
    return own | ({"seeds": config.seeds} if config.benchmark == "roar" else {})


def _scores(one: Judged) -> dict[str, float | None]:
    scores = {"score": finite(one.curve.score), "standard error": finite(one.curve.score_error)}
    return scores | _pair("less random", one.from_random) | _pair("by blurring", one.by_blur)


def _pair(name: str, change: CurveDifference | None) -> dict[str, float | None]:
    if change is None:
        return {}
    return {name: finite(change.value), f"{name}, standard error": finite(change.standard_error)}
