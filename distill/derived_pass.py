"""How a network runs whose outputs are derived, and whose derivatives are trained: in full precision, by short ways."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from distill.convolutions import FUNCTIONS, Convolutions
from distill.steady import STEADY


class DerivedPass(TorchFunctionMode):
    """While it is entered, nothing is computed in half precision, whoever switches autocast on on the way.

    Wrappers for mixed precision switch it on within a network's `forward`, where no context outside of it reaches; so
    each function of torch is called without. The derivative of a derivative has a rounding error for each layer, twice.

    ReLUs of all kinds and poolings, whose slopes are the same around an input, say so (`distill.steady`). Batch norms
    by running statistics are what they are then, a scale and a shift, and convolutions are derived as
    `distill.convolutions` says.

    Args:
        convolutions: those of all passes of a step; None: there is but this pass.
    """

    def __init__(self, convolutions: Convolutions | None = None):
        super().__init__()
        self.convolutions = convolutions or Convolutions()

    def __torch_function__(self, function: Callable, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        on = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
        try:
            for kind in on:
                torch.set_autocast_enabled(kind, False)
            if function in STEADY:
                return STEADY[function](*args, **kwargs)
            if function is F.batch_norm and not (args[5] if len(args) > 5 else kwargs.get("training")):
                return _batch_norm(*args, **kwargs)
            if function in FUNCTIONS:
                return self.convolutions(function, args, kwargs)
            return function(*args, **kwargs)
        finally:
            for kind in on:
                torch.set_autocast_enabled(kind, True)


class ValuePass(TorchFunctionMode):
    """The other pass of a step with a `DerivedPass`, whose outputs alone are trained: in any precision.

    Of large convolutions of small maps, slopes in the weights are found together with those of the derived pass.

    Args:
        convolutions: those of all passes of the step.
    """

    def __init__(self, convolutions: Convolutions):
        super().__init__()
        self.convolutions = convolutions

    def __torch_function__(self, function: Callable, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in FUNCTIONS and not torch.is_autocast_enabled("cpu"):
            return self.convolutions(function, args, kwargs, few=True)
        return function(*args, **kwargs)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """By running statistics: torch's own derives it twice as if they were a batch's, in many small steps."""
    if running_mean is None or running_var is None or input.dtype != running_mean.dtype:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    shape = (-1, *(1,) * (input.ndim - 2))
    scale = (running_var + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale
    shift = shift if bias is None else shift + bias
    return torch.addcmul(shift.view(shape), input, scale.view(shape))
