"""The layer whose maps Grad-CAM weighs."""

import torch
from torch import Tensor, nn

from priors.errors import InputError
from priors.reading.taps import find_module


def last_maps(network: nn.Module, images: Tensor, layer: str | None = None) -> str:
    """The name of the last module to give maps of more than one pixel; or of a given one, if it does.

    Args:
        network: what the images are run through.
        images: one or more.
        layer: given by name; its input, where it ends in ":input".

    Raises:
        InputError: no such module, none with maps, or the given one has none.
    """
    before = layer is not None and layer.endswith(":input")
    given = None if layer is None else find_module(network, layer.removesuffix(":input"))
    found: list[str] = []
    names = [given] if given else [(name, module) for name, module in network.named_modules() if name]

    def after(name: str):
        def note(module: nn.Module, args: tuple, output: object) -> None:
            maps = next(iter(args), None) if before else output
            if isinstance(maps, Tensor) and maps.ndim == 4 and min(maps.shape[-2:]) > 1:
                found.append(f"{name}:input" if before else name)

        return note

    hooks = [module.register_forward_hook(after(name)) for name, module in names]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    if found:
        return found[-1]
    if layer is None:
        raise InputError("grad-cam: no layer of the network gives maps of several pixels; leave it out")
    raise InputError(f"grad-cam: the layer {layer!r} gives no maps (batch, channels, height, width): name another")
