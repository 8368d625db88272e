"""Telling a classifier's own images from others by the prior in its final layer, and how far its probabilities hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, get_args

from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from analysis.directions.anomaly import (
    ANOMALY_SCORES,
    QUANTITIES,
    Fitted,
    direction_log_densities,
    fit_by_moments,
)
from analysis.directions.calibration import Calibration, calibration
from apps.classifiers.anomaly.detection import detection
from apps.classifiers.anomaly.peer_scores import PEERS, PeerScore, fit_peer_scores, require_peers
from apps.classifiers.anomaly.results import FILE, Against, Anomaly, keep
from apps.classifiers.anomaly.tables import print_calibration, print_detection
from apps.classifiers.prior.tables import said_gauge
from apps.classifiers.settings import AnomalyScoring
from apps.command.config import Gauge
from apps.command.console import paragraph, say
from apps.data.image_set import ImageSet
from apps.data.outliers import Conversion, are_centres, outliers
from apps.models import named
from apps.models.activations import Activations, activations, images_for
from apps.models.classifier_priors import concentrations, wanted_prior
from apps.models.moments import first_pass, run_through
from apps.runs.evaluations import claim_evaluations
from apps.runs.outputs import check_folder
from apps.training.session import start
from priors.errors import InputError
from priors.gauge.gauge import DirectionsName
from priors.gauge.moments import DirectionMoments
from priors.gauge.space import Space, SpaceName
from priors.model.provenance import PAPERS
from priors.zoo import Classifier


@dataclass(frozen=True)
class _Other:
    """Another set of images, before it is looked at."""

    name: str
    """As on the command line."""
    images: ImageSet
    conversion: Conversion


@dataclass(frozen=True)
class _Measured:
    """What the network makes of the images."""

    fitted: Fitted
    """What scores are computed with."""
    concentration: str
    """How the prior's concentrations came about, in words."""
    inside: Activations
    """Of the classifier's own test images."""
    seen: tuple[Activations, ...]
    """Of each other set."""
    peers: Mapping[str, PeerScore]
    """Scores of pytorch-ood that were asked for, by name."""
    gauges: Mapping[str, Fitted]
    """What scores are computed with in other gauges, by their names."""
    without: tuple[str, ...]
    """Gauges that were asked for and could not be, with the reason."""


def score_anomaly(config: AnomalyScoring) -> None:
    """Score, print, draw and write.

    Raises:
        InputError: no such model or images, images that are the classifier's own, a concentration that cannot be, or a
            place that cannot be written.
    """
    require_peers(config.also)
    folder = config.out or named.results_in(config.model)
    if config.out is not None:
        check_folder(config.out)
    network = named.classifier(config.model, config.foreign)
    own = images_for(config.model, network, "test", **_source(config))
    others = _others(config, own)
    earlier = claim_evaluations(folder, FILE) if folder else []
    accelerator = start(config.place.where())
    measured = _measured(config, network, own, others, accelerator)
    if measured is None:
        return
    found = _compared(own, others, measured)
    for number, other in enumerate(found.against):
        print_detection(config.model, found, other, last=number == len(found.against) - 1)
    print_calibration(config.model, found)
    if measured.without:
        paragraph(f"Gauges that cannot be had here: {'; '.join(measured.without)}.")
    if folder is not None:
        _draw(folder, found)
    keep(folder and folder / FILE, config, found, earlier)
    if folder is not None:
        say(f"Written to {folder}: anomaly.png, reliability.png and {FILE}.")


def _source(config: AnomalyScoring) -> dict[str, Any]:
    """Where the classifier's own images are."""
    return {
        "data": config.data,
        "image_size": config.image_size,
        "classes": config.classes,
        "root": config.place.data_root,
    }


def _others(config: AnomalyScoring, own: ImageSet) -> list[_Other]:
    """The other sets, and how each is brought to the network's shape.

    Raises:
        InputError: there is no such set, it is the classifier's own, or it cannot be brought to that shape.
    """
    root, shape, found = config.place.data_root, own.image_shape, {}
    for name in config.against:
        found[name] = outliers(name, shape, len(own), root=root, seed=config.seed)
    for name, images in found.items():
        if images.digest == own.digest:
            raise InputError(f"--against {name}: these are the classifier's own test images; give others")
    return [
        _Other(name, images, Conversion(images.image_shape, shape, are_centres(name))) for name, images in found.items()
    ]


