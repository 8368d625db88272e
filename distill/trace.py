"""One forward pass of a teacher or a student: what the terms of an objective are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from priors.errors import InputError
from priors.taps import tap


@dataclass(frozen=True)
class Trace:
    """What a network computed for a batch of images, on the graph.

    Attributes:
        logits: (batch, classes).
        penultimate: (batch, m), the head's input; None where it was not asked for.
        stages: feature maps (batch, channels, height, width), first to last; empty where they were not asked for.
    """

    logits: Float[Tensor, "batch classes"]
    penultimate: Float[Tensor, "batch m"] | None = None
    stages: tuple[Float[Tensor, "batch _ _ _"], ...] = ()

    def detach(self) -> "Trace":
        """The same numbers, off the graph."""
        penultimate = None if self.penultimate is None else self.penultimate.detach()
        return Trace(self.logits.detach(), penultimate, tuple(stage.detach() for stage in self.stages))


@dataclass(frozen=True)
class Shapes:
    """The shapes in a `Trace`, without the batch.

    Attributes:
        classes: of the logits.
        penultimate: width m; None where the trace has none.
        stages: (channels, height, width) of each.
    """

    classes: int
    penultimate: int | None
    stages: tuple[tuple[int, int, int], ...]


def trace(
    network: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    stages: Sequence[str] = (),
    penultimate: str | None = None,
) -> Trace:
    """Run a network once and keep what it computed on the way.

    Args:
        network: gives logits.
        images: in [0, 1].
        stages: names of taps (see `priors.taps`) that give feature maps.
        penultimate: name of the tap that gives the head's input; None: not kept.

    Raises:
        InputError: a tap does not exist (the nearest is offered), or gives no tensor of the right number of dimensions.
    """
    if not stages and penultimate is None:  # nothing to listen for: a compiled network stays compiled
        return Trace(network(images))
    names = (*stages, *(() if penultimate is None else (penultimate,)))
    with tap(network, names) as found:
        logits = network(images)
        kept = {name: found[name] for name in names}
    for name, dimensions in ((penultimate, 2), *((stage, 4) for stage in stages)):
        if name is not None and kept[name].ndim != dimensions:
            what = "one vector an image" if dimensions == 2 else "feature maps (batch, channels, height, width)"
            raise InputError(f"the tap {name!r} gives {tuple(kept[name].shape)}: {what} were expected")
    return Trace(logits, None if penultimate is None else kept[penultimate], tuple(kept[name] for name in stages))


@torch.no_grad()
def shapes(
    network: nn.Module, image_shape: Sequence[int], stages: Sequence[str] = (), penultimate: str | None = None
) -> Shapes:
    """The shapes that `trace` gives, by one pass over an image of zeros in evaluation mode, which changes nothing.

    Args:
        network: gives logits.
        image_shape: (channels, height, width).
        stages: names of taps that give feature maps.
        penultimate: name of the tap that gives the head's input; None: not asked for.

    Raises:
        InputError: as for `trace`.
    """
    parameter = next(network.parameters())
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        dry = trace(network, parameter.new_zeros((1, *image_shape)), stages, penultimate)
    finally:
        for module, mode in modes.items():
            module.training = mode
    width = None if dry.penultimate is None else dry.penultimate.shape[1]
    return Shapes(dry.logits.shape[1], width, tuple(tuple(stage.shape[1:]) for stage in dry.stages))
