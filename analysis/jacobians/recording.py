"""A forward pass that keeps what each operation adds of its own, and the slopes that a backward pass brings to it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function, resolve_name
from torch.utils import _pytree as trees

from analysis.jacobians.intercepts import Call, Intercept, Source, after, before
from priors.errors import InputError
from priors.reading.taps import canonical

_IN_PLACE = frozenset("__setitem__ __iadd__ __isub__ __imul__ __itruediv__".split())
_PERMUTATIONS = frozenset("permute transpose t swapaxes swapdims movedim moveaxis T.__get__ mT.__get__".split())


@dataclass
class Recorded:
    """What one execution of an operation adds: its intercept times the slope of the output at the operation's result.

    Attributes:
        layer: name of the module that ran it, "" for the network itself.
        operation: torch's name of it.
        execution: how often that layer ran it before.
        number: of the entry.
        source: where the intercept comes from.
        shape: of the result.
        channels: axis of the result's channels, where it is known.
        product: what is kept of the intercept times the slope, once the slope is there.
    """

    layer: str
    operation: str
    execution: int
    number: int
    source: Source
    shape: torch.Size
    channels: int | None
    product: Any = None


class Recorder(TorchFunctionMode):
    """While it is entered, torch's functions are looked at one by one.

    What depends on the image is what torch would differentiate: the network's parameters must not ask for gradients.

    Args:
        network: its modules name the layers.
        reduce: what is kept of each product, given with it the entry.
    """

    def __init__(self, network: nn.Module, reduce: Callable[[Recorded, Tensor], Any]):
        super().__init__()
        self.found: list[Recorded] = []
        self.bytes = 0
        self._reduce = reduce
        self._layers = [""]
        self._executions: dict[tuple[str, str], int] = {}
        self._names = {module: canonical(name) for name, module in network.named_modules()}
        self._parameters = {id(one): one for one in network.parameters()}
        self._known: dict[Any, int | None] = {}
        self._intercepts: dict[int, Tensor] = {}
        self._failed: tuple[Exception, str] | None = None

    @contextmanager
    def layers(self) -> Iterator[None]:
        """Hooks that say which module runs."""
        hooks = []
        try:
            for module, name in self._names.items():
                hooks.append(module.register_forward_pre_hook(self._enter(name), prepend=True))
                hooks.append(module.register_forward_hook(self._leave, always_call=True))
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def layer(self, name: str) -> Iterator[None]:
        """What runs here is said to be of a layer of this name."""
        self._layers.append(name)
        try:
            yield
        finally:
            self._layers.pop()

    def failed(self, error: Exception) -> str | None:
        """The operation that an error comes from, or the network where it refuses images; None where it is neither."""
        if self._failed is not None and self._failed[0] is error:
            return self._failed[1]
        return "the network" if isinstance(error, RuntimeError | AssertionError) else None

    def begin(self, images: Tensor) -> None:
        """Images that everything depends on: not a leaf, since a network may write over it."""
        self._keep(images, 1)

    def release(self) -> None:
        """Let go of the graph, which the hooks on it would keep in a circle until Python looks for those."""
        self._known.clear()
        self._intercepts.clear()
        self._failed = None

    def check(self, output: Tensor) -> None:
        """Make sure that nothing that was not looked at made this.

        Raises:
            InputError: something did.
        """
        if output.requires_grad and output.grad_fn not in self._known:
            raise InputError(f"{self._where('')} cannot be decomposed: {_unseen(output)}")

    def __torch_function__(self, function: Callable, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [one for one in _tensors((args, kwargs)) if _depends(one)]
        if not given:
            found = self._run(function, args, kwargs)
            self._keep_weights((args, kwargs), found)
            return found
        if isinstance(function, _OwnFunction) and not function.has_jvp:
            raise InputError(
                f"{self._where(function.__name__)} cannot be decomposed: its class defines no jvp, by which what it "
                "adds would be found"
            )
        if function is nn.functional.multi_head_attention_forward:
            with self:
                return _opened(function)(*args, **kwargs)
        name = _name(function)
        in_place = name in _IN_PLACE or _says_in_place(name, function, args, kwargs)
        short = _short(name)
        for one in given:
            if one.grad_fn not in self._known:
                raise InputError(f"{self._where(short)} cannot be decomposed: {_unseen(one)}")
        if kwargs.get("out") is not None:
            raise InputError(f"{self._where(short)} cannot be decomposed: it writes into out=")
        call = Call(function, short, self._where(short), args, kwargs, _depends, self._is_weight)
        if not _gives_tensors(function, short):
            return self._run(function, args, kwargs)
        with self._named(function):
            expected = before(call, in_place)
        versions = [one._version for one in given]
        layout = self._known[given[0].grad_fn]
        found = self._run(function, args, kwargs)
        outputs = _tensors(given[0] if short == "__setitem__" else found)
        if not in_place and [one._version for one in given] != versions:
            raise InputError(f"{call.where} cannot be decomposed: it writes over what it is given")
        expected = after(outputs[0]) if expected is None else expected
        expected = expected or [[]] * len(outputs)
        for output, own in zip(outputs, expected, strict=True):
            if _depends(output):
                self._record(call, output, own, _layout(call, given[0], output, layout))
        return found

    def _run(self, function: Callable, args: Any, kwargs: Any) -> Any:
        with self._named(function):
            return function(*args, **kwargs)

    @contextmanager
    def _named(self, function: Callable) -> Iterator[None]:
        """Remember what failed, while it is known in which layer."""
        try:
            yield
        except Exception as error:
            name = "the network's check" if function is torch._assert else _short(_name(function))
            self._failed = error, self._where(name)
            raise

    def _record(self, call: Call, output: Tensor, intercepts: Sequence[Intercept], layout: int | None) -> None:
        self._keep(output, layout)
        key = self._layers[-1], call.name
        for one in intercepts:
            place = self._executions.get(key, 0), len(self.found)
            entry = Recorded(*key, *place, one.source, output.shape, layout)
            self.found.append(entry)
            self._intercepts[entry.number] = one.value
            output.register_hook(self._receiver(entry))
        self._executions[key] = self._executions.get(key, 0) + bool(intercepts)

    def _receiver(self, entry: Recorded) -> Callable[[Tensor], None]:
        def receive(slope: Tensor) -> None:
            product = slope.detach().conj() * self._intercepts.pop(entry.number)
            # Of complex numbers, whose slopes are torch's, the real part.
            entry.product = self._reduce(entry, product.real if product.is_complex() else product)

        return receive

    def _keep(self, output: Tensor, layout: int | None) -> None:
        self._known[output.grad_fn] = layout
        self.bytes += output.numel() * output.element_size()

    def _keep_weights(self, given: Any, found: Any) -> None:
        """What is made of parameters alone is one."""
        tensors = [one for one in _tensors(given) if one.is_floating_point()]
        if tensors and all(self._is_weight(one) for one in tensors):
            self._parameters |= {id(one): one for one in _tensors(found)}

    def _is_weight(self, one: Tensor) -> bool:
        return id(one) in self._parameters

    def _enter(self, name: str) -> Callable:
        def enter(module: nn.Module, args: Any) -> None:
            self._layers.append(name)

        return enter

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._layers.pop()

    def _where(self, operation: str) -> str:
        layer = self._layers[-1]
        return f"{operation or 'the output'} of layer {layer!r}" if layer else operation or "the output"


@contextmanager
def own_functions() -> Iterator[None]:
    """While this is open, users' `torch.autograd.Function`s are handed over like functions of torch."""
    function = torch.autograd.Function
    before = vars(function).get("apply")
    plain = next(vars(base)["apply"] for base in function.__mro__ if "apply" in vars(base))

    def apply(own: type[torch.autograd.Function], *args: Any, **kwargs: Any) -> Any:
        call = _OwnFunction(own, plain.__get__(None, own))
        given = tuple(_tensors((args, kwargs)))
        if has_torch_function(given):
            return handle_torch_function(call, given, *args, **kwargs)
        return call(*args, **kwargs)

    function.apply = classmethod(apply)
    try:
        yield
    finally:
        if before is None:
            del function.apply
        else:
            function.apply = before


