"""Which gauge a classifier's prior is best read in: all of them on held-out images, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from accelerate import Accelerator
from torch import Tensor

from apps.command.console import counted, paragraph, say, table
from apps.data.batches import Batch
from apps.data.image_set import ImageSet
from apps.data.sweep import sweep
from apps.models.activations import device_of
from apps.models.classifier_priors import Measured
from apps.models.soft_labels import add_soft_labels, by_class
from priors.errors import InputError
from priors.fit.gauge_comparison import Candidate, GaugeScores, candidate, paired, recommended, score
from priors.gauge.gauge import DirectionsName
from priors.model.final_layer import read_final_layer
from priors.zoo import Classifier

TEMPERATURE = 4.0
"""Of soft labels: what Seo, Lee and Kwak (2021) distil with."""


@dataclass(frozen=True)
class Comparison:
    """Gauges of one network.

    Attributes:
        scores: a row a gauge, the paper's first where it could be measured; nothing where none could.
        without: gauges that could not be measured, with the reason.
        images: what the scores are of, in words.
    """

    scores: tuple[GaugeScores, ...]
    without: tuple[str, ...]
    images: str


def compare_gauges(
    network: Classifier, measured: Measured, held_out: ImageSet, accelerator: Accelerator | None
) -> Comparison:
    """Score every gauge on held-out images, in one pass.

    Args:
        network: moved to the accelerator's device.
        measured: of its training images, in the spaces to compare.
        held_out: of the network's classes and shape.
        accelerator: of this process; all get the same. None: one process, on the CPU.
    """
    weight, bias, *_ = read_final_layer(network)
    bias = None if bias is None else bias.cpu()
    layer = {"weight": weight.cpu().double(), "bias": bias, "class_names": network.class_names}
    candidates, without = [], list(measured.without)
    for space, moments in measured.spaces:
        for directions in get_args(DirectionsName):
            try:
                candidates.append(candidate(layer, space, directions, moments))
            except InputError as error:
                without.append(f"{space.name}, {directions}: {error}")
    rows = _scored(candidates, network, held_out, accelerator)
    words = f"{counted(len(held_out), 'held-out image')} of {held_out.name}"
    return Comparison(tuple(rows), tuple(without), words)


def _scored(
    candidates: Sequence[Candidate], network: Classifier, images: ImageSet, accelerator: Accelerator | None
) -> list[GaugeScores]:
    """Each candidate's scores, by one pass over the images: a few numbers an image, and sums of soft labels."""
    device = device_of(accelerator)
    network, there = network.to(device), [one.to(device) for one in candidates]
    classes = len(network.class_names)
    soft = torch.zeros(classes, classes, dtype=torch.float64, device=device)

    def of(batch: Batch) -> dict[str, Tensor]:
        activations = network.penultimate(batch.images)
        add_soft_labels(soft, network.head(activations), batch.labels, TEMPERATURE)
        rows, brought = {"labels": batch.labels}, {}
        for number, one in enumerate(there):
            space = one.prior.space
            if space.name not in brought:
                brought[space.name] = space.bring(activations.double())
            found = one.seen(brought[space.name], batch.labels)
            rows |= {f"{number} {name}": values for name, values in found.items()}
        return rows

    swept = sweep(images, of, accelerator=accelerator, description="gauges")
    labels = swept.pop("labels")
    own = by_class(soft, labels, accelerator)
    found = [{} for _ in candidates]
    for name, values in swept.items():
        number, quantity = name.split(" ")
        found[int(number)][quantity] = values
    return [score(one, part, labels, own, TEMPERATURE) for one, part in zip(candidates, found, strict=True)]


def print_gauges(found: Comparison) -> None:
    """A row a gauge, and which to take."""
    say()
    if not found.scores:
        paragraph(f"The gauges cannot be compared: {'; '.join(found.without)}.")
        return
    papers = found.scores[0]
    rows = []
    for one in found.scores:
        above, error = paired(one.log_densities, papers.log_densities)
        shown = "-" if one is papers else f"{above:+.2f} +- {error:.2f}"
        row = (f"{one.mean_cosine:.3f}", f"{one.distance:.3f}", f"{one.log_density:.1f}", shown, f"{one.accuracy:.2%}")
        soft = (f"{one.divergence:.2g}", f"{one.correlation:.2f}")
        rows.append((one.space, one.directions, *row, *soft, f"{one.freedom:,}"))
    table(
        f"the prior in each gauge, on {found.images}",
        ("space", "directions", "cosine", "KS", "log q", "above the first", "accuracy", "KL", "r", "numbers"),
        rows,
        "one likeliest concentration a class; cosine, KS: as above; log q: mean log-density log q(a|i) of the "
        "activations under their class (nats), the norm log-normal; above the first: its difference image by image and "
        "the standard error; accuracy: of q(i|a); KL, r: from the network's mean soft labels at a temperature of "
        f"{TEMPERATURE:g} to those of draws (nats), and the correlation of their logarithms off the diagonal; numbers: "
        "how many were measured" + "".join(f"; without {one}" for one in found.without),
    )
    paragraph(_advice(found.scores))


def _advice(scores: Sequence[GaugeScores]) -> str:
    """One sentence: the gauge to take."""
    best, papers = recommended(scores), scores[0]
    if best is papers:
        return "Take the weights as they are: of the gauges that change no decision, none describes activations better."
    above, error = paired(best.log_densities, papers.log_densities)
    return (
        f"Take --space {best.space} --directions {best.directions}: it changes no decision of the classifier, and is "
        f"{above:.2f} +- {error:.2f} nats an image likelier than the weights as they are."
    )
