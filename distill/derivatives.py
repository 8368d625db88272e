"""Derivatives of a network's outputs in its images, or in its layers."""

import torch
from jaxtyping import Float
from torch import Tensor


def derivative(
    outputs: Float[Tensor, " batch"], inputs: Float[Tensor, "batch *rest"], *, graph: bool = True
) -> Float[Tensor, "batch *rest"]:
    """The derivative of each image's number in its own input.

    It is that of the sum of all, so each image's is its own where a network computes images apart: as in evaluation
    mode, and not through the statistics of a batch.

    Args:
        outputs: a number an image, such as the logit of its class, on the graph of `inputs`.
        inputs: `Trace.images`, or one of `Trace.layers`.
        graph: whether the derivative is itself on the graph, so that a loss of it trains the network: for a student.

    Example:
        >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> derivative(x.square().sum(1), x, graph=False)
        tensor([[2., 4.],
                [6., 8.]])
    """
    with torch.autocast(inputs.device.type, enabled=False):  # a pass back is never in half precision of its own
        (found,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=graph, retain_graph=True)
    return found
