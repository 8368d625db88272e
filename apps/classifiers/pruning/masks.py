"""Which weights of a network are left, by torch's own pruning, and how the others are held at 0 in training.

torch's reparametrisation (`weight_orig` times `weight_mask`) is taken back at once: averages of a network are copies of
it, which that cannot be, and a run's weights have the names of any other's. What is pruned stays 0 to the bit without
it: a weight of 0 whose gradient is 0 has no momentum, and decay, averages and Adam's steps leave it where it is.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import prune

from priors.errors import InputError
from priors.reading.taps import unwrapped


@dataclass(frozen=True)
class Masks:
    """Which weights are left.

    Attributes:
        kept: by layer, True where a weight is left; of the weight's shape, on the CPU.
        parameters: of the whole network, with those that are never pruned.
    """

    kept: Mapping[str, Bool[Tensor, "..."]]
    parameters: int

    @property
    def left(self) -> int:
        """How many of the network's parameters are left."""
        return self.parameters - sum(int((~mask).sum()) for mask in self.kept.values())

    @property
    def left_by_layer(self) -> dict[str, float]:
        """By layer, which part of its weights is left."""
        return {name: float(mask.sum()) / mask.numel() for name, mask in self.kept.items()}


def prunable(network: nn.Module) -> dict[str, nn.Module]:
    """The convolutions and linear layers of a network, by name: those with a weight of their own.

    A weight that several modules share is the first one's.

    Raises:
        InputError: there is none.
    """
    found: dict[str, nn.Module] = {}
    seen: set[int] = set()
    for name, module in unwrapped(network).named_modules():
        weight = module._parameters.get("weight") if isinstance(module, _ConvNd | nn.Linear) else None
        if weight is not None and id(weight) not in seen:
            seen.add(id(weight))
            found[name] = module
    if not found:
        raise InputError("the network has no convolution or linear layer with a weight of its own: nothing to prune")
    return found


def kept_share(network: nn.Module, share: float, by_layer: bool = False) -> Masks:
    """The largest weights, so that a share of all parameters is left.

    Args:
        network: is left as it is.
        share: of all its parameters, in (0, 1]; biases and norms are among them, and stay.
        by_layer: whether each layer keeps the same part of its weights, to a weight; else the largest of all layers
            are kept.

    Raises:
        InputError: what is never pruned is more than that.
    """
    parameters = _count(network)
    weights = sum(layer.weight.numel() for layer in prunable(network).values())
    lost = parameters - round(share * parameters)
    if lost > weights:
        stay = (parameters - weights) / parameters
        raise InputError(
            f"--keep {share:g}: {stay:.3%} of the parameters are biases and parameters of norms, which stay; give more "
            "than that"
        )

    def among_all(layers: Mapping[str, nn.Module]) -> None:
        places = [(layer, "weight") for layer in layers.values()]
        prune.global_unstructured(places, pruning_method=prune.L1Unstructured, amount=lost)

    def of_each(layers: Mapping[str, nn.Module]) -> None:
        seen = gone = 0
        for layer in layers.values():  # rounded so that all layers together lose what they are to lose
            seen += layer.weight.numel()
            own = round(lost * seen / weights) - gone
            gone += own
            prune.l1_unstructured(layer, "weight", amount=own)

    return _masks(network, of_each if by_layer else among_all, parameters)


def kept_by_threshold(network: nn.Module, quality: float) -> Masks:
    """Weights no smaller than a number times the standard deviation of their layer's weights.

    Han, Pool, Tran and Dally (2015), "Learning both weights and connections for efficient neural networks", section
    4; so are the networks of Han et al. (2016), "Deep compression", pruned. Weights that are 0 already are not counted
    into the deviation: a network that was pruned is pruned on by what it has left.

    Args:
        network: is left as it is.
        quality: that number.
    """

    def apart(layers: Mapping[str, nn.Module]) -> None:
        for layer in layers.values():
            weight = layer.weight.detach()
            there = weight != 0
            threshold = quality * weight[there].double().std(correction=0)  # 0 where one is left: none comes back
            prune.custom_from_mask(layer, "weight", there & (weight.abs().double() >= threshold))

    return _masks(network, apart, _count(network))


def _masks(network: nn.Module, pruned: Callable[[Mapping[str, nn.Module]], None], parameters: int) -> Masks:
    """What torch's pruning makes of copies of the layers."""
    layers = {name: copy.deepcopy(layer).cpu() for name, layer in prunable(network).items()}
    pruned(layers)
    return Masks({name: layer.weight_mask.bool() for name, layer in layers.items()}, parameters)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def zero(network: nn.Module, masks: Masks) -> None:
    """Set to 0 what is not left."""
    layers = prunable(network)
    for name, mask in masks.kept.items():
        weight = layers[name].weight
        weight.masked_fill_(~mask.to(weight.device), 0)


@contextmanager
def held(network: nn.Module, masks: Masks) -> Iterator[None]:
    """Let what is pruned have no gradient, and thus stay 0, in trainings within this context.

    Gradients are cut as they come up: a largest norm of gradients, and what processes exchange, is of what is left.
    """
    layers = prunable(network)
    handles = [layers[name].weight.register_hook(_Cut(~mask)) for name, mask in masks.kept.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Cut:
    """Takes a gradient to 0 in some places."""

    def __init__(self, gone: Tensor):
        self._gone = gone

    def __call__(self, gradient: Tensor) -> Tensor:
        if self._gone.device != gradient.device:
            self._gone = self._gone.to(gradient.device)
        return gradient.masked_fill(self._gone, 0)
