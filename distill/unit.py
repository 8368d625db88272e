"""Vectors over their norms."""

import torch
from jaxtyping import Float
from torch import Tensor

_LEAST = 1e-12
"""A shorter vector has no direction."""


def unit(vectors: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch m"]:
    """Each vector of the last dimension over its Euclidean norm.

    Where there is no direction, zeros that pass no gradient on: dividing by a small constant instead would multiply
    gradients by its inverse, as soon as a ReLU kills a sample or two samples coincide.

    Example:
        >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    norms = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    directed = norms > _LEAST
    return torch.where(directed, vectors, 0) / torch.where(directed, norms, 1)
