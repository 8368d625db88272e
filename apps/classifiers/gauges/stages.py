"""A classifier's gauge at the moments of its training: what is measured of it, and how that is kept beside the run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from apps.classifiers.prior.comparison import candidates_in, look
from apps.command.answer import tell
from apps.data.image_set import ImageSet
from apps.models.moments import first_pass, run_through
from apps.runs.evaluations import follows
from priors.errors import InputError
from priors.files.json_files import finite, write_json
from priors.fit.gauge_comparison import paired
from priors.gauge.moments import ActivationMoments, DirectionMoments
from priors.gauge.natural import fit_natural_parameters
from priors.model.final_layer import read_final_layer
from priors.model.provenance import PAPERS
from priors.zoo import Classifier

FILE = "gauges.json"
"""In a run's folder: what came out, by protocol."""


@dataclass(frozen=True)
class SumOfWeights:
    """The mean w of a final layer's rows, and the vector c that fits the activations best when it is added to each row.

    Lengths are over the mean length of a row. What a gauge needs and could not be measured is NaN.

    Attributes:
        mean_row: |w|, in the weights' own unit.
        length: |w|, relative.
        shift: |c|, relative.
        against_mean_row: cosine of c with -w; 1 where the fit takes the mean row away.
        along_activations: cosine of c with the mean activation.
    """

    mean_row: float
    length: float
    shift: float = math.nan
    against_mean_row: float = math.nan
    along_activations: float = math.nan


@dataclass(frozen=True)
class GaugeStage:
    """One moment.

    Attributes:
        step: updates done; None where the run does not say.
        final: "best" or "last" of the run's own weights, nothing of a snapshot.
        accuracy: of the network on test images, in [0, 1].
        total: what is of the rows' sum.
        cosine: by gauge ("raw, weights"), mean cosine of test activations with their class's direction.
        above: by gauge, mean log q(a | i) of test activations above that in the paper's gauge in nats, and its standard
            error.
        without: gauges that could not be measured, with the reason.
    """

    step: int | None
    final: str
    accuracy: float
    total: SumOfWeights
    cosine: Mapping[str, float]
    above: Mapping[str, tuple[float, float]]
    without: tuple[str, ...]


def sum_of_weights(
    weight: Float[Tensor, "classes m"], activations: ActivationMoments, directions: DirectionMoments
) -> SumOfWeights:
    """Measure a final layer's rows and their fit.

    Args:
        weight: the rows.
        activations: of training images.
        directions: of the same in the raw space.
    """
    weight = weight.double()
    mean, row = weight.mean(0), weight.norm(dim=1).mean()
    own = SumOfWeights(float(mean.norm()), float(mean.norm() / row))
    try:
        found = fit_natural_parameters(weight, directions.count, directions.total)
    except InputError:
        return own
    if not found.scale > 0:
        return own
    shift = found.shift / found.scale

    def cosine(other: Tensor) -> float:
        return float(torch.nn.functional.cosine_similarity(shift, other, dim=0))

    return SumOfWeights(own.mean_row, own.length, float(shift.norm() / row), cosine(-mean), cosine(activations.centre))


def measure(
    network: Classifier,
    train: ImageSet,
    test: ImageSet,
    accelerator: Accelerator | None,
    *,
    step: int | None = None,
    final: str = "",
    description: str = "gauges",
) -> GaugeStage:
    """Measure a network's gauges: two passes over its training images, and one over the test images.

    Args:
        network: moved to the accelerator's device.
        train: what the gauges are measured on.
        test: what they are scored on.
        accelerator: of this process; all get the same. None: one process, on the CPU.
        step: of the network, like `final`.
        final: see `GaugeStage`.
        description: what the progress bar says.

    Raises:
        InputError: an activation is not finite.
    """
    through = partial(run_through, network, train, accelerator)
    activations = partial(through, description=f"{description}: activations")
    first = first_pass(activations, ("raw", "whitened"), None, train.class_names)
    last = through(spaces=first.rest, description=f"{description}: whitened") if first.rest else None
    candidates, others = candidates_in(network, first.seen(last))
    seen = look(candidates, network, test, accelerator, f"{description}: test images")
    priors = [one.prior for one in candidates]
    values = {f"{one.space.name}, {one.gauge.directions}": part for one, part in zip(priors, seen.values, strict=True)}
    densities = {name: part["log_density"] for name, part in values.items()}
    papers = densities.get(PAPERS)
    return GaugeStage(
        step,
        final,
        seen.accuracy,
        sum_of_weights(read_final_layer(network)[0].detach().cpu(), first.activations, first.raw),
        {name: 1 - float(part["versine"].nanmean()) for name, part in values.items()},
        {name: paired(one, papers) for name, one in densities.items() if papers is not None and one is not papers},
        (*first.without, *others),
    )


def keep(
    path: Path, protocol: Mapping[str, Any], found: Sequence[GaugeStage], law: Sequence[float], earlier: list[dict]
) -> None:
    """Write what was found, in the place of what the same protocol gave before.

    Args:
        path: of the file.
        protocol: what it was made by.
        found: in order.
        law: as long: the mean row's length by the law of the sum of weights, NaN without one.
        earlier: the entries of the file as it is.
    """
    entry = {
        **protocol,
        "scores": {_key(one): _scores(one, by_law) for one, by_law in zip(found, law, strict=True)},
    }
    tell(path.stem, {"run": path.parent, **entry})
    write_json(path, [*(old for old in earlier if not follows(old, protocol)), entry])


def _key(one: GaugeStage) -> str:
    return one.final if one.step is None else f"step {one.step}"


def _scores(one: GaugeStage, by_law: float) -> dict[str, Any]:
    """All numbers as JSON has them: null where there is none."""
    total = one.total
    return {
        "accuracy": one.accuracy,
        "mean row": {
            "length": total.mean_row,
            "relative length": finite(total.length),
            "length by the law": finite(by_law),
        },
        "fitted shift": {
            "relative length": finite(total.shift),
            "cosine with minus the mean row": finite(total.against_mean_row),
            "cosine with the mean activation": finite(total.along_activations),
        },
        "mean cosine": {name: finite(value) for name, value in one.cosine.items()},
        "log q (nats) above the paper's gauge": {
            name: {"value": finite(value), "error": finite(error)} for name, (value, error) in one.above.items()
        },
    }
