"""Named activations of any module, from one ordinary forward pass."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from priors.errors import InputError, unknown

# What wrappers put between a module and its own name: compiled, sharded and checkpointed modules.
_WRAPPED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_NAME = re.compile(r"(?P<module>[^:]*?)(?::(?P<end>input|output))?(?:#(?P<call>[1-9][0-9]*))?")


class Taps(Mapping):
    """The activations of the last forward pass, by the names they were asked for.

    Reading one raises `InputError` if it was not computed, if its module ran several times and the name does not say
    which call is meant, or if a later operation overwrote it.
    """

    def __init__(self, names: Sequence[str]):
        self._names = tuple(names)
        self._calls: dict[str, list[tuple[Tensor, int | None]]] = defaultdict(list)
        self._finished = False

    def __getitem__(self, name: str) -> Shaped[Tensor, "..."]:
        if name not in self._names:
            raise unknown("tap", name, self._names, "only the names given to tap() are kept")
        site, call = place_and_call(name)
        calls = self._calls.get(site, [])
        if not calls:
            raise InputError(f"no activation {name!r}: the module was not called in the last forward pass")
        if call is None and len(calls) > 1:
            choices = ", ".join(f"{site}#{n}" for n in range(1, len(calls) + 1))
            raise InputError(f"{name!r} was called {len(calls)} times in one forward pass: say which of {choices}")
        if call is not None and call > len(calls):
            raise InputError(f"no activation {name!r}: {site!r} was called {len(calls)} times in the last forward pass")
        tensor, version = calls[(call or 1) - 1]
        if version is not None and tensor._version != version:
            raise InputError(
                f"the activation {name!r} was overwritten in place after it was computed (as F.relu(..., inplace=True)"
                " does): use tap(..., copy=True), which hands the network a copy to overwrite"
            )
        return tensor

    def calls(self, name: str) -> tuple[Tensor, ...]:
        """What a module gave in each of its calls in the last forward pass; empty where it was not called."""
        return tuple(tensor for tensor, _ in self._calls.get(place_and_call(name)[0], []))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def tap(model: nn.Module, names: Sequence[str], *, copy: bool = False, compiled: bool = False) -> Iterator[Taps]:
    """Keep named activations of `model` while the context is open; each call of it replaces those of the call before.

    A name is a module's, as in `model.named_modules()`: `"layer1"` is what that module returns, `"fc:input"` is its
    first argument, `"relu#2"` is the second call of a module that runs several times in one pass (which must then be
    said). A module registered under two names is one module: its calls are counted together. The names are those of the
    eager, unwrapped network: prefixes that DistributedDataParallel, torch.compile, FSDP and checkpointing add may be
    left out.

    What is returned is what the module computed, on the graph: gradients flow to it and through it.
    - Compiled modules run eagerly while tapped, since hooks inside a compiled graph do not fire. With `compiled=True`
      they do not: hooks that were there before a module was compiled are part of its graph.
    - Activation modules with `inplace=True` work out of place while tapped; their flags are restored.
    - A functional in-place operation on a tapped tensor is found out when the tensor is read, and refused.
      With `copy=True` the network goes on with a copy instead, at the cost of the memory. Under `torch.inference_mode`,
      where tensors have no version to compare, the copy is always made.
    - After an exception no hook stays behind.

    Args:
        model: any module; call it (not one of its methods) for each pass.
        names: the activations to keep; each must be a tensor of any shape.
        copy: let the network overwrite a copy, never what was tapped.
        compiled: leave modules compiled that are compiled in place (`module.compile()`) after this and before it is
            closed. What is overwritten in place is not found out then.

    Yields:
        The activations by name, filled by each forward pass; they can be read after the context has closed.

    Raises:
        InputError: a module of that name does not exist, is one of torch.jit or inside one, or (while the model runs)
            gives no tensor.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True))
        >>> with tap(network, ["0", "1"]) as taps:
        ...     output = network(torch.randn(2, 4))
        >>> bool((taps["0"] < 0).any()), torch.equal(taps["0"].relu(), output)
        (True, True)
    """
    if isinstance(model, DataParallel):
        raise InputError("DataParallel runs copies of the network, which cannot be tapped: give its .module")
    core = unwrapped(model)
    refuse_scripted(core)
    taps = Taps(names)
    sites = dict.fromkeys(place_and_call(name)[0] for name in names)
    with ExitStack() as stack:
        # A new pass forgets the old one; what runs after its end (checkpointing recomputes in the backward pass) is not
        # of it.
        stack.enter_context(core.register_forward_pre_hook(lambda *_: _begin(taps)))
        for site in sites:
            name, _, end = site.partition(":")
            name, module = find_module(model, name)
            refuse_scripted(core, name)
            stack.enter_context(
                module.register_forward_pre_hook(_before(taps, site, copy, compiled), with_kwargs=True)
                if end
                else module.register_forward_hook(_after(taps, site, copy, compiled))
            )
        stack.enter_context(core.register_forward_hook(lambda *_: _finish(taps)))
        eager = False
        for module in model.modules():
            eager = eager or (_is_compiled(module) and not compiled)
            if module.__dict__.get("inplace") is True:
                module.inplace = False
                stack.callback(setattr, module, "inplace", True)
        if eager:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield taps


def find_module(model: nn.Module, name: str) -> tuple[str, nn.Module]:
    """The module of that name in the eager, unwrapped network, and its name there.

    Raises:
        InputError: there is none; the nearest name is offered.
    """
    core = unwrapped(model)
    name = canonical(name)
    try:
        return name, unwrapped(core.get_submodule(name))
    except (AttributeError, RuntimeError):  # wrappers on the way, a network of torch.jit, or no such module
        modules = modules_by_name(core)
    if name not in modules and core is not model:
        name = name.removeprefix("module.")
    if name not in modules:
        raise unknown("module", name, [known for known in modules if known])
    return name, modules[name]


def refuse_scripted(core: nn.Module, name: str = "") -> None:
    """Refuse modules of torch.jit, which run no hooks: the network itself, one of that name, or one that it is in.

    Raises:
        InputError: it is one.
    """
    # Each step of a training taps anew: the way to a module is walked, and not all modules are listed.
    places = [name[:end] for end, letter in enumerate(f"{name}.") if letter == "."]
    for place in ["", *places]:
        if isinstance(find_module(core, place)[1] if place else core, torch.jit.ScriptModule):
            what = f"{place!r} is" if place else "this network is"
            raise InputError(
                f"{what} a torch.jit module, compiled by script or trace: nothing inside it can be read; give the "
                "network that it was made of"
            )


def unwrapped(model: nn.Module) -> nn.Module:
    """The eager network inside wrappers around the whole of it."""
    while True:
        inner = next((getattr(model, prefix) for prefix in _WRAPPED if prefix in model._modules), None)
        if inner is None and isinstance(model, DistributedDataParallel | DataParallel):
            inner = model.module
        if inner is None:
            return model
        model = inner


def modules_by_name(core: nn.Module) -> dict[str, nn.Module]:
    """Modules by the name they have without wrappers: of a wrapper and what it wraps, the latter, which comes later."""
    return {canonical(name): module for name, module in core.named_modules(remove_duplicate=False)}


def place_and_call(name: str) -> tuple[str, int | None]:
    """The place that the name of an activation means (`module` or `module:input`), and which call; None: any.

    Raises:
        InputError: it is no such name.
    """
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise InputError(
            f"{name!r} names no activation: expected MODULE, MODULE:input or either with #N for the N-th call"
        )
    end = ":input" if parts["end"] == "input" else ""
    return parts["module"] + end, int(parts["call"]) if parts["call"] else None


def canonical(name: str) -> str:
    """A name of a module or of its weights without what wrappers put into it.

    Example:
        >>> canonical("body._orig_mod.conv.weight")
        'body.conv.weight'
    """
    return ".".join(part for part in name.split(".") if part not in _WRAPPED)


def _is_compiled(module: nn.Module) -> bool:
    return "_orig_mod" in module._modules or module._compiled_call_impl is not None


def _begin(taps: Taps) -> None:
    taps._calls.clear()
    taps._finished = False


def _finish(taps: Taps) -> None:
    taps._finished = True


def _keep(taps: Taps, site: str, tensor: object, copy: bool, compiled: bool) -> Tensor | None:
    """Record a tensor; returns what the network goes on with, if that is another one."""
    if not isinstance(tensor, Tensor):
        raise InputError(f"the tap {site!r} gives a {type(tensor).__name__}, not a tensor: tap a module inside it")
    if taps._finished:
        return None
    if compiled:  # neither of what follows is for a graph
        taps._calls[site].append((tensor, None))
        return tensor.clone() if copy else None
    copy = copy or tensor.is_inference()
    taps._calls[site].append((tensor, None if copy else tensor._version))
    return tensor.clone() if copy else None


def _after(taps: Taps, site: str, copy: bool, compiled: bool):
    def hook(module: nn.Module, args: tuple, output: object) -> Tensor | None:
        return _keep(taps, site, output, copy, compiled)

    return hook


def _before(taps: Taps, site: str, copy: bool, compiled: bool):
    def hook(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if args:
            kept = _keep(taps, site, args[0], copy, compiled)
            return None if kept is None else ((kept, *args[1:]), kwargs)
        first = next(iter(kwargs), None)
        kept = _keep(taps, site, kwargs.get(first), copy, compiled)
        return None if kept is None else (args, {**kwargs, first: kept})

    return hook
