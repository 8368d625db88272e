"""Orthogonal regularisation of a generator's weights (Brock et al. 2019, equation 3): filters that point apart.

Without it a truncated latent often draws nothing that looks like an image (section 3.1).
"""

from collections import defaultdict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from apps.generators.spectral_norms import stored


def regularised(network: nn.Module) -> list[list[Tensor]]:
    """The weights of convolutions and linear layers as they are kept, those of equal rows and columns together.

    Embeddings are left out: to push classes apart would be another aim.
    """
    found = defaultdict(list)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            found[stored(module).flatten(1).shape].append(stored(module))
    return list(found.values())


def orthogonal_penalty(weights: list[list[Tensor]]) -> Float[Tensor, ""]:
    """Sum over weights W, a row a filter, of |W W^T * (1 - I)|^2: the squared products of different filters.

    Of weights with more rows than columns, it is |W^T W|^2 less the filters' fourth powers, which is the same number
    without a table of all pairs of filters.

    Args:
        weights: as `regularised` gives them; at least one.

    Example:
        >>> float(orthogonal_penalty([[torch.tensor([[1.0, 0, 0], [1, 2, 0]])]]))
        2.0
    """
    return torch.stack([_of_a_shape(torch.stack([_filters(weight) for weight in group])) for group in weights]).sum()


def _filters(weight: Float[Tensor, "rows *columns"]) -> Float[Tensor, "rows columns"]:
    """The weight as a matrix, its columns as they lie: so do gradients then, as several processes expect it."""
    last = weight.ndim == 4 and weight.stride(3) == weight.shape[1]
    return (weight.permute(0, 2, 3, 1) if last else weight).flatten(1)


def _of_a_shape(stack: Float[Tensor, "weights rows columns"]) -> Float[Tensor, ""]:
    if stack.shape[1] > stack.shape[2]:
        return (stack.mT @ stack).square().sum() - stack.square().sum(2).square().sum()
    products = stack @ stack.mT
    return (products - torch.diag_embed(products.diagonal(dim1=1, dim2=2))).square().sum()
