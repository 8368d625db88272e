"""What an operation gives beyond its own slope: op(z) = D z + b, with D its derivative at z, applied to z itself.

The intercept b of an affine map is its bias. It is 0 for an operation that gives twice as much when it is given twice
as much, such as a ReLU, a pooling or a change of shape. For any other it is found by differentiation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils import _pytree as trees

from analysis.jacobians.derivatives import NoDerivative, along_itself
from priors.errors import InputError

Source = Literal["bias", "batch norm", "activation", "constant"]

ALONE = frozenset(
    "relu leaky_relu prelu abs neg dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout identity "
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool2d interpolate upsample "
    "flatten unflatten view view_as reshape permute transpose t swapaxes swapdims movedim moveaxis contiguous clone "
    "squeeze unsqueeze expand expand_as repeat repeat_interleave roll flip narrow select chunk split tensor_split "
    "unbind unfold fold pixel_shuffle pixel_unshuffle channel_shuffle gather index_select take_along_dim __getitem__ "
    "mean sum amax amin cumsum norm to float double type type_as diagonal tril triu "
    "T.__get__ mT.__get__ H.__get__ mH.__get__ real.__get__ imag.__get__".split()
)
"""Homogeneous of degree 1 in what they are given first, whatever else they are told."""
SUMS = frozenset("add sub __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__".split())
"""The same, where both that they are given depend on the image."""
COLLECTIONS = frozenset("cat concat stack maximum minimum fmax fmin max min".split())
"""The same, where all tensors that they are given do."""
PRODUCTS = frozenset(
    "mul multiply __mul__ __rmul__ __imul__ matmul __matmul__ __rmatmul__ mm bmm mv dot einsum".split()
)
"""Linear in each of what they are given: with two that depend on the image, D z is twice the product."""
QUOTIENTS = frozenset("div divide true_divide __truediv__ __itruediv__".split())
NORMALISATIONS = {"layer_norm": 3, "group_norm": 3}
"""By name, where the bias is among the arguments."""
CONVOLUTIONS = frozenset(f"conv{transposed}{n}d" for transposed in ("", "_transpose") for n in (1, 2, 3))
DROPOUTS = frozenset("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split())


@dataclass(frozen=True)
class Intercept:
    """An intercept and where it comes from.

    Attributes:
        source: "bias", an explicit parameter; "batch norm", what one adds by its statistics, factor and shift;
            "activation", of an operation that is not linear; "constant", what is no parameter but added.
        value: of a shape that broadcasts to the output's.
    """

    source: Source
    value: Tensor


@dataclass(frozen=True)
class Call:
    """One operation and what it was given.

    Attributes:
        function: of torch.
        name: of the function, without underscores for work in place.
        where: the layer that it belongs to, for messages.
        args: in order.
        kwargs: by name.
        depends: whether a tensor depends on the image.
        is_weight: whether a tensor is made of parameters alone.
    """

    function: Callable
    name: str
    where: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    depends: Callable[[Tensor], bool]
    is_weight: Callable[[Tensor], bool]

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """What was given at a place or by name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def tensors(self) -> list[Tensor]:
        """The floating ones among what it was given."""
        return [one for one in _leaves((self.args, self.kwargs)) if one.is_floating_point() or one.is_complex()]


def before(call: Call, in_place: bool) -> list[list[Intercept]] | None:
    """Intercepts of an operation by its outputs, as far as they are known before it runs.

    Args:
        call: the operation.
        in_place: whether it writes over what it was given.

    Returns:
        None where they are known by its output alone: see `after`.

    Raises:
        InputError: it cannot be decomposed.
    """
    name, depending = call.name, [call.depends(one) for one in call.tensors()]
    _refuse_training(call)
    if name in ALONE or (name in COLLECTIONS and all(depending)):
        return []
    if name in SUMS and all(_depends(call, call.argument(*one)) for one in ((0, "input"), (1, "other"))):
        return []
    if name in PRODUCTS:
        return [] if sum(depending) == 1 else None if sum(depending) == 2 else general(call, in_place)
    if name in QUOTIENTS and not _depends(call, call.argument(1, "other")):
        return []
    if name in CONVOLUTIONS or name == "linear":
        weight, bias = call.argument(1, "weight"), call.argument(2, "bias")
        if not _depends(call, weight) and not _depends(call, bias):
            return [] if bias is None else [[Intercept("bias", _of_channels(call, bias))]]
    if name == "pad" and call.argument(2, "mode", "constant") != "constant":
        return []
    if name == "pad" and not call.argument(3, "value"):
        return []
    if name == "batch_norm" and call.function is torch.nn.functional.batch_norm:
        return [[Intercept("batch norm", _batch_norm(call))]]
    if name in NORMALISATIONS:
        place = NORMALISATIONS[name]
        bias = call.argument(place, "bias")
        if bias is not None and not _depends(call, bias):
            return [[Intercept("bias", _of_channels(call, bias)), *general(_without(call, place), in_place)[0]]]
    return general(call, in_place)


