"""One forward pass of a teacher or a student: what the terms of an objective are made of."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from distill.biased_layers import BiasedLayer
from distill.convolutions import Convolutions
from distill.derived_pass import DerivedPass
from priors.checks.floats import PIXELS, own_dtype, to_own
from priors.errors import InputError
from priors.reading.dry_pass import undisturbed
from priors.reading.outputs import Outputs, outputs_are
from priors.reading.taps import Taps, tap


class NoFeatureMaps(InputError):
    """A tap that is to give feature maps gives something else; says which and what."""


@dataclass(frozen=True)
class Trace:
    """What a network computed for a batch of images, on the graph.

    Attributes:
        logits: (batch, classes).
        penultimate: (batch, m), the head's input; None where it was not asked for.
        stages: feature maps (batch, channels, height, width), first to last; empty where they were not asked for.
        layers: by name, outputs of other modules, of any shape.
        images: (batch, channels, height, width), what the network was shown, for derivatives in it; None where none is
            asked for.
        biases: by name, effective biases (channels,) of those of `layers` that were asked for with them.
        labels: (batch,), the images' classes, for derivatives of their outputs; None where none is asked for.
        running: the same network by the running statistics of its batch norms, in which images do not hang on each
            other; None where it was not asked for.
    """

    logits: Float[Tensor, "batch classes"]
    penultimate: Float[Tensor, "batch m"] | None = None
    stages: tuple[Float[Tensor, "batch _ _ _"], ...] = ()
    layers: Mapping[str, Float[Tensor, "batch *_"]] = field(default_factory=dict)
    images: Float[Tensor, "batch channels height width"] | None = None
    biases: Mapping[str, Float[Tensor, " _"]] = field(default_factory=dict)
    labels: Int64[Tensor, " batch"] | None = None
    running: "Trace | None" = None

    @property
    def chosen(self) -> Float[Tensor, " batch"]:
        """The logit of each image's own class."""
        return self.logits.gather(1, self.labels[:, None]).squeeze(1)

    def detach(self) -> "Trace":
        """The same numbers, off the graph."""
        return Trace(
            self.logits.detach(),
            None if self.penultimate is None else self.penultimate.detach(),
            tuple(stage.detach() for stage in self.stages),
            {name: layer.detach() for name, layer in self.layers.items()},
            None if self.images is None else self.images.detach(),
            {name: bias.detach() for name, bias in self.biases.items()},
            self.labels,
            None if self.running is None else self.running.detach(),
        )


@dataclass(frozen=True)
class Shapes:
    """The shapes in a `Trace`, without the batch.

    Attributes:
        classes: of the logits.
        penultimate: width m; None where the trace has none.
        stages: (channels, height, width) of each.
        layers: by name.
        outputs: whether the network gives logits, or what has gone through a softmax.
        biased: by what a term calls it, the module of each layer that was asked for with its effective bias.
    """

    classes: int
    penultimate: int | None
    stages: tuple[tuple[int, int, int], ...]
    layers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: Outputs = "logits"
    biased: Mapping[str, str] = field(default_factory=dict)


def trace(
    network: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    stages: Sequence[str] = (),
    penultimate: str | None = None,
    layers: Sequence[str] = (),
    derivatives: bool = False,
    taps: Taps | None = None,
    biased: Mapping[str, BiasedLayer] | None = None,
    labels: Int64[Tensor, " batch"] | None = None,
    convolutions: Convolutions | None = None,
) -> Trace:
    """Run a network once and keep what it computed on the way.

    Args:
        network: gives logits.
        images: in [0, 1], of any floating-point type: they are brought to that of the network's weights.
        stages: names of taps (see `priors.reading.taps`) that give feature maps.
        penultimate: name of the tap that gives the head's input; None: not kept.
        layers: names of further taps, of any shape.
        derivatives: keep the images as well, on the graph of all the rest, also where gradients are switched off, and
            compute in full precision, also where autocast is on.
        taps: these taps, where they are open already, as for a network that is compiled with them; not used for
            derivatives, which compiled networks lack.
        biased: further layers, kept with their effective biases; not kept without derivatives.
        labels: of the images, for derivatives of their outputs.
        convolutions: those of all passes of a step, for derivatives; None: there is but this pass.

    Raises:
        InputError: a tap does not exist (the nearest is offered), or gives no tensor of the right number of dimensions;
            or images of whole numbers.
    """
    images = to_own(network, images, "images", PIXELS)
    biased = (biased or {}) if derivatives else {}
    own = tuple(one.name for one in biased.values())
    names = tuple(dict.fromkeys((*stages, *(() if penultimate is None else (penultimate,)), *layers)))
    if not names and not derivatives:  # nothing to listen for: a compiled network stays compiled
        return Trace(network(images))
    shown = images.detach().requires_grad_() if derivatives else images
    # A tapped network runs eagerly: compiled ones have no second derivative.
    opened = tap(network, names) if taps is None or derivatives else nullcontext(taps)
    full = DerivedPass(convolutions) if derivatives else nullcontext()
    # Residual sums may be added to a norm's output in place.
    copied = tap(network, own, copy=True) if own else nullcontext({})
    with opened as found, copied as derived, torch.enable_grad() if derivatives else nullcontext():
        with full:
            logits = network(shown)
        biases = {name: one.bias() for name, one in biased.items()}
        kept = {name: found[name] for name in names}
    for name, dimensions in ((penultimate, 2), *((stage, 4) for stage in stages)):
        if name is not None and kept[name].ndim != dimensions:
            gives = f"the tap {name!r} gives {tuple(kept[name].shape)}"
            if dimensions == 4:
                raise NoFeatureMaps(f"{gives}, no feature maps (batch, channels, height, width)")
            raise InputError(f"{gives}: one vector an image was expected")
    return Trace(
        logits,
        None if penultimate is None else kept[penultimate],
        tuple(kept[name] for name in stages),
        {name: kept[name] for name in layers} | {name: derived[one.name] for name, one in biased.items()},
        shown if derivatives else None,
        biases,
        labels,
    )


def shapes(
    network: nn.Module,
    image_shape: Sequence[int],
    stages: Sequence[str] = (),
    penultimate: str | None = None,
    layers: Sequence[str] = (),
    biased: Mapping[str, BiasedLayer] | None = None,
) -> Shapes:
    """The shapes that `trace` gives, by one pass over an image of zeros in evaluation mode, which changes nothing.

    Args:
        network: gives logits.
        image_shape: (channels, height, width).
        stages: names of taps that give feature maps.
        penultimate: name of the tap that gives the head's input; None: not asked for.
        layers: names of further taps.
        biased: further layers, by what terms call them.

    Raises:
        InputError: as for `trace`.
    """
    like = next(network.parameters(), torch.empty(0))  # a table has none
    zeros = like.new_zeros((1, *image_shape), dtype=own_dtype(network))
    biased = {name: one.name for name, one in (biased or {}).items()}
    copied = tap(network, tuple(biased.values()), copy=True) if biased else nullcontext({})
    with undisturbed(network), copied as derived:
        dry = trace(network, zeros, stages, penultimate, layers)
    width = None if dry.penultimate is None else dry.penultimate.shape[1]
    maps = tuple(tuple(stage.shape[1:]) for stage in dry.stages)
    layered = {name: tuple(dry.layers[name].shape[1:]) for name in layers}
    layered |= {name: tuple(derived[place].shape[1:]) for name, place in biased.items()}
    return Shapes(dry.logits.shape[1], width, maps, layered, outputs_are(dry.logits), biased)
