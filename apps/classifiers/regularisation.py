"""Regularisers of a classifier's layers beside its loss: bias-Jacobian norms, dropout and decay of biases.

Srinivas and Fleuret (2019), "Full-Jacobian representation of neural networks", sections 5 and 7.2.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from apps.classifiers.regularisers import Regularisers
from distill.biased_layers import BiasedLayer, biased_layers, spread
from distill.derived_pass import DerivedPass
from distill.processes import own_buffers
from priors.checks.floats import own_dtype
from priors.errors import InputError
from priors.reading.dry_pass import evaluating, undisturbed
from priors.reading.taps import find_module, tap, unwrapped

Over = Literal["parameters", "units", "positions"]
"""What the squared norm of a bias-Jacobian is a sum over."""
Norms = Literal["running", "batch"]
"""Statistics of the batch norms in the pass that is derived."""


def squared_norm(
    slope: Float[Tensor, "batch channels *space"], bias: Float[Tensor, " channels"], over: Over
) -> Float[Tensor, " batch"]:
    """||f^b(x)||^2 of one layer (Srinivas and Fleuret 2019, section 5), for each image, in float32 at least.

    Args:
        slope: df/dz, of f in the layer's output z.
        bias: b, that the layer adds at all positions.
        over: "parameters" is the paper's: f^b has an entry for each bias parameter (proposition 2), which is that of a
            channel times the slope summed over positions; "units" has one for each position of a channel, as if each
            had a bias of its own, and as noise that each unit draws for itself would have it; "positions" has one for
            each position, summed over channels, which is what distillation matches (section 4.1.3).
    """
    dtype = torch.promote_types(torch.promote_types(slope.dtype, bias.dtype), torch.float32)
    slope, bias = slope.to(dtype).reshape(*slope.shape[:2], -1), bias.to(dtype)[:, None]
    if over == "parameters":
        return (slope.sum(2) * bias[:, 0]).square().sum(1)
    terms = slope * bias
    return terms.square().sum((1, 2)) if over == "units" else terms.sum(1).square().sum(1)


def last_layer(network: nn.Module, image_shape: Sequence[int]) -> str:
    """The layer that is regularised where none is named: the last batch norm, which ends the last convolutional block.

    Without batch norms it is the last convolution with a bias, and without those the last hidden linear layer.

    Args:
        network: gives logits.
        image_shape: (channels, height, width).

    Raises:
        InputError: there is none of these.
    """
    (name,) = spread(1)
    try:
        return biased_layers(network, (name,), image_shape)[name].name
    except InputError:
        raise InputError(
            "--regularise without layers: the network has neither a batch norm, nor a convolution or a hidden linear "
            "layer with a bias, that runs once: name layers, as in dropout:0.5@LAYER"
        ) from None


@dataclass(frozen=True)
class _Penalty:
    """A layer and how strongly it is regularised."""

    layer: BiasedLayer
    strength: float


class Regularisation:
    """What is added to a classifier's loss, and dropped of its activations.

    Nothing of it is part of the network: weights and their names are those of one that was trained without. A
    regulariser of strength 0 is left out: a run with it is, bit for bit, the one without.

    - bias-jacobian: strength times the mean over images of ||f^b(x)||^2, f the output of the image's class, or of a
      mixed image the outputs of both its classes as they are mixed. b is the effective bias: of a batch norm with that
      of the convolution before it, see `analysis.jacobians.bias.effective_bias`. With norms "running" f is that of
      evaluation mode, in a second pass, by the running statistics of batch norms and without dropout: images do not
      hang on one another in it, and it is what is used later. With "batch" f is that of the training pass, which is
      cheaper, and whose slopes go through the statistics of the batch. Derivatives are in float32 whatever autocast is
      on, and so is the pass that they are taken of.
    - dropout: each unit of a layer's output is 0 by that probability in training, and scaled up otherwise
      (Srivastava et al. 2014). Of feature maps each position of a channel is a unit. Before a ReLU it is the same as
      behind it.
    - bias-decay: strength times the sum of squares of the layer's bias (beta of a batch norm), as a part of the loss:
      its gradient is twice the strength times the bias, with every optimiser, and is scaled as others are.

    Args:
        network: changed in place by dropout, which works in its copies too.
        chosen: what is done to which layers.
        image_shape: (channels, height, width).
        norms: statistics of the batch norms for bias-Jacobians.
        over: what their squared norm is a sum over.

    Raises:
        InputError: a layer that there is not (the nearest is offered), that has no bias, is frozen, runs several times
            or gives something that cannot be regularised so.
    """

    def __init__(
        self,
        network: nn.Module,
        chosen: Regularisers,
        image_shape: Sequence[int],
        norms: Norms = "running",
        over: Over = "parameters",
    ):
        self.norms, self.over = norms, over
        self._core = core = unwrapped(network)
        jacobian, dropout, decay = (
            _named(core, layers, image_shape) for layers in (chosen.bias_jacobian, chosen.dropout, chosen.bias_decay)
        )
        found = biased_layers(core, tuple(jacobian), image_shape)
        self._penalties = {name: _Penalty(found[name], strength) for name, strength in jacobian.items()}
        self._decayed = [(_with_bias(core, name), strength) for name, strength in decay.items()]
        learning = {f"bias-jacobian@{name}": one.layer.bias() for name, one in self._penalties.items()}
        learning |= {f"bias-decay@{name}": module.bias for name, (module, _) in zip(decay, self._decayed, strict=True)}
        for what, bias in learning.items():
            if not bias.requires_grad:
                raise InputError(f"--regularise {what}: that layer is frozen; name layers that are trained")
        self._check_outputs(image_shape, dropout)
        # Before anything is compiled: later, a hook would not be part of it.
        for name, rate in dropout.items():
            find_module(core, name)[1].register_forward_hook(partial(_dropped, rate=rate))

    @property
    def derives_step(self) -> bool:
        """Whether the training pass itself is derived, which compiled networks cannot be."""
        return bool(self._penalties) and self.norms == "batch"

    def __call__(
        self, network: nn.Module, images: Tensor, output: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits of a step, and what is added to its loss, by the names of regularisers.

        Args:
            network: as it is prepared for training.
            images: (batch, channels, height, width).
            output: of logits (batch, classes), f for each image: (batch,).
        """
        if self.derives_step:
            logits, jacobian = self._derived(network, images, output)
        else:
            logits, jacobian = network(images), None
            if self._penalties:  # after the training pass, which moves the statistics that this one keeps hold of
                with evaluating(self._core), own_buffers(network):
                    _, jacobian = self._derived(network, images, output)
        losses = {} if jacobian is None else {"bias-jacobian": jacobian}
        if self._decayed:
            losses["bias-decay"] = sum(strength * module.bias.square().sum() for module, strength in self._decayed)
        return logits, losses

    def _derived(
        self, network: nn.Module, images: Tensor, output: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Float[Tensor, ""]]:
        """Logits of a pass in full precision, and the weighted squared norms of it, a mean over images."""
        names = tuple(one.layer.name for one in self._penalties.values())
        with tap(network, names, copy=True) as taps:  # residual sums may be added to a layer's output in place
            with DerivedPass():
                logits = network(images)
            layers = [taps[name] for name in names]
        with torch.autocast(images.device.type, enabled=False):
            slopes = torch.autograd.grad(output(logits).sum(), layers, create_graph=True, allow_unused=True)
            total = logits.new_zeros(())
            for one, slope in zip(self._penalties.values(), slopes, strict=True):
                if slope is None:
                    raise InputError(f"bias-jacobian: the output of a class does not hang on layer {one.layer.name!r}")
                total = total + one.strength * squared_norm(slope, one.layer.bias(), self.over).mean()
        return logits, total

    def _check_outputs(self, image_shape: Sequence[int], dropout: Mapping[str, float]) -> None:
        """Refuse layers whose outputs are not of a kind that can be regularised, by one pass that changes nothing."""
        names = tuple(dict.fromkeys((*dropout, *(one.layer.name for one in self._penalties.values()))))
        if not names:
            return
        like = next(self._core.parameters())
        with undisturbed(self._core), tap(self._core, names, copy=True) as taps:
            self._core(like.new_zeros((1, *image_shape), dtype=own_dtype(self._core)))
        for name in dropout:
            if not all(one.is_floating_point() for one in taps.calls(name)):
                raise InputError(f"dropout: layer {name!r} gives no floating-point numbers: name another one")
        for one in self._penalties.values():
            name, bias = one.layer.name, one.layer.bias()
            shape = tuple(taps[name].shape)  # one that runs several times is refused here
            if len(shape) not in (2, 4) or bias.shape != shape[1:2]:
                raise InputError(
                    f"bias-jacobian: layer {name!r} gives {shape} and has a bias of {tuple(bias.shape)}: (batch, "
                    "channels, height, width) or (batch, channels), and (channels,), were expected"
                )


def _named(network: nn.Module, layers: Mapping[str | None, float], image_shape: Sequence[int]) -> dict[str, float]:
    """Strengths by the names of modules, without those of 0."""
    found: dict[str, float] = {}
    for given, strength in layers.items():
        name = last_layer(network, image_shape) if given is None else find_module(network, given)[0]
        if name in found:
            raise InputError(f"--regularise: layer {name} is the last one, and has the same regulariser twice")
        found[name] = strength
    return {name: strength for name, strength in found.items() if strength}


def _with_bias(network: nn.Module, name: str) -> nn.Module:
    module = find_module(network, name)[1]
    if not isinstance(getattr(module, "bias", None), Tensor):
        raise InputError(f"bias-decay: layer {name!r}, a {type(module).__name__}, has no bias: name another one")
    return module


def _dropped(module: nn.Module, args: tuple, output: Tensor, *, rate: float) -> Tensor:
    return F.dropout(output, rate, module.training)
