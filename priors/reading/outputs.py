"""What a classifier's outputs are: logits, or what has gone through a softmax already."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Outputs = Literal["logits", "probabilities", "log-probabilities"]


def outputs_are(given: Float[Tensor, "batch classes"]) -> Outputs:
    """What a classifier's outputs are, by their numbers: no logits of a network happen to sum to one in every row.

    Args:
        given: of one image or several.

    Example:
        >>> logits = torch.tensor([[1.0, 2.0, -4.0]])
        >>> outputs_are(logits), outputs_are(logits.softmax(1)), outputs_are(logits.log_softmax(1))
        ('logits', 'probabilities', 'log-probabilities')
    """
    rounding = 16 * torch.finfo(given.dtype).eps
    values = given.detach().double()
    if not len(values) or values.shape[1] < 2:
        return "logits"
    if bool((values >= 0).all()) and bool(((values.sum(1) - 1).abs() <= rounding).all()):
        return "probabilities"
    if bool((values <= 0).all()) and bool((values.logsumexp(1).abs() <= rounding).all()):
        return "log-probabilities"
    return "logits"
