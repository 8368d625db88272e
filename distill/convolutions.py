"""Convolutions of passes whose slopes are trained, derived once and twice by the fewest operations there are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FUNCTIONS = (F.conv1d, F.conv2d, F.conv3d)
"""Those that `Convolutions` take the place of."""
_ARGUMENTS = {"input": None, "weight": None, "bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
"""What they are given, in order."""


class Convolutions:
    """The convolutions of all passes of one step, with a way back of their own where their weights are trained.

    A convolution y is linear in its input x and in its weights w. So there are three operations, each a derivative of
    the other two: y of x and w; the slope in x, of w and the slope in y; the slope in w, of x and the slope in y. Torch
    has all of them, and yet derives the second by a further convolution of batches for channels, over copies in another
    order, where it needs the third. Here it is the third, as in a plain step.

    Where the weights hold far more numbers than the maps, the slope in them is found once for all passes of the step,
    as of one larger batch: much of the work is to write it, whatever the batch.
    """

    def __init__(self):
        self._weights: dict[int, _Weight] = {}

    def __call__(
        self, function: Callable[..., Tensor], args: Sequence[Any], kwargs: Mapping[str, Any], *, few: bool = False
    ) -> Tensor:
        """What one of `FUNCTIONS` gives for these arguments.

        Args:
            function: one of `FUNCTIONS`.
            args: for it.
            kwargs: likewise.
            few: leave the way back to torch unless the maps hold so few numbers: where nothing is derived twice.
        """
        given = _ARGUMENTS | dict(zip(_ARGUMENTS, args, strict=False)) | dict(kwargs)
        x, weight, bias, padding = given["input"], given["weight"], given["bias"], given["padding"]
        plain = len(given) == len(_ARGUMENTS) and not isinstance(padding, str) and not torch.compiler.is_compiling()
        plain = plain and all(type(one) in (Tensor, nn.Parameter) for one in (x, weight, bias) if one is not None)
        if not plain or not torch.is_grad_enabled() or not weight.requires_grad:
            return function(*args, **kwargs)
        if x.ndim != weight.ndim or x.dtype != weight.dtype or not x.is_floating_point():
            return function(*args, **kwargs)
        sizes = (_each(given[name], weight.ndim - 2) for name in ("stride", "padding", "dilation"))
        geometry = _Geometry(*sizes, given["groups"])
        shape = geometry.shape(x, weight)
        if min(shape) < 1 or (few and not _are_few(x.numel() + torch.Size(shape).numel(), weight, geometry)):
            return function(*args, **kwargs)
        known = self._weights.get(id(weight))
        if known is None:
            known = self._weights[id(weight)] = _Weight(weight)
        return _convolved(x, known, bias, geometry)


class _Geometry(NamedTuple):
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int

    @property
    def arguments(self) -> tuple[Any, ...]:
        """As torch's own operations take it."""
        return self.stride, self.padding, self.dilation, False, [0] * len(self.stride), self.groups

    def shape(self, x: Tensor, weight: Tensor) -> tuple[int, ...]:
        """Of the convolution of x."""
        sides = zip(x.shape[2:], weight.shape[2:], self.stride, self.padding, self.dilation, strict=True)
        return (
            len(x),
            len(weight),
            *((side + 2 * pad - far * (size - 1) - 1) // step + 1 for side, size, step, pad, far in sides),
        )


def _each(size: Any, dimensions: int) -> list[int]:
    if isinstance(size, int):
        return [size] * dimensions
    return list(size) * (1 if len(size) == dimensions else dimensions)


class _Weight:
    """The weights of a convolution in one step.

    Attributes:
        own: themselves, so that nothing else gets their id meanwhile.
        values: the same off the graph.
        due: pairs of maps and slopes, with a geometry, whose share of the slope in the weights is yet to be found.
        place: on the graph behind the weights, of their shape and without numbers: shares come together there.
    """

    def __init__(self, weight: Tensor):
        self.own, self.values = weight, weight.detach()
        self.due: list[tuple[Tensor, Tensor, _Geometry]] = []
        self.place = _Shares.apply(weight, self.values, self.due)


def _convolved(x: Tensor, weight: _Weight, bias: Tensor | None, geometry: _Geometry) -> Tensor:
    """The convolution of an input, or of a tangent at one."""
    shape = geometry.shape(x, weight.values)
    part = _Part.apply(weight.place, (x,), shape, weight, geometry, False)
    added = None if bias is None else bias.view(-1, *(1,) * len(geometry.stride)).expand(shape)
    return _Convolution.apply(x, part, added, (bias,), weight, geometry)


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor of that shape which takes no memory."""
    return torch.empty_strided(tuple(shape), (0,) * len(shape), dtype=like.dtype, device=like.device)


# Tensors in tuples are no inputs of a function for autograd: no way back leads through it to them. That of a part must
# not lead on to layers below, or it would be gone on the way to those.


class _Shares(torch.autograd.Function):
    """Where all shares of the slope in some weights come together."""

    @staticmethod
    def forward(ctx, weight: Tensor, values: Tensor, due: list[tuple[Tensor, Tensor, _Geometry]]) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.values, ctx.due = values, due
        return _empty(weight, weight.shape)

    @staticmethod
    def backward(ctx, total: Tensor | None) -> tuple[Tensor | None, None, None]:
        alike: dict[tuple, list[tuple[Tensor, Tensor]]] = {}
        for x, slope, geometry in ctx.due:
            alike.setdefault((repr(geometry), x.shape[2:]), []).append((x, slope))
        geometries = {repr(geometry): geometry for _, _, geometry in ctx.due}
        ctx.due.clear()
        for (name, _), pairs in alike.items():
            x, slope = (torch.cat(ones) if len(ones) > 1 else ones[0] for ones in zip(*pairs, strict=True))
            found = _by_places(x, slope, ctx.values, geometries[name])
            total = found if total is None else total + found
        return total, None, None


class _Part(torch.autograd.Function):
    """What a convolution, or the slope in its input, has to do with the weights: of its shape, and without numbers.

    It stands apart since autograd runs what it must, function by function: on the way back to layers alone the slope in
    the weights, which is a third of the work of a step, is left out.
    """

    @staticmethod
    def forward(
        ctx,
        place: Tensor,
        other: tuple[Tensor],
        shape: Sequence[int],
        weight: _Weight,
        geometry: _Geometry,
        back: bool,
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*other)
        ctx.weight, ctx.geometry, ctx.back = weight, geometry, back
        return _empty(place, shape)

    @staticmethod
    def backward(ctx, given: Tensor | None) -> tuple[Tensor | None, ...]:
        found, weight, geometry = None, ctx.weight, ctx.geometry
        if given is not None:
            (other,) = ctx.saved_tensors
            x, slope = (given, other) if ctx.back else (other, given)
            if not torch.is_grad_enabled() and _are_few(x.numel() + slope.numel(), weight.values, geometry):
                weight.due.append((x, slope, geometry))
            else:
                wanted = [False, True, False]
                found = torch.ops.aten.convolution_backward(slope, x, weight.values, None, *geometry.arguments, wanted)[
                    1
                ]
        return found, None, None, None, None, None


class _Convolution(torch.autograd.Function):
    """A convolution as a function of x; it hangs on weights and bias by its parts."""

    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        part: Tensor,
        added: Tensor | None,
        bias: tuple[Tensor | None],
        weight: _Weight,
        geometry: _Geometry,
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight.values)
        ctx.weight, ctx.geometry, ctx.biased = weight, geometry, added is not None
        return torch.ops.aten.convolution(x, weight.values, *bias, *geometry.arguments)

    @staticmethod
    def backward(ctx, slope: Tensor | None) -> tuple[Tensor | None, ...]:
        found = None
        if slope is not None and ctx.needs_input_grad[0]:
            x, values = ctx.saved_tensors
            part = _Part.apply(ctx.weight.place, (slope,), x.shape, ctx.weight, ctx.geometry, True)
            found = _Slope.apply(slope, part, (x, values), ctx.weight, ctx.geometry)
        return found, slope, slope if ctx.biased else None, None, None, None


class _Slope(torch.autograd.Function):
    """The slope in a convolution's input as a function of that in its output; it hangs on the weights by its part."""

    @staticmethod
    def forward(
        ctx, slope: Tensor, part: Tensor, fixed: tuple[Tensor, Tensor], weight: _Weight, geometry: _Geometry
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(fixed[1])
        ctx.weight, ctx.geometry = weight, geometry
        return torch.ops.aten.convolution_backward(slope, *fixed, None, *geometry.arguments, [True, False, False])[0]

    @staticmethod
    def backward(ctx, tangent: Tensor | None) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors  # weights that have changed meanwhile are refused here
        found = None if tangent is None else _convolved(tangent, ctx.weight, None, ctx.geometry)
        return found, tangent, None, None, None


def _are_few(numbers: int, weight: Tensor, geometry: _Geometry) -> bool:
    """Whether maps hold so few numbers that the slope in the weights is best found by `_by_places`."""
    fits = weight.ndim == 4 and geometry.groups == 1 and weight.is_contiguous(memory_format=torch.channels_last)
    return fits and weight.device.type == "cpu" and 2 * numbers < weight.numel()


def _by_places(x: Tensor, slope: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
    """The slope in the weights, by a product of matrices for each place in the kernel, without what is padding.

    On a processor torch's own operation spends most of its time on bringing weights into another order and back where
    they hold more numbers than the maps; and of small maps much falls on the padding: 44 of 144 products at 4 x 4
    pixels.
    """
    found = weight.new_empty((len(weight), *weight.shape[2:], weight.shape[1]))
    rows, columns = (_within(axis, x, slope, weight, geometry) for axis in (0, 1))
    for wide, (ours, theirs) in enumerate(columns):
        # Rows first, so that some of them are a matrix as they lie.
        outputs, inputs = (one.permute(2, 3, 0, 1).contiguous() for one in (slope[..., ours], x[..., theirs]))
        for high, (own, others) in enumerate(rows):
            left, right = outputs[own].reshape(-1, len(weight)), inputs[others].reshape(-1, x.shape[1])
            torch.mm(left.t(), right, out=found[:, high, wide])
    return found.permute(0, 3, 1, 2)


def _within(axis: int, x: Tensor, slope: Tensor, weight: Tensor, geometry: _Geometry) -> list[tuple[slice, slice]]:
    """Along an axis, for each place in the kernel: outputs for which it is not on the padding, and their inputs."""
    step, pad, far = geometry.stride[axis], geometry.padding[axis], geometry.dilation[axis]
    found = []
    for place in range(weight.shape[2 + axis]):
        shift = place * far - pad  # the input for output i is i * step + shift
        first = max(0, -(shift // step))
        last = min(slope.shape[2 + axis] - 1, (x.shape[2 + axis] - 1 - shift) // step)
        ours, theirs = slice(first, last + 1), slice(first * step + shift, last * step + shift + 1, step)
        found.append((ours, theirs) if first <= last else (slice(0), slice(0)))
    return found
