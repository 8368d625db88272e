"""Saliency maps by Captum, an optional package: what full-Jacobians are compared with.

It gives values a channel, with signs. Here a map is their absolute values, summed over the channels; Grad-CAM's own
maps have no channels, and keep what speaks for the class, as published. All of this is in pixels in [0, 1].
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from apps.jacobians.explained import Explained
from apps.jacobians.rectifiers import Guided
from apps.jacobians.sites import last_maps
from apps.jacobians.subject import Subject
from priors.errors import InputError
from priors.reading.dry_pass import constant_parameters
from priors.reading.taps import find_module

_SIDE, _IMAGES = 64, 250
"""So many images of so many pixels a side are looked at in one pass."""


def missing() -> str | None:
    """What is wrong where Captum is not installed, and what to do."""
    if find_spec("captum") is not None:
        return None
    return "Captum is not installed here; install it with pip install captum (the extra saliency)"


def require_captum(names: Sequence[str]) -> None:
    """Refuse methods of a package that is not there.

    Raises:
        InputError: Captum is not installed.
    """
    if names and (said := missing()):
        raise InputError(f"--methods {' '.join(names)}: {said}, or leave them out")


def input_gradient(subject: Subject) -> Float[Tensor, "batch height width"]:
    """The slope of the output at each pixel (Simonyan et al. 2014, who take the largest channel)."""
    from captum.attr import Saliency

    with _quiet(subject) as (explained, leaf):
        return _summed(Saliency(explained).attribute(leaf, additional_forward_args=subject.target))


def guided_backprop(subject: Subject) -> Float[Tensor, "batch height width"]:
    """The same with what is negative left out at each ReLU on the way back (Springenberg et al. 2015).

    Captum does so at `nn.ReLU` alone. Here it is done at ReLU6 and at ReLUs that are functions as well.

    Raises:
        InputError: an activation that is no ReLU, for which the method is not defined, or no ReLU at all.
    """
    from captum.attr import GuidedBackprop

    guided = Guided()
    with _quiet(subject, guided) as (explained, leaf):
        return _summed(GuidedBackprop(explained).attribute(leaf, additional_forward_args=subject.target))


def integrated_gradients(subject: Subject, steps: int = 50) -> Float[Tensor, "batch height width"]:
    """The image times the mean slope on the straight way to it from a black one (Sundararajan et al. 2017).

    The mean is by Gauss and Legendre's rule of so many steps.
    """
    from captum.attr import IntegratedGradients

    with _quiet(subject) as (explained, leaf):
        own = IntegratedGradients(explained)
        at_once = len(subject.images) * _copies(subject.images, steps)
        return _summed(
            own.attribute(leaf, additional_forward_args=subject.target, n_steps=steps, internal_batch_size=at_once)
        )


def smooth_grad(subject: Subject, samples: int = 50, noise: float = 0.15) -> Float[Tensor, "batch height width"]:
    """The mean slope over images with Gaussian noise (Smilkov et al. 2017); absolute values are taken of the mean."""
    from captum.attr import NoiseTunnel, Saliency

    with _quiet(subject) as (explained, leaf), _Drawn(subject.seed, len(subject.images)):
        return _summed(
            NoiseTunnel(Saliency(explained)).attribute(
                leaf.detach(),
                additional_forward_args=subject.target,
                abs=False,
                nt_type="smoothgrad",
                nt_samples=samples,
                nt_samples_batch_size=_copies(subject.images, samples),
                stdevs=float(noise),
            )
        )


def grad_cam(subject: Subject, layer: str | None = None) -> Float[Tensor, "batch height width"]:
    """A layer's maps weighed by their mean slopes, what is above 0 (Selvaraju et al. 2017), resized bilinearly.

    Args:
        subject: what is explained.
        layer: the module whose maps are taken, those of its last run, or with ":input" behind it the maps that it
            takes; None: the last to give maps of more than one pixel.

    Raises:
        InputError: no such module, or one that gives no maps.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    with _quiet(subject) as (explained, leaf):
        name = last_maps(subject.network, subject.images[:1], layer)
        before = name.endswith(":input")
        _, module = find_module(subject.network, name.removesuffix(":input"))
        own = LayerGradCam(explained, module)
        maps = own.attribute(
            leaf,
            additional_forward_args=subject.target,
            attribute_to_layer_input=before,
            relu_attributions=True,
        )
        return LayerAttribution.interpolate(maps, tuple(subject.images.shape[-2:]), "bilinear").detach()[:, 0]


def _summed(values: Tensor) -> Tensor:
    return values.detach().abs().sum(1)


def _copies(images: Tensor, most: int) -> int:
    """Copies of all images that one pass takes."""
    pixels = images.shape[-1] * images.shape[-2]
    return max(1, min(most, _IMAGES * _SIDE**2 // (pixels * len(images))))


@contextmanager
def _quiet(subject: Subject, guided: Guided | None = None) -> Iterator[tuple[Explained, Tensor]]:
    """The output to explain, and images that ask for gradients, where parameters do not.

    Modules work out of place, which Captum's hooks need, by the taps of `Explained`; and it warns of no hooks.
    """
    with constant_parameters(subject.network), torch.enable_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU activations", UserWarning)
        yield subject.explained(guided), subject.images.detach().clone().requires_grad_()


class _Drawn(TorchFunctionMode):
    """Captum's noise, drawn on the CPU sample by sample, the same for each of its images."""

    def __init__(self, seed: int, images: int):
        super().__init__()
        self._random, self._images = torch.Generator().manual_seed(seed), images

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is not torch.normal:
            return function(*args, **(kwargs or {}))
        _, deviation = args
        shape = deviation.shape[1:]
        own = [torch.randn(shape, generator=self._random) for _ in range(len(deviation) // self._images)]
        return torch.stack(own).to(deviation).repeat(self._images, *[1] * len(shape)) * deviation
