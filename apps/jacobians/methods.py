"""Saliency methods by name: from images to a map each, at least 0, of the images' height and width."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.jacobians.decomposition import decompose
from analysis.jacobians.saliency import full_jacobian_saliency
from analysis.jacobians.terms import Decomposition
from apps.jacobians import baselines
from apps.jacobians.settings import METHOD_NAMES, OWN_METHODS, MethodChoices
from apps.jacobians.subject import Subject
from priors.errors import unknown

Maps = Callable[[Subject], Float[Tensor, "batch height width"]]
"""From what is explained to one map an image, on the images' device."""
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
        "full-jacobian-authors": _authors,
        "bias-jacobian": partial(_full_jacobian, variant="bias", resize=choices.interpolation),
        "input-gradient": baselines.input_gradient,
        "guided-backprop": baselines.guided_backprop,
        "integrated-gradients": partial(baselines.integrated_gradients, steps=choices.steps),
        "smooth-grad": partial(baselines.smooth_grad, samples=choices.noisy, noise=choices.noise),
        "grad-cam": partial(baselines.grad_cam, layer=choices.layer),
    }
    return {name: bound[name] for name in names}


def _full_jacobian(
    subject: Subject, variant: str = "paper", resize: str = "bilinear"
) -> Float[Tensor, "batch height width"]:
    """By the decomposition of the network at the images, which draws nothing."""
    return full_jacobian_saliency(subject.decomposition, variant=variant, resize=resize)


def _authors(subject: Subject) -> Float[Tensor, "batch height width"]:
    """The authors' variant, for which the values of all units are held, for some images at a time."""
    maps, at, size = [], 0, 1
    while at < len(subject.images):
        some = slice(at, at + size)
        images, target = subject.images[some], subject.target[some]
        found = decompose(subject.network, images, target, of=subject.of, prior=subject.prior, keep="values")
        maps.append(full_jacobian_saliency(found, variant="authors"))
        at, size = at + len(maps[-1]), max(1, _AT_ONCE // max(1, _bytes(found)))
    return torch.cat(maps)


def _bytes(found: Decomposition) -> int:
    """What the values of one image take."""
    values = [term.value for term in found.terms if term.value is not None]
    return sum(value.numel() * value.element_size() for value in values) // len(found.images)
