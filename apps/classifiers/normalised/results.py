"""Normalised accuracies in a file: beside a run, or of several models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.directions.normalised import NORMALISED, NORMALISED_WITH_BIAS, ORIGINAL
from apps.classifiers.normalised.gauges import InGauge
from apps.classifiers.settings import NormalisedScoring
from apps.command.answer import tell
from apps.data.image_set import ImageSet
from apps.models import named
from apps.runs.evaluations import follows, read_evaluations
from priors.files.json_files import write_json

FILE = "normalised.json"
"""In a run's folder: what came out, by protocol."""
TABLE = {"original": ORIGINAL, "normalised": NORMALISED, "bias kept": NORMALISED_WITH_BIAS}
"""The variants of table 1 of Seo, Lee and Kwak (2021), by its names."""
_BEFORE = {"space": "raw", "directions": "weights"}
"""What an entry stands for that is from before there was a choice."""


def place(config: NormalisedScoring) -> Path | None:
    """Where the scores go."""
    folder = named.results_in(config.model)
    return config.out or (folder and folder / FILE)


def keep(
    path: Path | None,
    config: NormalisedScoring,
    images: ImageSet,
    first: dict[str, int],
    training: ImageSet | None,
    scores: Sequence[InGauge],
    earlier: list[dict[str, Any]],
) -> None:
    """Add to what is there, an entry a gauge; one by the same protocol is replaced.

    Args:
        path: of the file; None for none: the numbers are told, and that is all.
        config: what was asked for.
        images: that were scored.
        first: what an entry says of their being the first ones of a set.
        training: that gauges were measured on, where such were.
        scores: in each gauge.
        earlier: the entries of the file as it is.
    """
    entries = [_entry(config, images, first, training, one) for one in scores]
    for entry in entries:
        tell(Path(FILE).stem, entry)
    if path is None:
        return
    new = [_protocol(entry) for entry in entries]
    write_json(path, [*(old for old in earlier if _protocol(old) not in new), *entries])


def scored(config: NormalisedScoring) -> dict[str, float] | None:
    """What a finished command of these settings found, by table 1's names and in per cent; None where it is not done.

    Of several gauges it is what was found in the paper's.

    Raises:
        InputError: the file is damaged or of another program.
    """
    path = place(config)
    wanted = {
        "model": config.model if config.out else None,
        "data": config.data,
        "resize": config.resize,
        "first": config.images,
        "space": config.gauge.space or "raw",
        "directions": config.gauge.directions or "weights",
    } | (_parts(config) if config.gauge.measured() else {})
    for entry in read_evaluations(path.parent, path.name) if path else ():
        if follows(_BEFORE | entry, wanted):
            scores = entry["scores"]
            found = {name: 100 * scores[variant]["accuracy"] for name, variant in TABLE.items() if variant in scores}
            return found | {"drop rate": scores[NORMALISED]["drop rate in %"]}
    return None


def _parts(config: NormalisedScoring) -> dict[str, int | None]:
    """What an entry says of parts of the images by which its gauge was measured."""
    return {"folds": config.folds, "seed": None if config.folds is None else config.seed}


def _entry(
    config: NormalisedScoring, images: ImageSet, first: dict[str, int], training: ImageSet | None, one: InGauge
) -> dict[str, Any]:
    """What the file holds of it: the protocol, the norms and the scores."""
    found, measured = one.found, {}
    if one.measured and training is not None:
        measured = {"measured on": {"images": len(training), "digest": training.digest}}
    elif one.measured:
        measured = _parts(config)
    return {
        **({} if config.out is None else {"model": config.model}),
        "data": config.data or named.trained_on(named.open_run(config.model)).data,
        "data_digest": images.digest,
        "images": len(images),
        **first,
        **({} if config.resize is None else {"resize": config.resize}),
        "space": one.space,
        "directions": one.directions,
        **measured,
        "activations": {"mean norm": found.activation_norm, "spread": found.activation_spread, "zero": found.zero},
        "weights": {"mean norm": found.weight_norm, "spread": found.weight_spread},
        "scores": {
            variant.name: {"accuracy": variant.accuracy, "drop rate in %": variant.drop_rate}
            for variant in found.variants
        },
    }


def _protocol(entry: dict[str, Any]) -> tuple:
    """What an entry was made by: two by the same protocol replace one another."""
    names = ("model", "data", "data_digest", "images", "resize", "space", "directions", "folds", "seed")
    return tuple((_BEFORE | entry).get(name) for name in names)