class _OwnFunction:
    """The `apply` of a user's function, under a name that no function of torch has.

    Args:
        own: its class.
        apply: torch's own, of that class.
    """

    def __init__(self, own: type[torch.autograd.Function], apply: Callable):
        self._own, self._apply = own, apply
        self.__name__ = f"autograd function {own.__name__}"

    @property
    def has_jvp(self) -> bool:
        """Whether it says what its forward derivative is."""
        return self._own.jvp is not torch.autograd.Function.jvp

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._apply(*args, **kwargs)


def _depends(one: Any) -> bool:
    return isinstance(one, Tensor) and one.requires_grad and one.grad_fn is not None


def _tensors(tree: Any) -> list[Tensor]:
    return [one for one in trees.tree_leaves(tree) if isinstance(one, Tensor)]


def _name(function: Callable) -> str:
    """Torch's name of a function; the last part alone, but for getters."""
    if isinstance(function, _OwnFunction):
        return function.__name__
    name = resolve_name(function) or getattr(function, "__name__", str(function))
    return name.removeprefix("torch.Tensor.") if "__get__" in name else name.rpartition(".")[2]


def _short(name: str) -> str:
    """Without the underscore of what works in place."""
    return name if name.endswith("__") else name.rstrip("_")


def _gives_tensors(function: Callable, name: str) -> bool:
    """Getters of shapes, types and devices are looked past."""
    return not name.endswith("__get__") or name.partition(".")[0] in ("T", "mT", "H", "mH", "data", "real", "imag")


