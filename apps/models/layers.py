"""A layer of a network as people name it, and the place in the network that it means."""

from collections.abc import Sequence

from priors.errors import InputError, unknown
from priors.reading.taps import find_module
from priors.zoo.network import ImageNetwork

_INSIDE = ("", "body.", "network.", "encoder.")
"""What may be left out of a layer's name: where the zoo's networks, wrapped ones and auto-encoders keep theirs."""
_WHOLE = {one.removesuffix(".") for one in _INSIDE}
_PAPERS = ("conv1", "conv2", "fc3", "logits")
"""Layers of the classifiers that Nash, Kushman and Williams (2019) invert."""


def layer_site(network: ImageNetwork, layer: str, others: Sequence[str] = ()) -> str:
    """The tap that a layer's name means.

    Args:
        network: whose layer it is.
        layer: a module's name, of which `body.`, `network.` or `encoder.` may be left out; or a name of the network's
            `ends`, such as "logits" or "penultimate".
        others: what else could be given, for the message.

    Raises:
        InputError: there is no such layer; the nearest is offered.
    """
    own = network.ends
    if layer in own:
        return own[layer]
    name = layer.partition("#")[0].partition(":")[0]
    for prefix in _INSIDE:
        try:
            find_module(network, prefix + name)
        except InputError:
            continue
        if name:
            return prefix + layer
    inside = inner(network)
    names = [module for module, _ in network.named_modules() if module not in _WHOLE]
    known = dict.fromkeys((*others, *reversed(own), *(name.removeprefix(inside) for name in names)))
    hint = f"with {inside} before it a module's name is of the same layer" if inside else ""
    raise unknown("layer", layer, known, hint)


def inner(network: ImageNetwork) -> str:
    """What the names of nearly all of a network's modules begin with: "body.", "network.", "encoder." or nothing."""
    names = [module for module, _ in network.named_modules() if module not in _WHOLE]
    return next((one for one in _INSIDE[1:] if any(name.startswith(one) for name in names)), "")


def usual_layers(network: ImageNetwork) -> list[str]:
    """Layers to look at where none are named: the four of a LeNet, or else stages and what is behind them."""
    own = {name for name, _ in network.named_modules()}
    papers = {f"body.{layer}" for layer in _PAPERS[:3]} <= own
    return list(_PAPERS) if papers else [*network.stages, *network.ends]
