"""The networks that are measured, each with its layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from apps.command.config import Unsaid
from apps.discarding.settings import DiscardSettings
from apps.figures import short_names
from apps.models import named
from apps.models.layers import inner, usual_layers
from apps.models.other_networks import check_apart
from apps.models.representation import Representation, in_order, representation
from apps.models.represented import check_weights
from apps.training.train import slug
from priors.errors import InputError
from priors.zoo.network import ImageNetwork


@dataclass(frozen=True)
class Looked:
    """A network that is looked into.

    Attributes:
        model: as on the command line.
        name: for tables and figures, no two alike.
        foreign: what a model of one's own does not say itself.
        network: in evaluation mode.
        layers: by name, in the order in which it computes them.
        runs: what its decoders' runs are called, before the layer's name.
    """

    model: str
    name: str
    foreign: Unsaid
    network: ImageNetwork
    layers: dict[str, Representation]
    runs: str


def networks(config: DiscardSettings, first: ImageNetwork, image_shape: tuple[int, int, int]) -> list[Looked]:
    """The network that was asked for, and those beside it.

    Args:
        config: what was asked for.
        first: the network, read already.
        image_shape: of the images that all are shown.

    Raises:
        InputError: no such model or layer, or one that takes other images.
    """
    models = [config.model, *config.against]
    if twice := [model for number, model in enumerate(models) if model in models[:number]]:
        raise InputError(f"--against {twice[0]} is there already: leave it out")
    given = {model: config.foreign if model == config.model else Unsaid() for model in models}
    read: dict[str, ImageNetwork] = {config.model: first}
    for model in config.against:
        read[model] = network = named.layered(model, given[model])
        if network.image_shape not in (None, image_shape):
            theirs, ours = ("x".join(map(str, shape)) for shape in (network.image_shape, image_shape))
            raise InputError(f"--against {model} takes images of {theirs}, and these are {ours}")
    check_apart(read)
    found = []
    for model, name, runs in zip(models, short_names(models), _runs(config, models), strict=True):
        check_weights(model, given[model], read[model])
        layers = _layers(read[model], config.asked_layers, image_shape)
        found.append(Looked(model, name, given[model], read[model], layers, runs))
    return found


def _runs(config: DiscardSettings, models: Sequence[str]) -> list[str]:
    """What the runs of each network's decoders are called, before the layer's name: no two alike.

    Raises:
        InputError: two networks whose folders are called alike but for signs that no folder's name has.
    """
    beside = "" if config.name is None else f"{config.name}-"
    # As much of a path as tells it from the others, whole: names in figures are cut.
    _, *others = short_names(models, most=max(map(len, models)))
    found = [config.name or f"{Path(models[0]).name}-discarded", *(f"{beside}{name}-discarded" for name in others)]
    found = [slug(name) for name in found]
    for number, name in enumerate(found):
        if name in found[:number]:
            raise InputError(
                f"{models[found.index(name)]} and --against {models[number]} are both kept as {name}: give --name, or "
                "call one of their folders otherwise"
            )
    return found


def _layers(
    network: ImageNetwork, asked: Sequence[str], image_shape: tuple[int, int, int]
) -> dict[str, Representation]:
    """By name, in the order in which the network computes them."""
    names = asked or [name.removeprefix(inner(network)) for name in usual_layers(network)]
    found: dict[str, Representation] = {}
    sites: dict[str, str] = {}
    for name in names:
        one = representation(network, name, image_shape)
        if one.site in sites:
            if asked:
                raise InputError(f"--taps {sites[one.site]} {name}: these are one layer, {one.site}; leave one out")
            continue
        sites[one.site], found[name] = name, one
    return {name: found[name] for name in in_order(found, image_shape)}
