"""Normalised accuracy in several gauges: measured on training images, or on the other parts of the test images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import get_args

import torch
from accelerate import Accelerator
from torch import Tensor

from analysis.directions.normalised import NormalisedAccuracy, normalised_accuracy, together
from apps.classifiers.settings import NormalisedScoring
from apps.data.image_set import ImageSet
from apps.data.sweep import fewer_if_large
from apps.models.activations import Activations
from apps.models.moments import first_pass, held_spaces, run_through
from apps.seeds import generator
from priors.errors import InputError
from priors.gauge.evidence import Evidence
from priors.gauge.gauge import DirectionsName, choose_gauge
from priors.gauge.moments import DirectionMoments
from priors.gauge.space import Space, SpaceName
from priors.reading.heads import Head, read_head
from priors.zoo import Classifier

_NAMES = tuple[SpaceName, DirectionsName]


@dataclass(frozen=True)
class InGauge:
    """Accuracies in one gauge.

    Attributes:
        space: of the activations.
        directions: of the classes.
        shrinkage: of a whitened space, the mean over parts; else None.
        measured: whether images had a say in the gauge.
        found: the accuracies.
    """

    space: SpaceName
    directions: DirectionsName
    shrinkage: float | None
    measured: bool
    found: NormalisedAccuracy


@dataclass(frozen=True)
class MeasuredSpaces:
    """Spaces of a network's activations, with the moments of directions there, and the reasons why others cannot be."""

    spaces: Sequence[tuple[Space, DirectionMoments | None]]
    without: Sequence[str] = ()


UNMEASURED = MeasuredSpaces([(Space(), None)])
"""What there is without images."""


def gauges_of(config: NormalisedScoring) -> list[_NAMES]:
    """Spaces and directions that are asked for."""
    if config.every_gauge:
        return list(product(get_args(SpaceName), get_args(DirectionsName)))
    return [(config.gauge.space or "raw", config.gauge.directions or "weights")]


def on_training_images(
    gauges: Sequence[_NAMES],
    network: Classifier,
    images: ImageSet,
    accelerator: Accelerator,
    prepare: Callable[[Tensor], Tensor] | None,
) -> MeasuredSpaces:
    """The gauges' spaces by one pass over images, or two where one is not the raw one.

    Args:
        gauges: to measure; where it is one, its space must be.
        network: moved to the accelerator's device.
        images: of the network's classes and shape.
        accelerator: of this process.
        prepare: what is done to a batch of images first.

    Raises:
        InputError: activations that are not finite, or a space that cannot be measured.
    """
    names = list(dict.fromkeys(space for space, _ in gauges))
    given = {"description": "training images", "prepare": prepare, "batch_size": fewer_if_large(images)}
    through = partial(run_through, network, images, accelerator, **given)
    first = first_pass(through, names, _needed(gauges), images.class_names)
    return MeasuredSpaces(first.seen(through(spaces=first.rest) if first.rest else None), first.without)


def in_gauges(
    gauges: Sequence[_NAMES], network: Classifier, found: Activations, measured: MeasuredSpaces
) -> tuple[list[InGauge], list[str]]:
    """Accuracies in each gauge, and the reasons why others cannot be had.

    Args:
        gauges: to score in; where it is one, it must be.
        network: whose head classifies.
        found: what the network makes of the images that are scored.
        measured: the gauges' spaces.

    Raises:
        InputError: the only gauge cannot be, or as for `normalised_accuracy`.
    """
    head = read_head(network.head.cpu(), network.head_name)
    scores, without = [], list(measured.without)
    for space, moments in measured.spaces:
        for directions in (directions for name, directions in gauges if name == space.name):
            try:
                scores.append(_in_gauge(space, directions, moments, head, network.class_names, found))
            except InputError as error:
                if len(gauges) == 1:
                    raise
                without.append(f"{space.name}, {directions}: {error}")
    return scores, without


def folded(
    gauges: Sequence[_NAMES], network: Classifier, found: Activations, folds: int, seed: int
) -> tuple[list[InGauge], list[str]]:
    """As `in_gauges`, each random part of the images being scored in the gauge that the other parts measure.

    What no image has a say in is scored on all at once, as without parts.

    Args:
        gauges: to score in.
        network: whose head classifies.
        found: what the network makes of all images.
        folds: parts, at most as many as images.
        seed: of the parts.

    Raises:
        InputError: more parts than images, or as for `in_gauges`.
    """
    images = len(found.labels)
    if folds > images:
        raise InputError(f"--folds {folds}: there are {images} images to part")
    order = torch.randperm(images, generator=generator("cpu", seed, "folds"))
    parts, by_part, without = order.tensor_split(folds), [], {}
    rest = [names for names in gauges if _is_measured(*names)]
    whole, _ = in_gauges([names for names in gauges if names not in rest], network, found, UNMEASURED)
    for places in parts:
        others = torch.ones(images, dtype=torch.bool)
        others[places] = False
        names, known = list(dict.fromkeys(space for space, _ in rest)), _rows(found, others)
        held = held_spaces(names, _needed(rest), known.penultimate, known.labels, network.class_names)
        measured = MeasuredSpaces(*held)
        scores, reasons = in_gauges(rest, network, _rows(found, places), measured)
        by_part.append({(one.space, one.directions): one for one in scores})
        for reason in reasons:  # one a gauge, though in another part it may be another class that has no images
            without.setdefault(reason.partition(":")[0], reason)
    for names in (names for names in rest if all(names in scores for scores in by_part)):
        several = [scores[names] for scores in by_part]
        shrinkage = None if several[0].shrinkage is None else sum(one.shrinkage for one in several) / folds
        joined = together([(places, one.found) for places, one in zip(parts, several, strict=True)])
        whole.append(replace(several[0], shrinkage=shrinkage, found=joined))
    return whole, list(without.values())


def _needed(gauges: Sequence[_NAMES]) -> SpaceName | None:
    """The space that there must be: that of a gauge which is asked for alone."""
    return gauges[0][0] if len(gauges) == 1 else None


def _rows(found: Activations, places: Tensor) -> Activations:
    return Activations(found.penultimate[places], found.logits[places], found.labels[places])


def _in_gauge(
    space: Space,
    directions: DirectionsName,
    moments: DirectionMoments | None,
    head: Head,
    class_names: Sequence[str],
    found: Activations,
) -> InGauge:
    """Accuracies in the gauge of these names that the moments give."""
    evidence = Evidence(moments=moments)
    gauge, _ = choose_gauge(head.weight.double(), class_names, space, directions, evidence)
    accuracies = normalised_accuracy(found.penultimate, found.labels, head.weight, head.bias, gauge)
    return InGauge(space.name, directions, space.shrinkage, _is_measured(space.name, directions), accuracies)


def _is_measured(space: SpaceName, directions: DirectionsName) -> bool:
    """Whether images have a say in a gauge."""
    return space != "raw" or directions in ("fitted", "means")
