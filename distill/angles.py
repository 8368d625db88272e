"""Angles between the slopes of two networks."""

import torch
from jaxtyping import Float
from torch import Tensor

from distill.unit import unit


def angle(one: Float[Tensor, "batch *rest"], other: Float[Tensor, "batch *rest"]) -> Float[Tensor, " batch"]:
    """The angle between each image's two tensors, taken as vectors, in degrees from 0 to 180; in float32 at least.

    It is 2 atan2(|u - v|, |u + v|) of their directions u and v, which small angles are told apart by, where a cosine is
    1 to rounding. Where one of both is 0, it is 90.

    Example:
        >>> angle(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), torch.tensor([[2.0, 2.0], [1e-3, 0.0], [1.0, 0]]))
        tensor([45.,  0., 90.])
    """
    dtype = torch.promote_types(torch.promote_types(one.dtype, other.dtype), torch.float32)
    u, v = (unit(tensor.detach().to(dtype).flatten(1)) for tensor in (one, other))
    found = 2 * torch.atan2(torch.linalg.vector_norm(u - v, dim=1), torch.linalg.vector_norm(u + v, dim=1))
    return torch.where(u.any(1) & v.any(1), found, torch.pi / 2).rad2deg()
