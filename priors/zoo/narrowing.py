"""A convolution of few filters in the place of one of a network's own: its capacity is damaged at that layer."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

import torch
from torch import nn

from priors.errors import InputError, reason, shown, unknown
from priors.reading.dry_pass import undisturbed

FILTERS, KERNEL = 4, 7
"""Of Ma et al. (2021), section 4, "Diagnosis of architectural revisions": 4 filters of 7 x 7 pixels, padding 3."""
_BODY = "body."
_Reader = nn.BatchNorm2d | nn.Conv2d | nn.Linear
_FAILURES = (AssertionError, RuntimeError, TypeError, ValueError)


class _Misfit(Exception):
    """A layer is given another number of channels than it takes."""

    def __init__(self, name: str, inputs: int):
        super().__init__(name)
        self.name, self.inputs = name, inputs


def narrow_body(
    name: str, body: nn.Module, layer: str, filters: int, kernel: int, image_shape: Sequence[int]
) -> tuple[str, int]:
    """Put a convolution of `filters` filters of `kernel` x `kernel` pixels in the place of another one, in place.

    Its stride and its bias are as they were; its padding is half the kernel, which keeps the maps' size where the
    stride is 1. Whatever reads what it gives is made anew for so many channels: batch norms, convolutions and linear
    layers, which a pass without data finds. New weights are He's normal by what a layer is given (variance
    2 / fan-in, biases 0), so that what it gives keeps its size, with batch norm or without; by the fan-out, which
    VGGs start from, 4 filters of 7 x 7 x 512 numbers would give maps sixteen times as large. All other weights are as
    the body has them.

    Args:
        name: of the network, for messages.
        body: maps normalised images to penultimate activations; it is changed.
        layer: a convolution's name, with `body.` or without it.
        filters: at most as many as it has.
        kernel: odd.
        image_shape: (channels, height, width).

    Returns:
        The layer's name, with `body.`, and the width of the penultimate activations.

    Raises:
        InputError: no such convolution (the nearest is offered), numbers that it cannot have, or something needs all of
            its channels: a sum with other maps, a convolution in groups.
    """
    path = _convolution(name, body, layer)
    old: nn.Conv2d = body.get_submodule(path)
    _check_numbers(f"{_BODY}{path} of {name}", old, filters, kernel)
    # One more filter than there are is broadcast nowhere, as a single one would be in a sum.
    _fitted(name, body, path, old.out_channels + 1, kernel, image_shape)
    readers, width = _fitted(name, body, path, filters, kernel, image_shape)
    body.set_submodule(path, _initialised(_narrow(old, filters, kernel)))
    for place, inputs in readers.items():
        body.set_submodule(place, _initialised(_reading(body.get_submodule(place), inputs)))
    return _BODY + path, width


def _convolution(name: str, body: nn.Module, layer: str) -> str:
    """Where the convolution of that name is in the body."""
    if not isinstance(layer, str):
        raise InputError(f"narrow is {shown(layer)}: the name of a convolution of {name} was expected")
    modules = dict(body.named_modules())
    convolutions = [place for place, module in modules.items() if isinstance(module, nn.Conv2d)]
    path = layer if layer in modules else layer.removeprefix(_BODY)
    if path in convolutions:
        return path
    if not path or path not in modules:
        raise unknown(f"convolution of {name}", layer, convolutions)
    inside = [place for place in convolutions if place.startswith(f"{path}.")]
    near = inside or get_close_matches(path, convolutions, n=1, cutoff=0.0)
    offer = f"; the nearest is {near[-1]}" if near else f"; {name} has none"
    raise InputError(f"{layer} of {name} is a {type(modules[path]).__name__}: a convolution was expected{offer}")


def _check_numbers(layer: str, old: nn.Conv2d, filters: int, kernel: int) -> None:
    for what, value in (("narrow_filters", filters), ("narrow_kernel", kernel)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{what} is {shown(value)}: a whole number of at least 1 was expected")
    if filters > old.out_channels:
        raise InputError(
            f"narrow_filters is {filters}: {layer} has {old.out_channels}, and is to have no more than that"
        )
    if kernel % 2 == 0:
        raise InputError(f"narrow_kernel is {kernel}: an odd number was expected, whose padding keeps the maps' size")


def _fitted(
    name: str, body: nn.Module, path: str, filters: int, kernel: int, image_shape: Sequence[int]
) -> tuple[dict[str, int], int]:
    """Which layers have to be made anew for how many inputs, by name, and the width of what comes out."""
    twin = _without_data(body)
    twin.set_submodule(path, _narrow(body.get_submodule(path), filters, kernel, device="meta"))
    readers: dict[str, int] = {}
    with undisturbed(twin):
        while True:
            inside: list[str] = []
            try:
                with _watched(twin, inside):
                    width = twin.eval()(torch.empty(2, *image_shape, device="meta")).shape[1]
                return readers, width
            except _Misfit as misfit:
                reader = twin.get_submodule(misfit.name)
                if misfit.name in readers or (isinstance(reader, nn.Conv2d) and reader.groups > 1):
                    why = "it runs several times" if misfit.name in readers else "a convolution in groups"
                    raise _needed(name, path, body, f"{misfit.name} reads them, {why}") from None
                readers[misfit.name] = misfit.inputs
                twin.set_submodule(misfit.name, _reading(reader, misfit.inputs, device="meta"))
            except _FAILURES as error:
                place = inside[-1] if inside else ""
                kind = type(twin.get_submodule(place)).__name__
                raise _needed(name, path, body, f"{place or 'the body'}, a {kind}, says: {reason(error)}") from None


def _needed(name: str, path: str, body: nn.Module, why: str) -> InputError:
    count = body.get_submodule(path).out_channels
    return InputError(f"{path} of {name} cannot be narrowed: all of its {count} channels are needed ({why})")


def _without_data(body: nn.Module) -> nn.Module:
    """A copy on the meta device, which takes no memory."""
    tensors = [*body.parameters(), *body.buffers()]
    return copy.deepcopy(body, {id(tensor): _empty(tensor) for tensor in tensors})


def _empty(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


@contextmanager
def _watched(network: nn.Module, inside: list[str]) -> Iterator[None]:
    """While it is open, a layer that is given another number of channels than it takes raises `_Misfit`.

    Args:
        network: that is run.
        inside: gets the names of the modules that are being run, outermost first; they stay where one fails.
    """
    handles = []

    def before(place: str):
        def look(module: nn.Module, given: tuple) -> None:
            inside.append(place)
            if given and isinstance(module, _Reader):
                taken, axis = _inputs(module)
                if given[0].shape[axis] != taken:
                    raise _Misfit(place, given[0].shape[axis])

        return look

    def after(*_: object) -> None:
        inside.pop()

    for place, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(before(place)))
        handles.append(module.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _inputs(module: _Reader) -> tuple[int, int]:
    """How many channels a layer takes, and the axis that they are on."""
    if isinstance(module, nn.Linear):
        return module.in_features, -1
    return (module.in_channels if isinstance(module, nn.Conv2d) else module.num_features), 1


def _narrow(old: nn.Conv2d, filters: int, kernel: int, device: str | None = None) -> nn.Conv2d:
    settings = {"stride": old.stride, "padding": kernel // 2, "bias": old.bias is not None}
    return nn.Conv2d(old.in_channels, filters, kernel, **settings, device=device)


def _reading(old: _Reader, inputs: int, device: str | None = None) -> _Reader:
    """The same layer for another number of channels."""
    if isinstance(old, nn.Linear):
        return nn.Linear(inputs, old.out_features, bias=old.bias is not None, device=device)
    if isinstance(old, nn.BatchNorm2d):
        return nn.BatchNorm2d(inputs, old.eps, old.momentum, old.affine, old.track_running_stats, device=device)
    settings = {"stride": old.stride, "padding": old.padding, "dilation": old.dilation, "bias": old.bias is not None}
    return nn.Conv2d(
        inputs, old.out_channels, old.kernel_size, **settings, padding_mode=old.padding_mode, device=device
    )


def _initialised(layer: _Reader) -> _Reader:
    if not isinstance(layer, nn.BatchNorm2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layer
