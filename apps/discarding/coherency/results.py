"""How a study of coherency is kept: `coherency.json`, a list of protocols with their scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apps.discarding.coherency.comparing import Compared, Comparison
from apps.discarding.coherency.settings import CoherencySettings
from apps.discarding.coherency.tables import largest
from apps.discarding.results import protocol as protocol_of_discarding
from apps.discarding.shown import Shown
from apps.discarding.tables import over_images
from apps.runs.evaluations import as_kept, keep_evaluation, scores_by
from priors.files.json_files import finite

FILE = "coherency.json"
_WHEN = ("before", "after")


def keep(
    folder: Path,
    config: CoherencySettings,
    shown: Shown,
    found: Sequence[Comparison],
    refused: Mapping[str, str],
) -> None:
    """Write numbers, in the place of what the same protocol gave before.

    Args:
        folder: where to.
        config: what was asked for.
        shown: the images.
        found: by layer.
        refused: by layer, why it is not there.
    """
    own = protocol(config) | {"data_digest": shown.images.digest, "images": len(shown.images)}
    whole = {f"{measure} change": change for measure, change in largest(found).items()}
    whole |= {"held": sum(one.held for layer in found for one in layer.measures if one.asked)}
    whole |= {"asked": sum(bool(one.asked) for layer in found for one in layer.measures)}
    entry = as_kept(own) | {
        "of": shown.images.name,
        "image_shape": list(shown.images.image_shape),
        "scores": _plain(whole) | {"layers": {layer.handed.name: _scores(layer.measures) for layer in found}},
        "pairs": {
            layer.handed.name: {"first": pair.first, "norm": pair.norm, "second": pair.second}
            for layer in found
            for pair in (layer.handed.pair,)
        },
        "gaps": {layer.handed.name: dict(layer.gaps) for layer in found if layer.gaps},
        "refused": dict(refused),
    }
    keep_evaluation(folder, entry, FILE, own)


def protocol(config: CoherencySettings) -> dict[str, Any]:
    """What the command line says of how numbers are made."""
    return protocol_of_discarding(config) | {
        "factor": config.factor,
        "tolerance": config.tolerance,
        "baselines": list(config.baselines),
        "retrained": config.retrained,
        "halved": config.halved,
        "compensated": config.compensated,
    }


def scored(config: CoherencySettings, folder: Path) -> Mapping[str, Any] | None:
    """The scores that such a command has left in a folder; None where it has not run.

    "SID change", "RU change", "gradient change", ... are the largest over layers, "held" is how many of the "asked"
    checks hold; "layers" has by features "SID before", "SID after", "SID change" and so on.

    Raises:
        InputError: what is kept is damaged.
    """
    return scores_by(folder, FILE, protocol(config))


def _scores(measures: Sequence[Compared]) -> dict[str, float | None]:
    found: dict[str, float] = {}
    for one in measures:
        for when, values in zip(_WHEN, (one.before, one.after), strict=True):
            mean, error = over_images(values)
            found |= {f"{one.measure} {when}": mean, f"{one.measure} {when} error": error}
        for name, both in (("capped", one.capped), ("failed", one.failed)):
            if both is not None:
                found |= {f"{one.measure} {name} {when}": value for when, value in zip(_WHEN, both, strict=True)}
        found[f"{one.measure} change"] = one.change
        if one.asked:
            found[f"{one.measure} held"] = int(one.held)
    return _plain(found)


def _plain(found: Mapping[str, float]) -> dict[str, float | None]:
    """Numbers as JSON has them: null where there is none."""
    return {name: finite(value) for name, value in found.items()}
