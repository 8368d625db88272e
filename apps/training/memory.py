"""About what a training takes of memory, found before any of it is taken."""

import copy
import weakref
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from apps.command.config import Optimisation
from apps.training.free_memory import available_bytes
from apps.training.task import Task
from priors.errors import InputError
from priors.files.building import Allocations

_LARGE = 2**28
"""Bytes from which a tensor is compared with what is free."""

_MOMENTS = {"adam": 2, "adamw": 2, "sgd": 1, "momentum": 1}
"""What an optimiser keeps of each weight."""
_MARGIN, _FIXED = 1.1, 2**27
"""What is taken on top, as a factor and in bytes: blocked copies of what convolutions read, gaps of the allocator, and
libraries that are loaded by then. What five trainings took at their peak, classifiers and HVAEs of 0.2 to 2 GB, was
0.25 to 0.99 of the estimate beside those bytes."""


class _Live(TorchDispatchMode):
    """Follows the bytes that live on the meta device while it is open, but for what was there before.

    Attributes:
        peak: the most at a time.
        largest: those of the largest tensor.
    """

    def __init__(self):
        super().__init__()
        self.now = self.peak = self.largest = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None):
        before = {id(one.untyped_storage()) for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        made = function(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, Tensor) and one.device.type == "meta":
                storage = one.untyped_storage()
                if id(storage) not in before and id(storage) not in self._known:
                    self._follow(storage)
        return made

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        self._known.add(key)
        self.now += size
        self.peak, self.largest = max(self.peak, self.now), max(self.largest, size)

        def gone() -> None:
            self._known.discard(key)
            self.now -= size

        weakref.finalize(storage, gone).atexit = False


def pass_bytes(network: nn.Module, given: Sequence[Tensor | None], images: int, gradients: bool) -> tuple[int, int]:
    """The most bytes that a pass over a batch holds at a time, beside the weights, and those of the largest tensor.

    Nothing is computed: sizes are followed on the meta device.

    Args:
        network: on the meta device.
        given: what it is called with for one image, on the meta device.
        images: in the batch.
        gradients: whether the forward pass keeps what the backward one needs. That one holds two gradients of the
            largest tensor beside it.
    """
    rows = [None if one is None else one.new_empty(images, *one.shape[1:]) for one in given]
    live = _Live()
    # What has no way to be computed there ends the pass: at the end of an SNGAN's discriminator, say. A module of the
    # user's own says so by an error of penult's.
    with torch.set_grad_enabled(gradients), suppress(RuntimeError, InputError), live:
        network(*rows)
    return live.peak + (2 * live.largest if gradients else 0), live.largest


@dataclass(frozen=True)
class Needed:
    """What a training takes beside its networks as they are built.

    Attributes:
        device: bytes on the device it is trained on.
        host: bytes of the machine's memory; on a CPU all are.
    """

    device: int
    host: int


def needed_for(
    task: Task, image_shape: tuple[int, int, int], batch: int, config: Optimisation, device: torch.device
) -> Needed:
    """About what a training takes at its most, of networks that are built already, on the CPU.

    A step holds the weights' gradients, the optimiser's moments, the average of the weights, the best weights so far,
    and what a pass over a batch holds. A validation holds all but the gradients, and a batch of its own, which may be
    larger. Where it is the best one, and at the end, there is one more copy of the weights; a state is written from
    where it lies, but for what lies on a GPU or with its channels last.

    Args:
        task: that is trained.
        image_shape: (channels, height, width).
        batch: images that are held at a time.
        config: the optimiser, its precision, whether an average is kept.
        device: of this process.
    """
    weights = {name: _weights(network) for name, network in task.networks.items()}
    own, learning = sum(weights.values()), sum(_weights(network, True) for network in task.networks.values())
    averaged = weights if task.averaged is None else task.averaged
    average = sum(weights[name] for name in averaged) if config.ema is not None else 0
    moments, best = learning * _MOMENTS[config.optimizer], own if task.criterion is not None else 0
    step, validation = _passes(task, image_shape, batch, 0.5 if config.precision == "bf16" else 1.0)
    copied = max(moments, own) if device.type == "cuda" or task.channels_last else 0
    aside = best + max(copied, own + (own if copied else 0))  # of a state; of what is kept at the end
    if device.type != "cuda":
        held = moments + average
        most = max(held + best + max(learning + step, validation), held + aside)
        return Needed(most, most)
    frozen = sum(_weights(network) for network in task.frozen.values())
    return Needed(own + frozen + moments + average + max(learning + step, validation), aside)


def training_bytes(
    network: nn.Module, image_shape: tuple[int, int, int], batch: int, optimizer: str, precision: str = "fp32"
) -> int:
    """About the bytes of a network, its gradients, the optimiser's state, and a step's pass over a batch.

    What asks for no gradients has neither those nor a state.

    Args:
        network: on the meta device, where nothing takes memory.
        image_shape: (channels, height, width).
        batch: images that are held at a time.
        optimizer: as `apps.command.config.Optimisation` has it.
        precision: likewise; what a pass holds takes half in bf16, weights and what belongs to them as much as ever.
    """
    image = torch.empty(1, *image_shape, device="meta")
    held, _ = pass_bytes(network.eval(), (image,), batch, gradients=True)
    learning = _weights(network, True) * (1 + _MOMENTS[optimizer])
    return _weights(network) + learning + int(held * (0.5 if precision == "bf16" else 1.0))


def _weights(network: nn.Module, learning: bool = False) -> int:
    """Bytes of the parameters, or of those alone that are trained."""
    chosen = (one for one in network.parameters() if one.requires_grad or not learning)
    return sum(one.numel() * one.element_size() for one in chosen)


def _passes(task: Task, image_shape: tuple[int, int, int], batch: int, scale: float) -> tuple[int, int]:
    """Bytes that a step's pass over a batch holds, and a validation's."""
    step = validation = 0
    for name, given in task.example(image_shape).items():
        bare = on_meta(task.networks[name]).eval()
        held, largest = pass_bytes(bare, given, batch, gradients=True)
        step = max(step, held)  # one of them is trained at a time
        # Few passes hold more than five tensors as large as the largest at a time: where that is little, it is enough.
        if name == "model" and 5 * largest / batch * task.validated > max(held, _LARGE):
            validation = pass_bytes(bare, given, task.validated, gradients=False)[0]
    return int(step * scale), validation


def on_meta(network: nn.Module) -> nn.Module:
    """A copy of a network without its numbers, which are not copied on the way either."""
    bare: dict[int, Tensor] = {}
    for parameter in network.parameters():
        bare[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in network.buffers():
        bare[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(network, bare)


def check_training(
    task: Task,
    image_shape: tuple[int, int, int],
    batch: int,
    config: Optimisation,
    device: torch.device,
    processes: int = 1,
) -> None:
    """Refuse a training of networks that are built already where it cannot fit, as `needed_for` estimates it.

    Args:
        task: as for `needed_for`.
        image_shape: likewise.
        batch: likewise.
        config: likewise.
        device: likewise.
        processes: as for `check_memory`.

    Raises:
        InputError: more is needed than there is.
    """
    weights = sum(parameter.numel() for network in task.networks.values() for parameter in network.parameters())
    validating = f" and {task.validated:,} in a validation" if task.validated else ""
    what = f"the training of {weights:,} weights with {batch:,} images at a time{validating}"
    needed = needed_for(task, image_shape, batch, config, device)
    check_memory(what, needed.device, device, processes)
    if device.type == "cuda":
        check_memory(f"what is kept and written of {what}", needed.host, _CPU, processes)


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


def check_memory(what: str, needed: int, device: torch.device, processes: int = 1) -> None:
    """Refuse a training that cannot fit, with a margin.

    Args:
        what: for the message.
        needed: bytes, of each process.
        device: of this one.
        processes: that share a machine's memory; a GPU is taken to be one's own.

    Raises:
        InputError: more is needed than there is.
    """
    there = available_bytes(device) // (1 if device.type == "cuda" else processes)
    needed = int(_MARGIN * needed) + _FIXED
    if needed > there:
        raise InputError(
            f"{what} needs about {needed / 2**30:,.1f} GiB more and {there / 2**30:,.1f} GiB are free on "
            f"{device.type}: take a smaller one, a smaller --batch-size, fewer images of --validation, or --accumulate "
            "N to take a batch in parts"
        )
