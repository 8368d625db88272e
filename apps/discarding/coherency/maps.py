"""What the paper sets beside its measures: maps by slopes of an output, whose magnitudes hang on weights."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.discarding.neighbours import NeighbouringLayers
from apps.discarding.coherency.features import Handed
from apps.jacobians.baselines import grad_cam, missing
from apps.jacobians.subject import Subject
from priors.errors import InputError
from priors.reading.dry_pass import constant_parameters, undisturbed
from priors.reading.taps import tap
from priors.zoo import Classifier

Maps = Callable[
    [Classifier, Float[Tensor, "batch channels height width"], Int[Tensor, " batch"]],
    Float[Tensor, "batch rows columns"],
]
"""From a network, images and a class each to maps."""


def maps_of(name: str, handed: Handed) -> Maps:
    """What draws the maps of a layer's features.

    Args:
        name: of `BASELINES`.
        handed: the features.
    """
    if name == "gradient":
        return lambda network, images, target: gradients(network, handed.site, images, target)
    if name == "cam":
        return lambda network, images, target: class_activation(network, handed, images, target)
    return lambda network, images, target: grad_cam(Subject(network, images, target), handed.site)


def gap(name: str, handed: Handed, network: Classifier, images: Tensor) -> str | None:
    """Why there are no such maps of a layer's features; None where there are.

    Args:
        name: of `BASELINES`.
        handed: the features.
        network: whose they are.
        images: some that it takes.
    """
    shape = handed.pair.shapes[handed.site]
    if name == "gradient":
        return None
    if name == "grad-cam" and (said := missing()) is not None:
        return said
    if name == "grad-cam" and "#" in handed.site:
        return "Captum looks at the last run of a module, and this one runs several times"
    if len(shape) != 3 or min(shape[1:]) < 2:
        return "these features are no maps of several pixels"
    if name == "cam" and not _averaged(handed, network, images):
        return "it is defined where features are averaged over places and go to the final layer alone"
    return None


def gradients(
    network: Classifier, site: str, images: Float[Tensor, "batch channels height width"], target: Int[Tensor, " batch"]
) -> Float[Tensor, "batch rows columns"]:
    """The root of the sum of (dy/df)^2 over channels, y being the class's logit; of a vector one number.

    The paper sums over places of a channel; the root of the sum over all is the same either way.
    """
    with constant_parameters(network), torch.enable_grad(), tap(network, [site]) as taps:
        logits = network(images.detach().clone().requires_grad_())
        (slope,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), taps[site])
    squares = slope.square()
    return (squares.sum(1) if slope.ndim == 4 else squares.flatten(1).sum(1)[:, None, None]).sqrt()


def class_activation(
    network: Classifier,
    handed: Handed,
    images: Float[Tensor, "batch channels height width"],
    target: Int[Tensor, " batch"],
) -> Float[Tensor, "batch rows columns"]:
    """Features weighed by the final layer's weights of the class (Zhou et al. 2016).

    Raises:
        InputError: features that are not averaged before the final layer.
    """
    if not _averaged(handed, network, images):
        raise InputError(f"cam: {handed.name} is not averaged over places before the final layer")
    features = _features(network, handed, images)[0]
    return torch.einsum("nkhw,nk->nhw", features, network.head.weight.detach()[target])


def _averaged(handed: Handed, network: Classifier, images: Tensor) -> bool:
    """Whether the final layer takes the features' means over places."""
    pair: NeighbouringLayers = handed.pair
    if pair.second != network.head_name or len(pair.shapes[handed.site]) != 3:
        return False
    features, taken = _features(network, handed, images)
    means = features.mean((2, 3))
    return means.shape == taken.shape and torch.allclose(means, taken, rtol=1e-4, atol=1e-6)


def _features(network: Classifier, handed: Handed, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features, and what the final layer takes."""
    with undisturbed(network), tap(network, [handed.site, network.penultimate_tap]) as taps:
        network(images)
    return taps[handed.site], taps[network.penultimate_tap]
