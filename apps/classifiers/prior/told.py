"""What `penult prior --json` says: the numbers of its tables."""

from dataclasses import asdict, fields
from typing import Any

from apps.classifiers.prior.comparison import Comparison
from apps.classifiers.prior.concentration_sweep import Choice
from apps.command.answer import tell
from apps.models.classifier_priors import Reading
from priors.fit.gauge_comparison import GaugeScores, paired, recommended
from priors.fit.goodness_of_fit import fits_of
from priors.fit.likeness import Likeness


def tell_prior(
    model: str, reading: Reading, choice: Choice | None, compared: Comparison | None, alike: Likeness | None = None
) -> None:
    """Tell the prior's classes, how its activations fit it, its other gauges, and the choice of its concentration.

    Args:
        model: as on the command line.
        reading: of the prior.
        choice: among concentrations, where there was a sweep.
        compared: its gauges, where they were.
        alike: how its directions go with another's, where that was asked for.
    """
    prior = reading.prior
    told = {
        "model": model,
        "data": prior.provenance.dataset,
        "dim": prior.dim,
        "space": prior.space.name,
        "directions": prior.gauge.directions,
        "concentration": prior.provenance.concentration,
        "classes": [asdict(row) for row in prior.class_table()],
    }
    tell("prior", told)
    if choice is not None:
        tell("sweep", _sweep(model, choice))
    if reading.measured is not None:
        fits, pooled = fits_of(prior, reading.measured.seen)
        classes = {name: asdict(fit) for name, fit in zip(prior.class_names, fits, strict=True)}
        zero = int(reading.measured.seen.zero.sum())
        tell("fit", {"images": reading.measured.images, "zero": zero, "classes": classes, "pooled": asdict(pooled)})
    if compared is not None:
        tell("gauges", _gauges(compared))
    if alike is not None:
        tell("against", asdict(alike))


def _sweep(model: str, choice: Choice) -> dict[str, Any]:
    """What each concentration came to."""
    return {
        "model": model,
        "for": choice.name,
        "score": choice.task.title,
        "chosen": choice.best.concentration,
        "trials": [asdict(trial) for trial in choice.trials],
    }


def _gauges(compared: Comparison) -> dict[str, Any]:
    """Each gauge's scores, without those of single images, and the one to take."""
    best = recommended(compared.scores) if compared.scores else None
    return {
        "images": compared.images,
        "scores": [_of_gauge(one, compared.scores[0]) for one in compared.scores],
        "recommended": None if best is None else {"space": best.space, "directions": best.directions},
        "without": compared.without,
    }


def _of_gauge(one: GaugeScores, papers: GaugeScores) -> dict[str, Any]:
    told = {part.name: getattr(one, part.name) for part in fields(one) if part.name != "log_densities"}
    above, error = (0.0, 0.0) if one is papers else paired(one.log_densities, papers.log_densities)
    return told | {"above_the_first": {"value": above, "error": error}}
