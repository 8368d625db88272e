"""Functions whose slopes are the same around an input: ReLUs of all kinds and poolings, for slopes that are trained.

By torch's own the derivatives of their slopes are zeros, which would go down through the whole network again.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _ReLU(torch.autograd.Function):
    """A ReLU whose slope is a constant."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        found = x.relu()
        ctx.save_for_backward(found)
        return found

    @staticmethod
    def backward(ctx, slope: Tensor | None) -> Tensor | None:
        return None if slope is None else torch.ops.aten.threshold_backward(slope, ctx.saved_tensors[0].detach(), 0)


class _MaxPool(torch.autograd.Function):
    """A max pooling whose slope is a constant."""

    @staticmethod
    def forward(ctx, x: Tensor, *options: Any) -> Tensor:
        ctx.set_materialize_grads(False)
        kernel, stride, padding, dilation, ceil = options
        sizes = [list(_pair(one)) for one in (kernel, kernel if stride is None else stride, padding, dilation)]
        found, indices = F.max_pool2d(x, *sizes, ceil, return_indices=True)
        ctx.save_for_backward(x, indices)
        ctx.options = (*sizes, ceil)
        return found

    @staticmethod
    def backward(ctx, slope: Tensor | None) -> tuple[Tensor | None, ...]:
        if slope is None:
            return None, None, None, None, None, None
        x, indices = ctx.saved_tensors
        found = torch.ops.aten.max_pool2d_with_indices_backward(slope, x.detach(), *ctx.options, indices)
        return found, None, None, None, None, None


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size) * (1 if len(size) == 2 else 2)


class _Steady(torch.autograd.Function):
    """A function whose slope is the same around an input: what it gives, and the slope for one at that."""

    @staticmethod
    def forward(
        ctx, x: Tensor, function: Callable[[Tensor], Tensor], back: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        ctx.back = back
        return function(x)

    @staticmethod
    def backward(ctx, slope: Tensor | None) -> tuple[Tensor | None, None, None]:
        return None if slope is None else ctx.back(slope, ctx.saved_tensors[0].detach()), None, None


def _relu(input: Tensor, inplace: bool = False) -> Tensor:
    return F.relu(input, True) if inplace else _ReLU.apply(input)


def _max_pool(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    if return_indices:
        return F.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)
    return _MaxPool.apply(input, kernel_size, stride, padding, dilation, ceil_mode)


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    if inplace:
        return F.leaky_relu(input, negative_slope, True)
    return _Steady.apply(
        input,
        lambda x: F.leaky_relu(x, negative_slope),
        lambda slope, x: torch.ops.aten.leaky_relu_backward(slope, x, negative_slope, False),
    )


def _hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    if inplace:
        return F.hardtanh(input, min_val, max_val, True)
    return _Steady.apply(
        input,
        lambda x: F.hardtanh(x, min_val, max_val),
        lambda slope, x: torch.ops.aten.hardtanh_backward(slope, x, min_val, max_val),
    )


def _relu6(input: Tensor, inplace: bool = False) -> Tensor:
    return _hardtanh(input, 0.0, 6.0, inplace)


def _average_pool(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    sizes = [list(_pair(one)) for one in (kernel_size, stride or kernel_size, padding)]
    options = (*sizes, ceil_mode, count_include_pad, divisor_override)
    return _Steady.apply(
        input,
        lambda x: F.avg_pool2d(x, *options),
        lambda slope, x: torch.ops.aten.avg_pool2d_backward(slope, x, *options),
    )


def _adaptive_pool(input: Tensor, output_size: Any) -> Tensor:
    if output_size in (1, (1, 1)):  # a mean, by torch as well
        return F.adaptive_avg_pool2d(input, output_size)
    return _Steady.apply(
        input, lambda x: F.adaptive_avg_pool2d(x, output_size), torch.ops.aten._adaptive_avg_pool2d_backward
    )


STEADY: dict[Callable[..., Any], Callable[..., Any]] = {
    F.relu: _relu,
    torch.relu: _relu,
    Tensor.relu: _relu,
    F.leaky_relu: _leaky_relu,
    F.relu6: _relu6,
    F.hardtanh: _hardtanh,
    F.max_pool2d: _max_pool,
    F.avg_pool2d: _average_pool,
    F.adaptive_avg_pool2d: _adaptive_pool,
}
"""By torch's function, what takes its place."""
