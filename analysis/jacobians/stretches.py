"""What the stretches of a network between its layers add to its output, each stretch as one number an image."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from analysis.jacobians.decomposition import decompose
from priors.errors import InputError
from priors.reading.taps import find_module, place_and_call, unwrapped


@dataclass(frozen=True)
class Stretches:
    """f(x) = J_x x + what each stretch adds + what comes after the last layer.

    Attributes:
        layers: their taps, in the order in which they were computed.
        target: the class of each image.
        output: f(x), in the network's own units.
        input: J_x x.
        added: by layer, what all operations add that ran after the layer before and up to this one.
        after: what those add that ran after the last layer.
        residual: as in `Decomposition`.
    """

    layers: tuple[str, ...]
    target: Int[Tensor, " batch"]
    output: Float[Tensor, " batch"]
    input: Float[Tensor, " batch"]
    added: Float[Tensor, "batch layers"]
    after: Float[Tensor, " batch"]
    residual: Float[Tensor, " batch"]

    @property
    def shares(self) -> Float[Tensor, "batch layers"]:
        """|added| over |input| + the sum of |added| + |after|, from 0 to 1.

        Parts of a sum may be larger than the sum, and cancel; so the sizes of all parts are what shares are of. What
        is missing to 1 is the share of the slope times the image, and of what comes after the last layer.
        """
        parts = torch.cat([self.added, self.input[:, None], self.after[:, None]], 1).abs()
        return parts[:, : len(self.layers)] / parts.sum(1, keepdim=True).clamp_min(torch.finfo(parts.dtype).tiny)


def stretches(
    network: nn.Module,
    images: Shaped[Tensor, "..."],
    layers: Sequence[str],
    target: Shaped[Tensor, "..."] | Sequence[int] | int | float | None = None,
    **given: Any,
) -> Stretches:
    """Decompose a network at images, and add its bias terms up between named layers.

    Which operation ran before which is the order of the pass itself, so layers may lie in blocks, and a layer on one of
    two branches begins and ends a stretch by when it is computed.

    Args:
        network: as for `decompose`.
        images: x.
        layers: names as for `priors.tap`, such as "layer1", "relu#2" or "head:input".
        target: the classes, one or one an image; unset: the largest output.
        given: `of`, `prior`, `head` and `memory` of `decompose`.

    Raises:
        InputError: no such layer or name, one that takes no part in the pass or runs several times without saying
            which is meant, one given twice, or as for `decompose`.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double()
        >>> found = stretches(network, torch.rand(3, 2).double(), ["1"], 0)
        >>> whole = found.input + found.added[:, 0] + found.after
        >>> bool((whole - found.output).abs().max() < 1e-12), torch.equal(found.after, network[2].bias.expand(3))
        (True, True)
    """
    if twice := [layer for at, layer in enumerate(layers) if layer in layers[:at]]:
        raise InputError(f"layer {twice[0]} is given twice: stretches lie between different layers")
    with _marked(network, layers):
        found = decompose(network, images, target, keep="totals", **given)
    marks = {f"autograd function {_mark(number).__name__}": layer for number, layer in enumerate(layers)}
    none = torch.zeros_like(found.output)
    order, added, now = [], [], none
    for term in found.terms:
        if term.operation not in marks:
            now = now + term.total
            continue
        order.append(marks[term.operation])
        added.append(now)
        now = none
    if missing := [layer for layer in layers if layer not in order]:
        raise InputError(f"layer {missing[0]} is not run in a pass of the network, or knows nothing of the images")
    if len(order) > len(layers):
        several = next(layer for at, layer in enumerate(order) if layer in order[:at])
        raise InputError(
            f"layer {several} runs {order.count(several)} times in one pass: say which is meant, as in {several}#1"
        )
    table = torch.stack(added, 1) if added else none[:, None][:, :0]
    return Stretches(tuple(order), found.target, found.output, found.input_term, table, now, found.residual)


@contextmanager
def _marked(network: nn.Module, layers: Sequence[str]) -> Iterator[None]:
    """While this is open, layers hand on what they give through a function that a decomposition sees, and adds 0."""
    with ExitStack() as stack:
        for number, layer in enumerate(layers):
            name, call = place_and_call(layer)
            place, _, end = name.partition(":")
            module, mark = find_module(network, place)[1], _Marking(number, call)
            hook = module.register_forward_pre_hook(mark.before, with_kwargs=True) if end else None
            stack.callback((hook or module.register_forward_hook(mark.after)).remove)
            stack.callback(unwrapped(network).register_forward_pre_hook(mark.begin).remove)
        yield


class _Marking:
    """Marks what a layer gives, or is given, in one of its calls or in all.

    Args:
        number: of the mark.
        call: which; None: all.
    """

    def __init__(self, number: int, call: int | None):
        self._number, self._call, self._calls = number, call, 0

    def begin(self, module: nn.Module, args: Any) -> None:
        """A new pass of the network begins."""
        self._calls = 0

    def before(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """What a layer is given, marked: its first argument."""
        if args:
            return (self._marked(args[0]), *args[1:]), kwargs
        first = next(iter(kwargs), None)
        return args, {**kwargs, first: self._marked(kwargs.get(first))}

    def after(self, module: nn.Module, args: tuple, output: Any) -> Any:
        """What a layer gives, marked."""
        return self._marked(output)

    def _marked(self, values: Any) -> Any:
        self._calls += 1
        if self._call not in (None, self._calls):
            return values
        if not isinstance(values, Tensor):
            raise InputError(f"a layer gives {type(values).__name__}: one tensor was expected")
        return _mark(self._number).apply(values)


@cache
def _mark(number: int) -> type[torch.autograd.Function]:
    """The identity under a name of its own, by which a decomposition's terms tell where a stretch ends."""
    return type(f"end of stretch {number}", (_Mark,), {})


class _Mark(torch.autograd.Function):
    """The identity, which adds nothing."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent.clone()
