"""Guided backpropagation at every ReLU, be it a module or a function, and never silently at none.

Captum's hooks see modules of `nn.ReLU` alone: of a network of ReLU6, or of functions, its guided backpropagation is the
plain gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from priors.errors import InputError

_RELUS = {functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
_RELU6 = {functional.relu6}
_HARDTANH = {functional.hardtanh, functional.hardtanh_}
_CLAMPS = {torch.clamp, torch.clamp_, torch.clip, torch.clip_, Tensor.clamp, Tensor.clamp_, Tensor.clip, Tensor.clip_}
_CLAMP_MIN = {torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_}
_OTHERS = frozenset(
    "relu threshold hardtanh clamp clampmin gelu silu mish elu celu selu leakyrelu prelu rrelu hardswish hardshrink "
    "softshrink softplus prelukernel rreluwithnoise logsigmoid glu".split()
)
"""Activations as autograd names them. A sigmoid, tanh or softmax that weighs what others give keeps its own slope."""


class _Rectified(torch.autograd.Function):
    """What lies between 0 and a limit; on the way back only what is positive goes through there."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, most: float | None) -> Tensor:
        ctx.save_for_backward((given > 0) if most is None else (given > 0) & (given < most))
        return given.clamp(0, most)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return slope.clamp_min(0) * ctx.saved_tensors[0], None


_OURS = (_Rectified.__name__, "BackwardHookFunction")
"""Functions that are no network's own: the other is what torch's hooks put in."""


class Guided(TorchFunctionMode):
    """While it is entered, ReLUs let only positive slopes back."""

    def __init__(self):
        super().__init__()
        self.found = 0

    def __torch_function__(self, function: Callable, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        limits = _limits(function, args, kwargs)
        given = args[0] if args else kwargs.get("input")
        if limits is None or not isinstance(given, Tensor) or not given.requires_grad:
            return function(*args, **kwargs)
        self.found += 1
        output = _Rectified.apply(given, limits[1])
        return given.copy_(output) if _in_place(function, args, kwargs) else output

    def check(self, logits: Tensor) -> None:
        """Make sure that all activations on the way were ReLUs, and that there were some.

        Args:
            logits: what the network gave while this was entered.

        Raises:
            InputError: others were there, or none at all.
        """
        if others := sorted(_activations(logits)):
            raise InputError(
                f"guided-backprop: the network computes {', '.join(others)}, for which the method is not defined: it "
                "is for ReLUs alone; leave it out"
            )
        if not self.found:
            raise InputError(
                "guided-backprop: the network computes no ReLU, so the map would be the plain gradient; take "
                "input-gradient instead"
            )


def _limits(function: Callable, args: Sequence[Any], kwargs: Any) -> tuple[float | int, float | int | None] | None:
    """0 and the largest output of what is a ReLU; None for any other function."""

    def argument(place: int, *names: str, default: Any = None) -> Any:
        given = [kwargs[name] for name in names if name in kwargs]
        return args[place] if len(args) > place else given[0] if given else default

    if function in _RELUS:
        return 0, None
    if function in _RELU6:
        return 0, 6
    if function in _HARDTANH:
        limits = argument(1, "min_val", default=-1.0), argument(2, "max_val", default=1.0)
    elif function in _CLAMPS:
        limits = argument(1, "min"), argument(2, "max")
    elif function in _CLAMP_MIN:
        limits = argument(1, "min"), None
    else:
        return None
    numbers = all(one is None or isinstance(one, int | float) for one in limits)
    return limits if numbers and limits[0] == 0 else None


def _in_place(function: Callable, args: Sequence[Any], kwargs: Any) -> bool:
    if function.__name__.endswith("_"):
        return True
    place = {functional.relu: 1, functional.relu6: 1, functional.hardtanh: 3}.get(function)
    return bool(kwargs.get("inplace")) or (place is not None and len(args) > place and bool(args[place]))


def _activations(logits: Tensor) -> set[str]:
    """Activations that autograd has on the way to an output, and functions of others that it cannot look into."""
    found, seen, waiting = set(), set(), [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = type(node).__name__.rstrip("0123456789").removesuffix("Backward")
        own = isinstance(node, torch.autograd.function.BackwardCFunction) and name not in _OURS
        if own or name.lower() in _OTHERS:
            found.add(name if own else name.lower())
        waiting += [following for following, _ in node.next_functions]
    return found
