"""Which gauge a classifier's prior is best read in: all of them on held-out images, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from accelerate import Accelerator
from jaxtyping import Float, Int
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
from priors.gauge.moments import DirectionMoments
from priors.gauge.space import Space
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
    candidates, without = candidates_in(network, measured.spaces)
    seen = look(candidates, network, held_out, accelerator)
    parts = zip(candidates, seen.values, strict=True)
    scores = (score(one, part, seen.labels, seen.soft_labels, TEMPERATURE) for one, part in parts)
    words = f"{counted(len(held_out), 'held-out image')} of {held_out.name}"
    return Comparison(tuple(scores), (*measured.without, *without), words)


def candidates_in(
    network: Classifier, spaces: Sequence[tuple[Space, DirectionMoments]]
) -> tuple[list[Candidate], list[str]]:
    """A network's prior with every kind of directions in some spaces, and the reasons why some cannot be.

    Args:
        network: only its final layer is looked at.
        spaces: with the moments of its training images there.
    """
    weight, bias, *_ = read_final_layer(network)
    bias = None if bias is None else bias.cpu()
    layer = {"weight": weight.cpu().double(), "bias": bias, "class_names": network.class_names}
    candidates, without = [], []
    for space, moments in spaces:
        for directions in get_args(DirectionsName):
            try:
                candidates.append(candidate(layer, space, directions, moments))
            except InputError as error:
                without.append(f"{space.name}, {directions}: {error}")
    return candidates, without


@dataclass(frozen=True)
class Seen:
    """What a pass over images with known classes says of candidates; on the CPU, the same on all processes.

    Attributes:
        values: of each candidate, what `Candidate.seen` gives, of all images.
        labels: the images' classes.
        soft_labels: the network's, averaged by class; NaN for a class without images.
        accuracy: of the network, in [0, 1].
    """

    values: tuple[dict[str, Tensor], ...]
    labels: Int[Tensor, " n"]
    soft_labels: Float[Tensor, "classes classes"]
    accuracy: float


def look(
    candidates: Sequence[Candidate],
    network: Classifier,
    images: ImageSet,
    accelerator: Accelerator | None,
    description: str = "gauges",
) -> Seen:
    """Run images through a network once, and keep a few numbers an image for each candidate, and sums of soft labels.

    Args:
        candidates: of the network.
        network: moved to the accelerator's device.
        images: of the network's classes and shape.
        accelerator: of this process. None: one process, on the CPU.
        description: what the progress bar says.
    """
    device = device_of(accelerator)
    network, there = network.to(device), [one.to(device) for one in candidates]
    classes = len(network.class_names)
    soft = torch.zeros(classes, classes, dtype=torch.float64, device=device)

    def of(batch: Batch) -> dict[str, Tensor]:
        activations = network.penultimate(batch.images)
        logits = network.head(activations)
        add_soft_labels(soft, logits, batch.labels, TEMPERATURE)
        rows, brought = {"labels": batch.labels, "right": logits.argmax(1) == batch.labels}, {}
        for number, one in enumerate(there):
            space = one.prior.space
            if space.name not in brought:
                brought[space.name] = space.bring(activations.double())
            found = one.seen(brought[space.name], batch.labels)
            rows |= {f"{number} {name}": values for name, values in found.items()}
        return rows

    swept = sweep(images, of, accelerator=accelerator, description=description)
    labels, right = swept.pop("labels"), swept.pop("right")
    found = [{} for _ in candidates]
    for name, values in swept.items():
        number, quantity = name.split(" ")
        found[int(number)][quantity] = values
    return Seen(tuple(found), labels, by_class(soft, labels, accelerator), float(right.double().mean()))


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
