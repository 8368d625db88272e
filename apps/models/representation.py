"""A layer of a network as what images are inverted from."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from apps.models.layers import layer_site
from priors.errors import InputError
from priors.reading.taps import Taps, find_module, tap
from priors.zoo.network import ImageNetwork


@dataclass(frozen=True)
class Representation:
    """What a network makes of an image at one layer, in evaluation mode.

    Attributes:
        network: whose layer it is.
        layer: what the layer was called.
        site: its tap in the network.
        shape: of one image's context, (K,) or (K, h, w).
        open: the tap that `tapped` keeps open.
    """

    network: ImageNetwork
    layer: str
    site: str
    shape: tuple[int, ...]
    open: list[Taps] = field(default_factory=list, compare=False, repr=False)

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch *shape"]:
        """The context of each image in [0, 1]; in single precision also under autocast."""
        training = self.network.training
        self.network.eval()
        try:
            opened = nullcontext(self.open[-1]) if self.open else tap(self.network, [self.site], copy=True)
            with torch.autocast(images.device.type, enabled=False), opened as taps:
                self.network(images)
            found = taps[self.site]
        finally:
            self.network.train(training)
        return as_context(found)

    @contextmanager
    def tapped(self) -> Iterator[None]:
        """Keep the tap open over many calls: modules that are compiled in place after this stay compiled in them."""
        with tap(self.network, [self.site], copy=True, compiled=True) as taps:
            self.open.append(taps)
            try:
                yield
            finally:
                self.open.pop()


def representation(
    network: ImageNetwork, layer: str, image_shape: Sequence[int], others: Sequence[str] = ()
) -> Representation:
    """The layer of that name, its shape found by a dry pass.

    Args:
        network: a classifier.
        layer: a module's name, of which `body.` may be left out; or "logits", or "penultimate".
        image_shape: of what the network is given.
        others: what else could be given, for the message.

    Raises:
        InputError: no such layer (the nearest is offered), or one whose output is no context: no tensor, one without
            values, or without a row an image.
    """
    site = layer_site(network, layer, others)
    device = network.mean.device
    with torch.random.fork_rng(devices=[]), torch.no_grad(), tap(network, [site], copy=True) as taps:
        try:
            network.eval()(torch.rand(2, *image_shape, device=device))
        except InputError:
            raise
        except (RuntimeError, TypeError, ValueError) as error:  # a module of the user's own
            shown, said = "x".join(map(str, image_shape)), str(error).partition("\n")[0]
            raise InputError(f"the network cannot take images of {shown} (channels x height x width): {said}") from None
    found = taps[site]
    if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != 2:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise InputError(f"--taps {layer}: its output is {shape} for 2 images: a row an image was expected")
    if not found.numel() or not found.is_floating_point():
        raise InputError(f"--taps {layer}: its output of shape {tuple(found.shape)} has no values to invert from")
    return Representation(network, layer, site, tuple(as_context(found).shape[1:]))


def check_order(layers: Mapping[str, Representation], image_shape: Sequence[int]) -> None:
    """Whether layers of one network are given in the order in which it computes them.

    Raises:
        InputError: they are not.
    """
    called = in_order(layers, image_shape)
    if called != list(layers):
        raise InputError(
            f"--taps {','.join(layers)}: layers were expected from the input on, as the network computes them: "
            f"{','.join(called)}"
        )


def in_order(layers: Mapping[str, Representation], image_shape: Sequence[int]) -> list[str]:
    """What layers of one network are called, in the order in which it computes them."""
    if len(layers) < 2:
        return list(layers)
    network, called, handles = next(iter(layers.values())).network, [], []
    for name, layer in layers.items():
        place, _, number = layer.site.partition("#")
        path, _, end = place.partition(":")
        module = find_module(network, path)[1]
        note = partial(_note, called, name, itertools.count(1), int(number or 1))
        handles.append(module.register_forward_pre_hook(note) if end == "input" else module.register_forward_hook(note))
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            network.eval()(torch.rand(2, *image_shape, device=network.mean.device))
    finally:
        for handle in handles:
            handle.remove()
    return called


def _note(called: list[str], name: str, calls: Iterator[int], own: int, *_) -> None:
    """Of a module that runs several times, at the call that is meant."""
    if next(calls) == own:
        called.append(name)


def as_context(found: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
    """Maps as they are, unless of a single place; all else as one vector an image."""
    return found.float() if found.ndim == 4 and found.shape[2:].numel() > 1 else found.float().flatten(1)
