"""Saliency methods by name: from images to a map each, at least 0, of the images' height and width."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from analysis.jacobians.decomposition import decompose
from analysis.jacobians.saliency import full_jacobian_saliency
from analysis.jacobians.terms import Decomposition
from apps.jacobians import baselines
from apps.jacobians.settings import METHOD_NAMES, OWN_METHODS, MethodChoices
from priors import ClassifierPrior
from priors.errors import unknown

Maps = Callable[..., Float[Tensor, "batch height width"]]
"""`maps(network, images, target, *, of="logit", prior=None, seed=0)`: one map an image, on the images' device.

The network is in evaluation mode and goes from images in [0, 1], (batch, channels, height, width), to logits; `target`
is the class of each image; `of`, under a `prior`, is what is explained, as `analysis.decompose` has it. `seed`
is of what is drawn: every image gets the same draws, so that how images are batched changes nothing.
"""
_AT_ONCE = 2**29
"""Bytes of the values of all units that are held at a time."""


def methods(names: Sequence[str], choices: MethodChoices | None = None) -> dict[str, Maps]:
    """The methods of these names, in order.

    Args:
        names: of `METHOD_NAMES`.
        choices: what they leave open; by default the published ones.

    Raises:
        InputError: an unknown name, the nearest is offered; or one of Captum's, which is not installed.
    """
    choices = choices or MethodChoices()
    for name in names:
        if name not in METHOD_NAMES:
            raise unknown("saliency method", name, METHOD_NAMES)
    baselines.require_captum([name for name in names if name not in OWN_METHODS])
    bound = {
        "full-jacobian": partial(_full_jacobian, resize=choices.interpolation),
        "full-jacobian-authors": partial(_full_jacobian, variant="authors"),
        "bias-jacobian": partial(_full_jacobian, variant="bias", resize=choices.interpolation),
        "input-gradient": baselines.input_gradient,
        "guided-backprop": baselines.guided_backprop,
        "integrated-gradients": partial(baselines.integrated_gradients, steps=choices.steps),
        "smooth-grad": partial(baselines.smooth_grad, samples=choices.noisy, noise=choices.noise),
        "grad-cam": partial(baselines.grad_cam, layer=choices.layer),
    }
    return {name: bound[name] for name in names}


def _full_jacobian(
    network: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    target: Int[Tensor, " batch"],
    *,
    of: str = "logit",
    prior: ClassifierPrior | None = None,
    seed: int = 0,
    variant: str = "paper",
    resize: str = "bilinear",
) -> Float[Tensor, "batch height width"]:
    """By the decomposition of the network at the images, which draws nothing."""
    values = variant == "authors"
    if not values:
        found = decompose(network, images, target, of=of, prior=prior, keep="maps")
        return full_jacobian_saliency(found, variant=variant, resize=resize)
    maps, at, size = [], 0, 1
    while at < len(images):  # the values of all units are held for some images at a time
        some = slice(at, at + size)
        found = decompose(network, images[some], target[some], of=of, prior=prior, keep="values")
        maps.append(full_jacobian_saliency(found, variant=variant))
        at, size = at + len(maps[-1]), max(1, _AT_ONCE // max(1, _bytes(found)))
    return torch.cat(maps)


def _bytes(found: Decomposition) -> int:
    """What the values of one image take."""
    values = [term.value for term in found.terms if term.value is not None]
    return sum(value.numel() * value.element_size() for value in values) // len(found.images)
