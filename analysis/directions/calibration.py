"""How far probabilities of classes can be believed: accuracy, likelihood and expected calibration error."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

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
        log_probabilities: of the classes, in nats, such as `logits.log_softmax(-1)`; computed with in float64.
        labels: the true classes.
        bins: how many of equal width.

    Raises:
        InputError: no images, labels out of range, rows that are no log-probabilities, or no bins.
    """
    if bins < 1:
        raise InputError(f"bins is {bins}: 1 or more was expected")
    if not len(labels) or len(labels) != len(log_probabilities):
        raise InputError(f"{len(labels)} labels were given for {len(log_probabilities)} rows of log-probabilities")
    classes = log_probabilities.shape[1]
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise InputError(f"label {low if low < 0 else high} is out of range: the classes are 0 to {classes - 1}")
    log_probabilities = log_probabilities.double()
    total = log_probabilities.logsumexp(1).abs().max()
    if not float(total) < 1e-3:
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
        nll=float(-log_probabilities.gather(1, labels.long().unsqueeze(1)).mean()),
        ece=float((believed - correct).abs().sum() / len(labels)),
        edges=edges,
        counts=counts,
        confidences=believed / counts,
        accuracies=correct / counts,
    )
