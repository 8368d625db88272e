"""Parts of a network that are not trained: their weights stay, and what they compute is as in evaluation."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from priors.checks.floats import own_dtype
from priors.errors import InputError, unknown
from priors.reading.dry_pass import evaluating, without_autocast
from priors.reading.taps import find_module, modules_by_name, tap
from priors.zoo.network import Classifier

BODY = "body"
"""Of a network: all before its final layer."""


@dataclass(frozen=True)
class Frozen:
    """What of a network is not trained.

    Attributes:
        trained: how many weights are left to train.
        weights: how many there are.
        modules: what stays in evaluation mode: batch norms keep their running statistics, dropout drops nothing.
    """

    trained: int
    weights: int
    modules: tuple[nn.Module, ...]


def freeze(
    network: Classifier, what: str, image_shape: Sequence[int], new: Collection[str] = (), called: str = "the network"
) -> Frozen:
    """Have a part of a network left as it is by a training: its parameters ask for no gradients.

    "body" is all before the final layer. A module's name means the network from its images to the end of that module:
    all parameters that its output is computed from, by the graph of one pass. It may be said without what the names of
    all stages begin with.

    Args:
        network: changed in place.
        what: "body", or the name of a stage or of another module.
        image_shape: (channels, height, width).
        new: names of weights and buffers that are trained in any case, since nothing has trained them.
        called: what messages call it.

    Raises:
        InputError: there is no such module (the nearest is offered), it takes no part in a pass, or nothing is left to
            train, or to leave out.
    """
    before, modules = _body(network) if what == BODY else _up_to(network, what, image_shape, called)
    names = {id(tensor): name for name, tensor in network.named_parameters()}
    frozen = [one for one in before if names[id(one)] not in new]
    if not frozen:
        raise InputError(f"--freeze {what}: {called} has no trained weights there; leave it out")
    for one in frozen:
        one.requires_grad_(False)
    counts = {one: one.numel() for one in network.parameters()}
    trained = sum(count for one, count in counts.items() if one.requires_grad)
    if not trained or not _can_be_trained(network, image_shape):
        raise InputError(
            f"--freeze {what}: nothing of {called} is left to train; name an earlier module, or {BODY}, which leaves "
            "the final layer"
        )
    paths = {module: path for path, module in network.named_modules()}
    still = tuple(module for module in modules if not _learns(module, paths[module], new))
    return Frozen(trained, sum(counts.values()), still)


def _learns(module: nn.Module, path: str, new: Collection[str]) -> bool:
    """Whether something in a module is trained: a parameter, or statistics that nothing has measured yet."""
    inside = f"{path}." if path else ""
    return any(one.requires_grad for one in module.parameters()) or any(name.startswith(inside) for name in new)


def _body(network: Classifier) -> tuple[list[nn.Parameter], list[nn.Module]]:
    """All that comes before the final layer."""
    head = set(network.head.parameters())
    of_head = set(network.head.modules())
    return [one for one in network.parameters() if one not in head], [
        one for one in network.modules() if one not in of_head
    ]


def _up_to(
    network: Classifier, what: str, image_shape: Sequence[int], called: str
) -> tuple[list[nn.Parameter], list[nn.Module]]:
    """What a module's output is computed from, and the modules that run until it is there and not afterwards."""
    name, module = _named(network, what)
    parameters = [one for one in network.parameters() if one.is_floating_point()]
    asking = [one for one in parameters if one.requires_grad]
    events: list[nn.Module | None] = []  # None: the module has ended
    with ExitStack() as stack:
        images = stack.enter_context(_trying(network, image_shape))
        for one in parameters:
            one.requires_grad_(True)
        try:
            for one in network.modules():
                hook = one.register_forward_pre_hook(lambda one, *_: events.append(one))
                stack.callback(hook.remove)
            with tap(network, [name], copy=True) as taps:
                hook = module.register_forward_hook(lambda *_: events.append(None))
                stack.callback(hook.remove)
                network(images)
            outputs = [one.sum() for one in taps.calls(name) if one.is_floating_point() and one.requires_grad]
            used = torch.autograd.grad(outputs, parameters, allow_unused=True) if outputs else [None] * len(parameters)
        finally:
            for one in parameters:
                one.requires_grad_(False)
            for one in asking:
                one.requires_grad_(True)
    if None not in events:
        raise InputError(f"--freeze {what}: {name} takes no part in a pass of {called}; name another module")
    last = len(events) - events[::-1].index(None)
    before, after = set(events[:last]), set(events[last:])
    found = [one for one, gradient in zip(parameters, used, strict=True) if gradient is not None]
    return found, [one for one in network.modules() if one in before - after]


@contextmanager
def _trying(network: Classifier, image_shape: Sequence[int]) -> Iterator[Tensor]:
    """Black images for a pass that is derived, in evaluation mode, and leaves no trace."""
    like = next(one for one in network.parameters() if one.is_floating_point())
    with (
        evaluating(network),
        torch.random.fork_rng(devices=[]),
        without_autocast(like.device),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        yield torch.zeros(2, *image_shape, device=like.device, dtype=own_dtype(network) or like.dtype)


def _can_be_trained(network: Classifier, image_shape: Sequence[int]) -> bool:
    """Whether logits hang on weights that ask for gradients; there may be others, of layers that take no part."""
    with _trying(network, image_shape) as images:
        return network(images).requires_grad


def _named(network: Classifier, what: str) -> tuple[str, nn.Module]:
    """The module that is meant: by its name, or by what stands behind the first part of the names of all stages."""
    known = modules_by_name(network)
    outer = {stage.partition(".")[0] for stage in network.stages} or {network.head_name.partition(".")[0]}
    for name in (what, *(f"{part}.{what}" for part in sorted(outer))):
        if name in known and name:
            return find_module(network, name)
    stages = [stage.partition(":")[0].partition("#")[0] for stage in network.stages]
    shallow = sorted(known, key=lambda name: name.count("."))
    short = [name.partition(".")[2] for name in shallow]
    raise unknown("module to freeze", what, dict.fromkeys(filter(None, (BODY, *stages, *shallow, *short))))