def _says_in_place(name: str, function: Callable, args: Any, kwargs: Any) -> bool:
    if name.endswith("_") and not name.endswith("__"):
        return True
    if "inplace" in kwargs:
        return bool(kwargs["inplace"])
    code = getattr(function, "__code__", None)
    if code is None or "inplace" not in code.co_varnames[: code.co_argcount]:
        return False
    place = code.co_varnames.index("inplace")
    return len(args) > place and bool(args[place])


def _unseen(one: Tensor) -> str:
    """What made a tensor that no function of torch was seen to make."""
    name = type(one.grad_fn).__name__
    if name in ("CopySlices", "AsStridedBackward0"):
        return "a view of what it is given was written over"
    name = name.removesuffix("Backward")
    if isinstance(one.grad_fn, torch.autograd.function.BackwardCFunction):
        return f"it is given what {name} made, an autograd function kept under another name: call it as {name}.apply"
    return f"it is given what {name} made, which is no function of torch"


def _layout(call: Call, given: Tensor, output: Tensor, layout: int | None) -> int | None:
    """The axis of the channels in what an operation gives."""
    if call.name in ("linear", "layer_norm"):
        return output.ndim - 1
    if call.name.startswith(("conv", "batch_norm", "group_norm", "instance_norm")):
        return 1
    if layout is None:
        return None
    if call.name in _PERMUTATIONS:
        sizes = torch.arange(2, 2 + given.ndim).tolist()
        blank = torch.empty(sizes, device="meta")
        moved = call.function(blank, *call.args[1:], **{k: v for k, v in call.kwargs.items() if k != "input"})
        return moved.stride().index(blank.stride(layout))
    if call.name in ("cat", "concat", "chunk", "split", "unbind") or output.ndim != given.ndim:
        return layout if output.ndim == given.ndim else None
    pooling = "pool" in call.name or call.name in ("interpolate", "pad", "roll")
    return layout if pooling or output.shape == given.shape else None


def _opened(function: Callable) -> Callable:
    """A composite function that does not hand itself over as one, so that what it calls is seen one by one."""
    names = {**function.__globals__, "has_torch_function": lambda _: False}
    made = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made
