"""Which layers a scale is moved from, and where their features are measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from analysis.discarding.neighbours import NeighbouringLayers, neighbouring_layers
from apps.discarding.settings import AUTO
from apps.models.layers import inner, layer_site
from priors.errors import InputError, unknown
from priors.reading.dry_pass import undisturbed
from priors.reading.taps import tap
from priors.zoo import Classifier


@dataclass(frozen=True)
class Handed:
    """What a layer hands on, and the next one takes.

    Attributes:
        pair: the two layers.
        name: of the features, as on the command line.
        site: of the features, for `priors.reading.taps`.
        scaled: name of the layer, or of the normalisation that takes its scale, as on the command line.
        second: name of the next layer, likewise.
    """

    pair: NeighbouringLayers
    name: str
    site: str
    scaled: str
    second: str


def handed_on(
    network: Classifier, images: Float[Tensor, "batch channels height width"], asked: Sequence[str]
) -> tuple[list[Handed], dict[str, str]]:
    """The features to measure, and by layer why a scale cannot be moved from it.

    Args:
        network: whose layers they are.
        images: that it takes.
        asked: names of features or of layers; none: all that a scale can be moved from.

    Raises:
        InputError: no such features, or of a layer that a scale cannot be moved from; or none in all the network.
    """
    pairs = neighbouring_layers(network, images)
    begins = inner(network)
    if asked:
        found = [_asked(network, images, pairs, name) for name in asked]
        for at, one in enumerate(found):
            if twice := [other.name for other in found[:at] if other.pair is one.pair]:
                raise InputError(f"--taps {twice[0]} {one.name}: both are of {one.pair.first}; leave one out")
        return sorted(found, key=lambda one: pairs.index(one.pair)), {}
    refused = {pair.first.removeprefix(begins): pair.refused for pair in pairs if pair.refused is not None}
    legal = [pair for pair in pairs if pair.refused is None]
    if not legal:
        told = "; ".join(f"{name}: {why}" for name, why in list(refused.items())[:2])
        raise InputError(f"there is no layer whose scale can be moved to the next one: {told or 'it has no layers'}")
    return [_handed(pair, _usual(network, images, pair), begins) for pair in legal], refused


def _handed(pair: NeighbouringLayers, site: str, begins: str) -> Handed:
    name, scaled, second = (one.removeprefix(begins) for one in (site, pair.scaled, pair.second))
    return Handed(pair, name, site, scaled, second)


def _asked(network: Classifier, images: Tensor, pairs: Sequence[NeighbouringLayers], name: str) -> Handed:
    """The features of that name.

    Raises:
        InputError: there are none, or they carry no scale that can be moved.
    """
    site, begins = layer_site(network, name, (AUTO,)), inner(network)
    pair = next((one for one in pairs if site in one.sites), None) or next(
        (one for one in pairs if site in (one.first, one.norm)), None
    )
    if pair is None:
        known = [one.first.removeprefix(begins) for one in pairs if one.refused is None]
        hint = "features that carry the scale of one layer were expected"
        raise unknown("layer to move a scale from", name, known, hint)
    if pair.refused is not None:
        raise InputError(f"--taps {name}: the scale of {pair.first} cannot be moved to the next layer: {pair.refused}")
    if site in pair.sites:
        return replace(_handed(pair, site, begins), name=name)
    return _handed(pair, _usual(network, images, pair), begins)


def _usual(network: Classifier, images: Tensor, pair: NeighbouringLayers) -> str:
    """What the layer hands on after its activation, before pooling: the last features of the size of the first ones.

    Of several names for them it is the first: a module's, where one gives them and runs once.
    """
    there = [site for site in pair.sites if pair.shapes[site] == pair.shapes[pair.sites[0]] and "#" not in site]
    there = there or list(pair.sites)
    with undisturbed(network), tap(network, there) as taps:
        network(images)
    last = taps[there[-1]].data_ptr()  # what runs no operation, as dropout does here, hands on the same numbers
    return next(site for site in there if taps[site].data_ptr() == last)
