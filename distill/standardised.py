"""Logits without their mean and scale: what is left to compare is how they stand to one another."""

from jaxtyping import Float
from torch import Tensor

from distill.full_precision import full
from distill.unit import unit


def standardised(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """Each image's logits less their mean, over their standard deviation, in float32 at least (Sun et al. 2024).

    The deviation is over the number of classes less 1, as in the authors' code. Where all logits are equal, zeros that
    pass no gradient on.

    Example:
        >>> import torch
        >>> torch.round(standardised(torch.tensor([[1.0, 2.0, 4.5], [5.0, 5.0, 5.0]])), decimals=1)
        tensor([[-0.8000, -0.3000,  1.1000],
                [ 0.0000,  0.0000,  0.0000]])
    """
    return unit(centred(logits)) * (logits.shape[1] - 1) ** 0.5


def centred(rows: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """Each row less its mean, in float32 at least."""
    rows = full(rows)
    return rows - rows.mean(1, keepdim=True)
