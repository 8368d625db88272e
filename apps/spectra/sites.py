"""Which of a network's layers have maps, how large those are, and how deep they lie."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analysis.spectra.frequencies import SMALLEST
from apps.models.layers import inner, layer_site
from apps.spectra.settings import CONVOLUTIONS, STAGES
from priors.errors import InputError
from priors.reading.dry_pass import undisturbed
from priors.reading.taps import Taps, tap
from priors.zoo import Classifier


@dataclass(frozen=True)
class MapSite:
    """A layer with maps.

    Attributes:
        name: as it is printed.
        tap: in the network.
        channels: of its maps.
        shape: (height, width) of its maps, in pixels.
        depth: the most convolutions that there are on a way from the image to it; 0 where it has none before it.
        last: whether the channels are the last of four axes, as transformers with windows have them.
    """

    name: str
    tap: str
    channels: int
    shape: tuple[int, int]
    depth: int
    last: bool = False

    def maps(self, taps: Taps) -> Float[Tensor, "batch channels height width"]:
        """Its maps in the last pass."""
        found = taps[self.tap]
        return found.movedim(-1, 1) if self.last else found


def map_sites(
    network: Classifier, wanted: Sequence[str], image_shape: tuple[int, int, int]
) -> tuple[list[MapSite], list[str]]:
    """The layers of those names, in the order in which the network computes them, by one pass of two images of noise.

    Args:
        network: a classifier.
        wanted: names of layers (see `apps.models.layers`), "stages" or "convolutions".
        image_shape: of what the network is given.

    Returns:
        The layers; and those of "stages" and "convolutions" that have no spectrum, each with the reason.

    Raises:
        InputError: no such layer, or one of that name without maps, or with maps too small for a spectrum.
    """
    named = [name for name in wanted if name not in (STAGES, CONVOLUTIONS)]
    own = {layer_site(network, name, (STAGES, CONVOLUTIONS)): name for name in named}
    places = list(own)
    if STAGES in wanted:
        if not network.stages:
            raise InputError("the network does not say what its stages are: give --taps names of modules")
        places += network.stages
    if CONVOLUTIONS in wanted:
        places += [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    places = list(dict.fromkeys(places))
    found, without = [], []
    for place, maps in _maps_of(network, places, image_shape):
        asked, _, call = place.partition("#")
        name = own.get(place) or (f"{own[asked]}#{call}" if asked in own else place.removeprefix(inner(network)))
        if fault := _fault(maps):
            if place in own or asked in own:
                raise InputError(f"--taps {name}: {fault}")
            without.append(f"{name}: {fault}")
            continue
        last = _channels_last(maps, image_shape)
        shape = tuple(maps.shape[1:3] if last else maps.shape[2:])
        channels = maps.shape[-1 if last else 1]
        found.append((_order(maps), MapSite(name, place, channels, shape, _depth(maps), last)))
    if not found:
        reasons = "; ".join(without) or "the network has no two-dimensional convolutions"
        raise InputError(f"no layer of --taps {' '.join(wanted)} has a spectrum: {reasons}")
    return [site for _, site in sorted(found, key=lambda one: one[0])], without


def _maps_of(
    network: Classifier, places: Sequence[str], image_shape: tuple[int, int, int]
) -> list[tuple[str, Tensor | None]]:
    """What each place gives for two images, with the graph behind it; of a module that runs several times, each.

    None of one that takes no part in the pass.
    """
    with undisturbed(network), torch.enable_grad(), tap(network, places, copy=True) as taps:
        network(torch.rand(2, *image_shape, device=network.mean.device, requires_grad=True))
    found = []
    for place in places:
        calls = taps.calls(place)
        if "#" in place:
            found.append((place, taps[place]))
        elif len(calls) > 1:
            found += [(f"{place}#{number}", one) for number, one in enumerate(calls, 1)]
        else:
            found += [(place, one) for one in calls] or [(place, None)]
    return found


def _fault(maps: Tensor | None) -> str:
    """Why a layer's output has no spectrum; nothing where it has one."""
    if maps is None:
        return "it takes no part in the network's pass"
    shape = "x".join(map(str, maps.shape[1:]))
    if maps.ndim == 2:
        return f"its output is a vector of {shape} an image, which has no spectrum; give a layer with maps"
    if maps.ndim != 4 or not maps.is_floating_point():
        return f"its output is {shape} an image: channels x height x width was expected"
    if min(maps.shape[2:]) < SMALLEST and min(maps.shape[1:3]) < SMALLEST:
        return f"its maps of {shape} are too small: {SMALLEST}x{SMALLEST} pixels or more were expected"
    if min(maps.shape[2:]) < SMALLEST:
        return f"its maps are {shape} (channels x height x width): {SMALLEST} pixels or more a side were expected"
    return ""


def _channels_last(maps: Tensor, image_shape: tuple[int, int, int]) -> bool:
    """Whether maps of square images are square by their first two axes alone."""
    _, first, second, third = maps.shape
    return image_shape[1] == image_shape[2] and first == second != third


def _order(maps: Tensor) -> int:
    """When it was computed."""
    return -1 if maps.grad_fn is None else maps.grad_fn._sequence_nr()


def _depth(maps: Tensor) -> int:
    """The most convolutions on a way from the image, along the graph; without recursion, which deep networks exceed."""
    depths: dict = {}
    waiting = [maps.grad_fn] if maps.grad_fn is not None else []
    while waiting:
        node = waiting[-1]
        before = [one for one, _ in node.next_functions if one is not None]
        missing = [one for one in before if one not in depths]
        if missing:
            waiting += missing
            continue
        waiting.pop()
        depths[node] = max((depths[one] for one in before), default=0) + ("onvolution" in node.name())
    return depths.get(maps.grad_fn, 0)
