"""About what a training takes of memory, found before any of it is taken."""

import copy
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

from apps.command.config import Optimisation
from priors.errors import InputError
from priors.files.building import Allocations

_LARGE = 2**28
"""Bytes from which a tensor is compared with what is free."""

_COPIES = {"adam": 4, "adamw": 4, "sgd": 3, "momentum": 3}
"""Of each weight: itself, its gradient, and what the optimiser keeps."""

_KEPT = (nn.modules.conv._ConvNd, nn.Linear, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU)


@torch.no_grad()
def training_bytes(
    network: nn.Module, image_shape: tuple[int, int, int], batch: int, optimizer: str, precision: str = "fp32"
) -> int:
    """About the bytes of weights, gradients, the optimiser's state, and what is kept for the backward pass.

    Kept are what convolutions and linear layers compute, and what activations do. A normalisation before an activation
    keeps nothing of its own, sums are left out, and so is what operations take for a moment: rather less than it takes.

    Args:
        network: on the meta device, where nothing takes memory.
        image_shape: (channels, height, width).
        batch: images that are held at a time.
        optimizer: as `apps.command.config.Optimisation` has it.
        precision: likewise; what is kept takes half in bf16, weights and what belongs to them as much as ever.
    """
    kept = _kept(network.eval(), torch.zeros(1, *image_shape, device="meta"))
    weights = sum(parameter.numel() for parameter in network.parameters())
    return 4 * weights * _COPIES[optimizer] + (2 if precision == "bf16" else 4) * kept * batch


@torch.no_grad()
def _kept(network: nn.Module, *given: Tensor | None) -> int:
    """Numbers that a forward pass keeps for the backward one."""
    kept = 0

    def count(module: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal kept
        kept += output.numel()

    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, _KEPT)]
    try:
        with suppress(RuntimeError):  # what has no way to be computed there, at the end of an SNGAN's discriminator
            network(*given)
    finally:
        for hook in hooks:
            hook.remove()
    return kept


def check_training(
    networks: Mapping[str, nn.Module],
    forward: Mapping[str, tuple[Tensor | None, ...]],
    batch: int,
    config: Optimisation,
    device: torch.device,
    processes: int = 1,
) -> None:
    """Refuse a training of networks that are built already where it cannot fit, as `training_bytes` estimates it.

    Args:
        networks: that are trained, by name.
        forward: what a network is called with for one image, on the meta device, where that is known.
        batch: images that are held at a time.
        config: the optimiser and its precision.
        device: of this process.
        processes: as for `check_memory`.

    Raises:
        InputError: more is needed than there is.
    """
    weights = sum(parameter.numel() for network in networks.values() for parameter in network.parameters())
    kept = 0
    for name, given in forward.items():
        bare = copy.deepcopy(networks[name]).to("meta").eval()
        kept = max(kept, _kept(bare, *given))  # one of them is trained at a time
    needed = 4 * weights * _COPIES[config.optimizer] + (2 if config.precision == "bf16" else 4) * kept * batch
    check_memory(f"the training of {weights:,} weights with {batch:,} images at a time", needed, device, processes)


def _compare(size: tuple[int, ...]) -> None:
    """Compare what is to be allocated with what is free."""
    wanted = 4 * prod(size)
    if wanted >= _LARGE and wanted > (there := available_bytes(_CPU)):
        shape = " x ".join(f"{side:,}" for side in size)
        raise InputError(
            f"a tensor of {shape} numbers needs {wanted / 2**30:,.1f} GiB and {there / 2**30:,.1f} GiB are "
            "free: give smaller widths, dimensions or counts"
        )


_CPU = torch.device("cpu")


@contextmanager
def within_memory():
    """While networks are built, refuse a tensor that cannot fit before it is allocated; also a decorator.

    Raises:
        InputError: one is larger than what is free.
    """
    with Allocations(_compare):
        yield


def available_bytes(device: torch.device) -> int:
    """Memory that could be had on a device now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = psutil.virtual_memory().available
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        try:  # a container's own limit; what it has taken of that is not known, since caches count as taken
            found = min(found, int((Path("/sys/fs/cgroup") / limit).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return found


def check_memory(what: str, needed: int, device: torch.device, processes: int = 1) -> None:
    """Refuse a training that cannot fit.

    Args:
        what: for the message.
        needed: bytes, of each process.
        device: of this one.
        processes: that share a machine's memory; a GPU is taken to be one's own.

    Raises:
        InputError: more is needed than there is.
    """
    there = available_bytes(device) // (1 if device.type == "cuda" else processes)
    if needed > there:
        raise InputError(
            f"{what} needs about {needed / 2**30:,.1f} GiB and {there / 2**30:,.1f} GiB are free on "
            f"{device.type}: take a smaller one, a smaller --batch-size, or --accumulate N to take a batch in parts"
        )
