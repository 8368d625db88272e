"""How well a score tells two sets of images apart."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.metrics import roc_auc_score
from torch import Tensor

from priors.errors import InputError


@dataclass(frozen=True)
class Detection:
    """A score as a detector of images from inside a distribution, which are the positives.

    Attributes:
        auroc: probability that an image from inside scores higher than one from outside, ties counting half.
        fpr95: fraction of images from outside that pass the highest threshold which at least 95 % from inside pass.
    """

    auroc: float
    fpr95: float


def detection(inside: Float[Tensor, " n"], outside: Float[Tensor, " k"]) -> Detection:
    """Compare scores, higher meaning inside.

    Raises:
        InputError: a score is not finite.
    """
    scores = np.concatenate([inside.double().numpy(), outside.double().numpy()])
    if not np.isfinite(scores).all():
        raise InputError(f"{int((~np.isfinite(scores)).sum())} scores are not finite: the network has diverged")
    positive = np.arange(len(scores)) < len(inside)
    # Of scikit-learn's ROC curve only the corners are kept, and those of ties lie beyond the one that is asked for.
    passing = -(-95 * len(inside) // 100)
    threshold = np.sort(scores[positive])[len(inside) - passing]
    return Detection(float(roc_auc_score(positive, scores)), float((scores[~positive] >= threshold).mean()))
