"""Passes of a network for what can be learnt from it, which leave it and torch's random state as they were."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parameter import is_lazy


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, without gradients or autocast, and with random numbers of its own, while the context is open.

    Each module's mode comes back as it was: parts of a network may be in another one than the rest.
    """
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    random = torch.random.fork_rng([device] if device.type == "cuda" else [])
    kind = "cpu" if device.type == "meta" else device.type
    # In inference mode, were the caller in it, taps would give copies.
    with evaluating(network), random, torch.inference_mode(False), torch.no_grad(), torch.autocast(kind, enabled=False):
        yield


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, and nothing else, while the context is open; each module's own comes back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def without_autocast(device: torch.device) -> Iterator[None]:
    """The precision that tensors have, while the context is open; also on a device that has no autocast."""
    if not torch.amp.is_autocast_available(device.type):
        yield
        return
    with torch.autocast(device.type, enabled=False):
        yield


@contextmanager
def constant_parameters(network: nn.Module) -> Iterator[None]:
    """Parameters that ask for no gradients while the context is open: what does is what depends on the images."""
    asking = [one for one in network.parameters() if one.requires_grad]
    try:
        for one in asking:
            one.requires_grad_(False)
        yield
    finally:
        for one in asking:
            one.requires_grad_(True)


def settle(network: nn.Module, image_shape: Sequence[int]) -> None:
    """Let layers that have no shape yet (`torch.nn.LazyLinear`) take it from images; draws as their making does.

    Args:
        network: changed in place, where it has such layers; any other is not run.
        image_shape: (channels, height, width).
    """
    if any(is_lazy(parameter) for parameter in network.parameters()):
        with evaluating(network), torch.no_grad():
            network(torch.zeros(2, *image_shape))
