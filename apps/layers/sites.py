"""Which layers of a network are looked at."""

from collections.abc import Sequence

import torch

from apps.discarding.layer import LayerFeatures
from apps.layers.lens import Layer, Subject
from apps.models.layers import inner, usual_layers
from apps.models.representation import Representation, in_order, representation
from priors.errors import InputError
from priors.reading.dry_pass import undisturbed
from priors.reading.taps import tap
from priors.zoo import Classifier


def layers_of(network: Classifier, wanted: Sequence[str], image_shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """The layers of those names in the order in which the network computes them, by dry passes.

    Args:
        network: a classifier.
        wanted: names of layers (see `apps.models.layers`); none: the usual ones.
        image_shape: of what the network is given.

    Raises:
        InputError: no such layer, one that two of the names mean, or one that gives no tensor with a row an image.
    """
    names = wanted or [name.removeprefix(inner(network)) for name in usual_layers(network)]
    found = {name: representation(network, name, image_shape) for name in names}
    sites: dict[str, str] = {}
    for name, one in found.items():
        if one.site in sites and wanted:
            raise InputError(f"--taps {sites[one.site]} {name}: these are one layer, {one.site}; leave one out")
        sites.setdefault(one.site, name)
    found = {name: one for name, one in found.items() if sites[one.site] == name}
    final = {name: one.site for name, one in found.items()}
    with undisturbed(network), tap(network, [*final.values(), network.penultimate_tap], copy=True) as taps:
        network(torch.rand(2, *image_shape, device=network.mean.device))
    given = taps[network.penultimate_tap]
    return tuple(
        Layer(
            name=name,
            tap=final[name],
            shape=found[name].shape,
            penultimate=torch.equal(taps[final[name]].flatten(1), given),
            last=final[name] == network.head_name,
        )
        for name in in_order(found, image_shape)
    )


def features_of(subject: Subject, layer: Layer) -> LayerFeatures:
    """A layer as a function from images, which computes no more of the network than that."""
    return LayerFeatures(Representation(subject.network, layer.name, layer.tap, layer.shape))
