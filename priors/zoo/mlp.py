"""Multilayer perceptrons: the twin of the hyperspherical VAE's encoder."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from priors.errors import InputError
from priors.zoo.registry import Parts, Wanted, classifier


@classifier(
    presets=(
        # name, options, penultimate, parameters
        ("mlp", {}, 11, 822_203),
    ),
    stages=("body.hidden1", "body.hidden2"),
    paper="Seo, Lee and Kwak, On the distribution of penultimate activations, 2021, section 4.2",
)
def mlp(wanted: Wanted, *, hidden: Sequence[int] = (256, 128)) -> Parts:
    """Fully connected 784-256-128-m with ReLUs and a linear penultimate layer: the HVAE encoder's twin, no batch norm.

    The stages are the hidden layers before their ReLUs. The penultimate layer has no activation, so that its directions
    cover the whole sphere; by default it has 11 units, the sphere S^10.
    """
    if not hidden or min(hidden) < 1:
        raise InputError(f"hidden is {tuple(hidden)}: at least one positive width was expected")
    width = wanted.penultimate or 11
    layers: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    for number, (inputs, outputs) in enumerate(pairwise((prod(wanted.images), *hidden)), start=1):
        layers += [(f"hidden{number}", nn.Linear(inputs, outputs)), (f"relu{number}", nn.ReLU())]
    layers += [("penultimate", nn.Linear(hidden[-1], width))]
    stages = tuple(f"body.hidden{number}" for number in range(1, len(hidden) + 1))
    return Parts(nn.Sequential(OrderedDict(layers)), width, stages=stages)