def _measured(
    config: AnomalyScoring, network: Classifier, own: ImageSet, others: list[_Other], accelerator: Accelerator
) -> _Measured | None:
    """Run all images through the network, shared by the processes, of which the first one gets what was measured."""
    wanted = wanted_prior(concentrations(config.concentration), config.gauge)
    train = images_for(config.model, network, "train", **_source(config), again=True)
    names = get_args(SpaceName) if config.every_gauge else (wanted.space,)
    through = partial(run_through, network, train, accelerator)
    first = first_pass(through, names, wanted.space, network.class_names, activations=True)
    spaces = first.seen(through(spaces=first.rest) if first.rest else None)
    ((space, moments),) = (one for one in spaces if one[0].name == wanted.space)
    prior = wanted.of(network.cpu(), space=space, moments=moments)
    fitted = fit_by_moments(prior, moments, first.activations)
    # Rows go to the first process alone, which scores: those of ImageNet's training images are 10 GB.
    on_first = partial(activations, network, accelerator=accelerator, first=True)
    found = on_first(train) if config.also else None
    inside = on_first(_first(own, config))
    seen = [on_first(_first(other.images, config), prepare=other.conversion) for other in others]
    if inside is None:
        return None
    how = f"{prior.provenance.concentration}{said_gauge(prior)}"
    peers = fit_peer_scores(config.also, network, found) if config.also else {}
    gauges, missing = _in_every_gauge(config, network, fitted, spaces) if config.every_gauge else ({}, [])
    return _Measured(fitted, how, inside, tuple(seen), peers, gauges, (*first.without, *missing))


def _in_every_gauge(
    config: AnomalyScoring,
    network: Classifier,
    papers: Fitted,
    spaces: Sequence[tuple[Space, DirectionMoments]],
) -> tuple[dict[str, Fitted], list[str]]:
    """What scores are computed with in each gauge of these spaces but the paper's, and those that could not be."""
    found, without = {}, []
    for (space, moments), directions in product(spaces, get_args(DirectionsName)):
        name = f"{space.name}, {directions}"
        try:
            if name != PAPERS:
                wanted = wanted_prior(concentrations(config.concentration), Gauge(space.name, directions))
                prior = wanted.of(network.cpu(), space=space, moments=moments)
                found[name] = papers.in_gauge(prior, moments)
        except InputError as error:
            without.append(f"{name}: {error}")
    return found, without


def _first(images: ImageSet, config: AnomalyScoring) -> ImageSet:
    """The images of a set that are scored."""
    count = config.images
    return images if count is None or count >= len(images) else images.subset(range(count))


def _compared(own: ImageSet, others: list[_Other], measured: _Measured) -> Anomaly:
    """All scores of all sets, and the calibration on the classifier's own."""
    inside, against = _scores(measured, measured.inside), []
    for other, seen in zip(others, measured.seen, strict=True):
        scores = _scores(measured, seen)
        against.append(
            Against(
                name=other.name,
                digest=other.images.digest,
                converted=str(other.conversion),
                images=len(seen.labels),
                zero=int((seen.penultimate.norm(dim=1) == 0).sum()),
                values=scores,
                detected={score: detection(inside[score], outside) for score, outside in scores.items()},
            )
        )
    return Anomaly(
        data=own.name,
        digest=own.digest,
        images=len(measured.inside.labels),
        values=inside,
        against=tuple(against),
        calibrations=_calibrations(measured.inside, {"softmax": measured.inside.logits}, {"": measured.fitted}),
        in_gauges=_calibrations(measured.inside, {}, measured.gauges),
        concentration=measured.concentration,
    )


def _scores(measured: _Measured, found: Activations) -> dict[str, Float[Tensor, " n"]]:
    """Each score of each image, by the score's name."""
    fitted, known = measured.fitted, ANOMALY_SCORES.items()
    own = {score: function(fitted, found.penultimate, found.logits) for score, function in known}
    own |= {score: function(found) for score, function in measured.peers.items()}
    mixture = ANOMALY_SCORES["direction, mixture"]
    gauges = measured.gauges.items()
    return own | {f"{name}, mixture": mixture(other, found.penultimate, found.logits) for name, other in gauges}


def _calibrations(
    inside: Activations, logits: Mapping[str, Tensor], priors: Mapping[str, Fitted]
) -> dict[str, Calibration]:
    """How far probabilities hold: those by logits, and those by the prior in each gauge."""
    logits = dict(logits)
    for name, fitted in priors.items():
        named = f", {name}" if name else ""
        logits[f"q(i|a){named}"] = direction_log_densities(fitted.prior, inside.penultimate)
        logits[f"q(i|a) given |a|{named}"] = fitted.given_norm(inside.penultimate)
    return {name: calibration(each.double().log_softmax(1), inside.labels) for name, each in logits.items()}


def _draw(folder: Path, found: Anomaly) -> None:
    """The pictures of the scores and of the calibration."""
    from apps.classifiers.anomaly.figures import histograms, reliability  # the plotting library is slow to load
    from apps.figures import short_names

    (data,) = short_names([found.data])
    quantities = QUANTITIES | {name: quantity for name, quantity, _ in PEERS.values()}
    # The best class and the mixture look alike: one of them is drawn. Other gauges are for the tables.
    shown = [score for score in found.values if score in quantities and not score.endswith(", max")]
    histograms(
        folder / "anomaly.png",
        (found.data, {score: found.values[score] for score in shown}),
        {other.name: other.values for other in found.against},
        {
            other.name: {score: f"(AUROC {100 * value.auroc:.1f} %)" for score, value in other.detected.items()}
            for other in found.against
        },
        quantities,
        f"Scores of test images of {data} and of others: higher is more like {data}",
    )
    reliability(folder / "reliability.png", found.calibrations, f"Reliability on the test images of {data}")
