"""A function of a concentration that is computed along with its derivative."""

from collections.abc import Callable
from operator import index

import torch
from torch import Tensor

from priors.vmf.constants import transforming

Evaluate = Callable[[int, Tensor], tuple[Tensor, Tensor]]
Slope = Callable[[int, Tensor], Tensor]


class _WithSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kappa: Tensor, m: int, evaluate: Evaluate, slope: Slope) -> Tensor:
        value, derivative = evaluate(m, kappa)
        ctx.save_for_backward(kappa, derivative)
        ctx.m, ctx.slope = m, slope
        return value

    @staticmethod
    def backward(ctx, grad: Tensor):
        kappa, derivative = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: the derivative as a function of kappa
            derivative = ctx.slope(ctx.m, kappa)
        return grad * derivative, None, None, None


def with_slope(m: int, kappa: Tensor, evaluate: Evaluate, slope: Slope) -> Tensor:
    """The value that `evaluate(m, kappa)` gives beside its derivative in kappa.

    Args:
        m: the ambient dimension.
        kappa: concentrations.
        evaluate: gives the value and its derivative, for a static dimension.
        slope: gives the derivative alone, as a function that is differentiable itself.
    """
    m = index(m)  # an integer, also where a compiler made the shape symbolic
    if transforming():
        return evaluate(m, kappa)[0]
    return _WithSlope.apply(kappa, m, evaluate, slope)
