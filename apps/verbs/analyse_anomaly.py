"""Tell a classifier's own images from others by the prior in its final layer, and see how far its probabilities hold.

Scores from q(a|i) beside the usual ones, as AUROC and FPR95; calibration of q(i|a) beside the softmax. Prints tables,
draws anomaly.png and reliability.png, and adds to anomaly.json, all in the run's folder.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from apps.command.config import Foreign, Place

FILE = "anomaly.json"
"""In a run's folder: what came out, by protocol."""

_LEGEND = (
    "direction: log q(a|i) of the direction; given norm: the same with kappa_i = |w_i| |a| (equation 5); with norm: "
    "direction plus a log-normal density of |a| by class; max over the classes i, or their mixture. FPR95: the others "
    "that pass where 95 % of the classifier's own images do."
)


@dataclass(frozen=True)
class Config:
    """Score what a classifier has not seen."""

    model: tyro.conf.Positional[str]
    """The classifier: a MODEL, see penult --help."""
    against: tuple[str, ...] = ()
    """Other images: data sets, .npz files, folders of pictures, or noise (uniform); brought to the network's shape."""
    data: str | None = None
    """The classifier's own data set; unset: the one the run was trained on."""
    image_size: int | None = None
    """Height and width to bring its image folder's pictures to, in pixels; unset: as the run was trained."""
    concentration: tuple[str, ...] = ("mle",)
    """Of q(a|i): a number, one a class, or a strategy that measures training activations, as in penult prior."""
    images: int | None = None
    """Take the first this many test images of each set only; unset: all."""
    seed: int = 0
    """Seed of the noise."""
    out: Path | None = None
    """New folder for pictures and numbers; unset: the run's, and nothing is written where there is no run."""
    foreign: tyro.conf.OmitArgPrefixes[Foreign] = field(default_factory=Foreign)
    place: tyro.conf.OmitArgPrefixes[Place] = field(default_factory=Place)

    def __post_init__(self):
        """Refuse what compares nothing."""
        from priors.errors import InputError

        if not self.against:
            raise InputError("--against is missing: give one or more data sets or folders of other images, or noise")
        for flag, value in (("--images", self.images), ("--image-size", self.image_size)):
            if value is not None and value < 1:
                raise InputError(f"{flag} {value}: expected 1 or more")


def main(config: Config) -> None:
    """Score, print, draw and write."""
    from analysis.directions.anomaly import (
        ANOMALY_SCORES,
        direction_log_densities,
        fit_anomaly_scores,
        given_norm_log_densities,
    )
    from analysis.directions.calibration import calibration
    from apps.classifiers.detection import detection
    from apps.command.console import say
    from apps.data.outliers import Conversion, are_pictures, outliers
    from apps.models import named
    from apps.models.activations import activations, images_for
    from apps.models.classifier_priors import read_prior
    from apps.runs.evaluations import read_evaluations
    from apps.runs.outputs import check_folder
    from apps.training.session import start
    from priors.errors import InputError

    folder = config.out or (Path(config.model) if named.is_run(config.model) else None)
    if config.out is not None:
        check_folder(config.out)
    network = named.classifier(config.model, config.foreign)
    root = config.place.data_root
    source = {"data": config.data, "image_size": config.image_size, "root": root}
    own = images_for(config.model, network, "test", **source)
    others = {name: outliers(name, own.image_shape, len(own), root=root, seed=config.seed) for name in config.against}
    for name, images in others.items():
        if images.digest == own.digest:
            raise InputError(f"--against {name}: these are the classifier's own test images; give others")
    conversions = {
        name: Conversion(images.image_shape, own.image_shape, are_pictures(name)) for name, images in others.items()
    }
    earlier = read_evaluations(folder, FILE) if folder else []
    accelerator = start(config.place.where())

    reading = read_prior(
        config.model, config.concentration, config.foreign, **source, accelerator=accelerator, measure=True
    )
    fitted = fit_anomaly_scores(reading.prior.cpu(), reading.measured.penultimate, reading.measured.labels)
    inside = activations(network, _first(own, config), accelerator)
    seen = {
        name: activations(network, _first(images, config), accelerator, prepare=conversions[name])
        for name, images in others.items()
    }
    if not accelerator.is_main_process:
        return
    values, *rest = (
        {score: function(fitted, found.penultimate, found.logits) for score, function in ANOMALY_SCORES.items()}
        for found in (inside, *seen.values())
    )
    compared = dict(zip(others, rest, strict=True))
    detected = {
        name: {score: detection(values[score], other) for score, other in scores.items()}
        for name, scores in compared.items()
    }
    by_norm = given_norm_log_densities(fitted.prior.weight, inside.penultimate)
    calibrated = {
        name: calibration(logits.double().log_softmax(1), inside.labels)
        for name, logits in (
            ("softmax", inside.logits),
            ("q(i|a)", direction_log_densities(fitted.prior, inside.penultimate)),
            ("q(i|a) given |a|", by_norm),
        )
    }
    for name, found in detected.items():
        _print(config.model, own, name, found, seen[name], conversions[name], last=name == [*detected][-1])
    _print_calibration(config.model, own, reading.prior, calibrated)
    if folder is None:
        return
    entry = {
        "data": own.name,
        "data_digest": own.digest,
        "concentration": " ".join(config.concentration),
        "images": len(inside.labels),
        "seed": config.seed,
        "against": {
            name: {"images": len(seen[name].labels), "converted": str(conversions[name]), "digest": others[name].digest}
            for name in others
        },
        **_results(detected, calibrated),
    }
    _draw(folder, own.name, values, compared, detected, calibrated)
    _write(folder / FILE, entry, earlier)
    say(f"Written to {folder}: anomaly.png, reliability.png and {FILE}.")