def after(output: Tensor) -> list[list[Intercept]]:
    """Those of a product of two that depend on the image: D z is twice the product."""
    return [[Intercept("activation", -output.detach())]]


def general(call: Call, in_place: bool) -> list[list[Intercept]]:
    """Those of any operation, by its derivative along what it is given.

    Raises:
        InputError: torch has no such derivative of it.
    """
    source = "constant" if call.name in SUMS | COLLECTIONS else "activation"
    if source == "constant" and any(call.is_weight(one) for one in call.tensors() if not call.depends(one)):
        source = "bias"
    given = tuple(call.args), dict(call.kwargs)
    try:
        found = along_itself(call.function, given, call.depends, in_place)
    except NoDerivative as error:
        raise InputError(f"{call.where} cannot be decomposed: {error}") from None
    return [[] if one is None else [Intercept(source, one[0] - one[1])] for one in found]


def _refuse_training(call: Call) -> None:
    # Torch's functions drop units unless they are told not to; those named after alpha do where they are told to.
    if call.name in DROPOUTS and call.argument(2, "training", "alpha" not in call.name):
        if call.argument(1, "p", 0.5) > 0:
            raise InputError(f"{call.where} drops units at random: call .eval() on the network first")
    if call.name == "rrelu" and call.argument(3, "training", False):
        raise InputError(f"{call.where} draws slopes at random: call .eval() on the network first")
    if call.function is torch.nn.functional.batch_norm and call.argument(5, "training", False):
        if call.argument(1, "running_mean") is None:
            raise InputError(
                f"{call.where} keeps no running statistics: those of a batch make its images depend on each other, so "
                "that none has a decomposition of its own"
            )
        raise InputError(
            f"{call.where} is in training mode, where the statistics of a batch make its images depend on each other: "
            "call .eval() on the network first"
        )


def _batch_norm(call: Call) -> Tensor:
    """beta - gamma mu / sqrt(v + eps), of channels."""
    mean, variance = call.argument(1, "running_mean"), call.argument(2, "running_var")
    weight, bias = call.argument(3, "weight"), call.argument(4, "bias")
    factor = (variance + call.argument(7, "eps", 1e-5)).rsqrt()
    factor = factor if weight is None else factor * weight
    return _of_channels(call, -mean * factor if bias is None else bias - mean * factor)


def _of_channels(call: Call, values: Tensor) -> Tensor:
    """Numbers of channels, in a shape that broadcasts to the output's."""
    if call.name in ("linear", "layer_norm"):
        return values
    given = call.argument(0, "input")
    spatial = int(call.name[-2]) if call.name in CONVOLUTIONS else given.ndim - 2
    return values.view(-1, *[1] * spatial)


def _without(call: Call, place: int) -> Call:
    """The same operation without its bias."""
    args = [None if number == place else one for number, one in enumerate(call.args)]
    kwargs = {name: one for name, one in call.kwargs.items() if name != "bias"}
    return Call(call.function, call.name, call.where, args, kwargs, call.depends, call.is_weight)


def _depends(call: Call, one: Any) -> bool:
    return isinstance(one, Tensor) and call.depends(one)


def _leaves(tree: Any) -> list[Tensor]:
    return [one for one in trees.tree_leaves(tree) if isinstance(one, Tensor)]
