"""How far probabilities of classes can be believed: accuracy, likelihood and expected calibration error."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.checks.floats import require_floats
from priors.checks.labels import class_numbers
from priors.errors import InputError

BINS = 15
"""Of equal width in [0, 1], as in Guo, Pleiss, Sun and Weinberger (On calibration of modern neural networks, 2017)."""


@dataclass(frozen=True)
class Calibration:
    """What probabilities are worth on labelled images.

    Attributes:
        images: how many.
        accuracy: fraction of images whose most probable class is theirs.
        nll: mean of -log p(label), in nats.
        ece: expected calibration error, in [0, 1]: the mean over images of |accuracy - confidence| of their bin.
        edges: (bins + 1,), the bins' ends; a bin has its upper end and not its lower one.
        counts: (bins,) images in each bin.
        confidences: (bins,) mean confidence (the largest probability) in each bin; NaN where there are no images.
        accuracies: (bins,) fraction of right answers in each bin; NaN where there are no images.
    """

    images: int
    accuracy: float
    nll: float
    ece: float
    edges: Float[Tensor, " ends"]
    counts: Int[Tensor, " bins"]
    confidences: Float[Tensor, " bins"]
    accuracies: Float[Tensor, " bins"]


def calibration(
    log_probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], bins: int = BINS
) -> Calibration:
    """Compare probabilities with what came true.

    Args:
        log_probabilities: of the classes, in nats, such as `logits.log_softmax(-1)`, of any floating-point type;
            computed with in float64.
        labels: the true classes, of any type of whole numbers.
        bins: how many of equal width.

    Raises:
        InputError: no images, labels out of range, rows that are no log-probabilities, or no bins.
    """
    if bins < 1:
        raise InputError(f"bins is {bins}: 1 or more was expected")
    require_floats(log_probabilities, "log-probabilities")
    count, classes = log_probabilities.shape
    labels = class_numbers(labels, count, classes, "rows of log-probabilities")
    # Each is rounded relative to itself, and their sum by that times the entropy, which is log c at most.
    rounding = torch.finfo(log_probabilities.dtype).eps * math.log(max(classes, 2))
    log_probabilities = log_probabilities.double()
    total = log_probabilities.logsumexp(1).abs().max()
    if not float(total) < max(1e-3, rounding):
        raise InputError(
            f"rows are no log-probabilities: one sums to exp({float(total):.3g}) or its inverse; take log_softmax(-1)"
        )
    largest, predicted = log_probabilities.max(1)
    confidence, right = largest.exp().clamp(max=1), (predicted == labels).double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=confidence.device)
    place = torch.bucketize(confidence, edges[1:-1])
    counts = place.bincount(minlength=bins)
    believed, correct = (torch.zeros_like(edges[1:]).index_add(0, place, values) for values in (confidence, right))
    return Calibration(
        images=len(labels),
        accuracy=float(right.mean()),
        nll=float(-log_probabilities.gather(1, labels.unsqueeze(1)).mean()),
        ece=float((believed - correct).abs().sum() / len(labels)),
        edges=edges,
        counts=counts,
        confidences=believed / counts,
        accuracies=correct / counts,
    )