def _first(images, config: Config):
    count = config.images
    return images if count is None or count >= len(images) else images.subset(range(count))


def _print(model: str, own, name: str, found: dict, seen, conversion, last: bool) -> None:
    from apps.command.console import say, table

    zero = int((seen.penultimate.norm(dim=1) == 0).sum())
    notes = [f"{name}: {conversion}" if str(conversion) else "", f"{zero:,} activations are zero" if zero else ""]
    table(
        f"{model}: test images of {own.name} against {len(seen.labels):,} of {name}",
        ("score", "AUROC", "FPR95"),
        [(score, f"{value.auroc:.2%}", f"{value.fpr95:.2%}") for score, value in found.items()],
        ". ".join([*filter(None, notes), _LEGEND]) if last else "; ".join(filter(None, notes)),
    )
    say()


def _print_calibration(model: str, own, prior, calibrated: dict) -> None:
    from apps.command.console import table

    table(
        f"{model}: calibration on the test images of {own.name}",
        ("probabilities", "accuracy", "NLL", "ECE"),
        [(name, f"{found.accuracy:.2%}", f"{found.nll:.4f}", f"{found.ece:.2%}") for name, found in calibrated.items()],
        f"q(i|a): of the direction, kappa_i by {prior.provenance.concentration}; given |a|: kappa_i = |w_i| |a|. NLL "
        "in nats; ECE over 15 bins of equal width.",
    )


def _draw(folder: Path, data: str, values: dict, compared: dict, detected: dict, calibrated: dict) -> None:
    from analysis.directions.anomaly import QUANTITIES
    from apps.classifiers.anomaly_figures import histograms, reliability

    # The best class and the mixture look alike: one of them is drawn.
    shown = [score for score in values if not score.endswith(", max")]
    histograms(
        folder / "anomaly.png",
        (data, {score: values[score] for score in shown}),
        compared,
        {
            name: {score: f"(AUROC {100 * value.auroc:.1f} %)" for score, value in found.items()}
            for name, found in detected.items()
        },
        QUANTITIES,
        f"Scores of test images of {data} and of others: higher is more like {data}",
    )
    reliability(folder / "reliability.png", calibrated, f"Reliability on the test images of {data}")


def _results(detected: dict, calibrated: dict) -> dict:
    """All numbers as JSON has them."""
    return {
        "scores": {
            name: {score: {"AUROC": value.auroc, "FPR95": value.fpr95} for score, value in found.items()}
            for name, found in detected.items()
        },
        "calibration": {
            name: {"accuracy": found.accuracy, "NLL": found.nll, "ECE": found.ece} for name, found in calibrated.items()
        },
        "reliability": {name: _diagram(found) for name, found in calibrated.items()},
    }


def _diagram(found) -> dict[str, list]:
    """The reliability diagram as JSON has it: nothing where a bin is empty."""
    met = (found.counts > 0).tolist()
    return {
        "count": found.counts.tolist(),
        "confidence": [value if any_ else None for value, any_ in zip(found.confidences.tolist(), met, strict=True)],
        "accuracy": [value if any_ else None for value, any_ in zip(found.accuracies.tolist(), met, strict=True)],
    }


def _write(path: Path, entry: dict, earlier: list[dict]) -> None:
    """Add to what is there: an earlier entry by the same protocol keeps its other sets."""
    from priors.storage import write_json

    keys = ("data", "data_digest", "concentration", "images", "seed")
    same = [old for old in earlier if all(old.get(key) == entry[key] for key in keys)]
    for old in same:
        entry = entry | {key: old.get(key, {}) | entry[key] for key in ("against", "scores")}
    write_json(path, [*(old for old in earlier if old not in same), entry])
