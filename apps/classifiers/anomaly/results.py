"""What came of scoring a classifier's own images and others, and how it is kept beside the run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from analysis.directions.calibration import Calibration
from apps.classifiers.anomaly.detection import Detection
from apps.classifiers.settings import AnomalyScoring
from apps.command.answer import tell
from priors.files.json_files import write_json

FILE = "anomaly.json"
"""In a run's folder: what came out, by protocol."""
_BEFORE = {"space": "raw", "directions": "weights"}
"""What an entry stands for that is from before there was a choice."""


@dataclass(frozen=True)
class Against:
    """Another set of images beside the classifier's own."""

    name: str
    """As on the command line."""
    digest: str
    converted: str
    """How its images were brought to the network's shape, in words; nothing where they had it."""
    images: int
    """How many were scored."""
    zero: int
    """How many of their activations are zero."""
    values: Mapping[str, Float[Tensor, " k"]]
    """By score, one number an image; higher is more like the classifier's own."""
    detected: Mapping[str, Detection]
    """By score, how well it tells these images from the classifier's own."""


@dataclass(frozen=True)
class Anomaly:
    """A classifier's own images against others."""

    data: str
    """Name of its own data set."""
    digest: str
    images: int
    """How many of its own test images were scored."""
    values: Mapping[str, Float[Tensor, " n"]]
    """By score, one number an image."""
    against: tuple[Against, ...]
    calibrations: Mapping[str, Calibration]
    """By what the probabilities are from, on its own images."""
    in_gauges: Mapping[str, Calibration]
    """Likewise, of the prior in other gauges; these are not drawn."""
    concentration: str
    """How the concentrations of q(a|i) came about, in words."""

    @property
    def every_calibration(self) -> dict[str, Calibration]:
        """Those of its own gauge, and then the others."""
        return {**self.calibrations, **self.in_gauges}


def keep(path: Path | None, config: AnomalyScoring, found: Anomaly, earlier: list[dict[str, Any]]) -> None:
    """Add to what is there: an earlier entry by the same protocol keeps its other sets, and other scores of a set.

    Args:
        path: of the file; None for none: the numbers are told, and that is all.
        config: what was asked for.
        found: what came of it.
        earlier: the entries of the file as it is.
    """
    entry = _entry(config, found)
    tell(Path(FILE).stem, entry)
    if path is None:
        return
    keys = ("data", "data_digest", "concentration", "space", "directions", "images", "seed")
    same = [old for old in earlier if all((_BEFORE | old).get(key) == entry[key] for key in keys)]
    for old in same:
        against = old.get("against", {}) | entry["against"]
        scores = {name: old.get("scores", {}).get(name, {}) | entry["scores"].get(name, {}) for name in against}
        entry = entry | {"against": against, "scores": scores}
    write_json(path, [*(old for old in earlier if old not in same), entry])


def _entry(config: AnomalyScoring, found: Anomaly) -> dict[str, Any]:
    """All numbers as JSON has them."""
    return {
        "data": found.data,
        "data_digest": found.digest,
        "concentration": " ".join(config.concentration),
        "space": config.gauge.space or "raw",
        "directions": config.gauge.directions or "weights",
        "images": found.images,
        "seed": config.seed,
        "against": {
            other.name: {"images": other.images, "converted": other.converted, "digest": other.digest}
            for other in found.against
        },
        "scores": {
            other.name: {score: {"AUROC": value.auroc, "FPR95": value.fpr95} for score, value in other.detected.items()}
            for other in found.against
        },
        "calibration": {
            name: {"accuracy": one.accuracy, "NLL": one.nll, "ECE": one.ece}
            for name, one in found.every_calibration.items()
        },
        "reliability": {name: _diagram(one) for name, one in found.every_calibration.items()},
    }


def _diagram(found: Calibration) -> dict[str, list]:
    """The reliability diagram as JSON has it: nothing where a bin is empty."""
    met = (found.counts > 0).tolist()
    return {
        "count": found.counts.tolist(),
        "confidence": [value if any_ else None for value, any_ in zip(found.confidences.tolist(), met, strict=True)],
        "accuracy": [value if any_ else None for value, any_ in zip(found.accuracies.tolist(), met, strict=True)],
    }
