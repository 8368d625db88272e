"""The derivative of an operation along what it is given, by forward-mode differentiation or by two backward."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as trees

Along = list[tuple[Tensor, Tensor] | None]
"""Of each tensor that an operation gives, op(z) and D z; None for one of whole numbers."""


class NoDerivative(Exception):
    """Torch has none; says of what."""


def along_itself(
    function: Callable, given: tuple[tuple, dict], depends: Callable[[Tensor], bool], in_place: bool
) -> Along:
    """op(z) and D z, D being the derivative of an operation at z.

    Attention is computed by the kernel whose derivatives torch knows. Where an operation has no forward derivative,
    its backward one is differentiated, which is linear in the slope v that it is given: D z = d/dv <D^T v, z>.

    Args:
        function: the operation.
        given: its arguments, by place and by name.
        depends: whether a tensor among them is z.
        in_place: whether it writes over what it is given.

    Raises:
        NoDerivative: it has neither.
    """
    load_forward_derivatives()
    with sdpa_kernel(SDPBackend.MATH):
        try:
            found = _forward(function, given, depends, in_place)
        except NotImplementedError as error:
            found, reason = None, str(error).partition(" because")[0]
        if found is not None and all(one is None or one[1] is not None for one in found):
            return found
        # A tangent that is missing is zero, or was lost in an operation that torch does not know well.
        reason = "its forward derivative is not known" if found is not None else reason
        try:
            return _twice_backward(function, given, depends, in_place)
        except RuntimeError as error:
            said = str(error).partition("\n")[0]
            raise NoDerivative(f"{reason}; nor can its backward one be differentiated: {said}") from None


def _forward(function: Callable, given: tuple, depends: Callable, in_place: bool) -> list:
    """By dual numbers; a tangent may be missing."""

    def dual(one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        own = one.detach().clone() if in_place else one.detach()
        return forward_ad.make_dual(own, own.clone()) if depends(one) else own

    with torch.no_grad(), forward_ad.dual_level():
        args, kwargs = trees.tree_map(dual, given)
        outputs = _outputs(function, args, kwargs)
        return [tuple(forward_ad.unpack_dual(one)) if _is_smooth(one) else None for one in outputs]


def _twice_backward(function: Callable, given: tuple, depends: Callable, in_place: bool) -> Along:
    """By the derivative of the backward one, at a slope of ones."""
    points = []

    def leaf(one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        own = one.detach().clone() if in_place else one.detach()
        if not depends(one):
            return own
        points.append(own.clone().requires_grad_())
        return points[-1].clone() if in_place else points[-1]

    with torch.enable_grad():
        args, kwargs = trees.tree_map(leaf, given)
        found = []
        for one in _outputs(function, args, kwargs):
            if not _is_smooth(one):
                found.append(None)
                continue
            found.append((one.detach(), _pushed(one, points)))
        return found


def _pushed(output: Tensor, points: list[Tensor]) -> Tensor:
    """D z of one output, on the graph of what it was made of."""
    if output.is_complex() or any(point.is_complex() for point in points):
        raise RuntimeError("it gives complex numbers")
    nothing = torch.zeros_like(output)
    if not output.requires_grad:
        return nothing
    slope = torch.ones_like(output).requires_grad_()
    pulled = torch.autograd.grad(output, points, slope, create_graph=True, allow_unused=True)
    pairs = [(own, point.detach()) for own, point in zip(pulled, points, strict=True) if own is not None]
    if any(not own.requires_grad and bool((own != 0).any()) for own, _ in pairs):
        raise RuntimeError("it is off the graph")
    products = [(own * point).sum() for own, point in pairs if own.requires_grad]
    if not products:
        return nothing
    (along,) = torch.autograd.grad(sum(products), slope, allow_unused=True, retain_graph=True)
    return nothing if along is None else along


def _outputs(function: Callable, args: tuple, kwargs: dict) -> list[Tensor]:
    """The tensors that an operation gives; one that gives nothing, as `__setitem__`, changed what it was given."""
    outputs = function(*args, **kwargs)
    return [one for one in trees.tree_leaves(args[0] if outputs is None else outputs) if isinstance(one, Tensor)]


def _is_smooth(one: Tensor) -> bool:
    return one.is_floating_point() or one.is_complex()


@cache
def load_forward_derivatives() -> None:
    """Torch compiles some of its own when the first is asked for, by a function that it warns of."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))
